"""The index's own word: is its catalog whole, and what does it hold."""

import sqlite3
from functools import partial

from bridge.doctor.check import Check, in_thread
from bridge.doctor.recorded import Recorded, unsound
from bridge.folder import Folder
from bridge.settings import Settings
from indexer.schema import SCHEMA

_CHECK_S = 4.0


async def catalog(settings: Settings, recorded: Recorded) -> list[Check]:
    folder = Folder(settings.data)
    if recorded.problem is not None:
        return [_unreadable(folder, recorded.problem)]
    if recorded.schema is None:
        return [Check("catalog", "off", "none yet", "the first `tandem up DIR` or `tandem index DIR` makes it")]
    if recorded.schema > SCHEMA or recorded.schema < 0:
        found = f"tables of version {SCHEMA} were expected, {folder.catalog} has those of {recorded.schema}"
        return [Check("catalog", "failed", found, "use the newer Tandem that made it, or another --data folder")]
    try:
        wrong = await in_thread(partial(unsound, folder, _CHECK_S))
    except sqlite3.Error as error:
        return [_unreadable(folder, str(error))]
    if wrong:
        return [_unreadable(folder, f"it is damaged: {wrong}")]
    whole = f"not found damaged within {_CHECK_S:g} s" if wrong is None else "whole"
    if recorded.schema < SCHEMA:
        found = f"{whole}, tables of version {recorded.schema}, here {SCHEMA}"
        remedy = f"nothing need be done: the next start brings it up to date and leaves a copy in {folder.data}"
        return [Check("catalog", "warning", found, remedy)]
    return [Check("catalog", "ok", f"{whole}, tables of version {SCHEMA}")]


def _unreadable(folder: Folder, problem: str) -> Check:
    remedy = (
        f"let this user read it; if it is damaged, move {folder.data} away and index again, "
        "or `tandem restore` a backup into another --data folder"
    )
    return Check("catalog", "failed", f"{folder.catalog} was expected to be readable: {problem}", remedy)


async def documents(_settings: Settings, recorded: Recorded) -> list[Check]:
    if recorded.schema != SCHEMA:
        return [Check("documents", "off", "none are known")]
    meta = recorded.meta
    found = f"{recorded.documents} ({recorded.chunks} chunks), as of {meta.get('as_of') or 'never'}"
    if recorded.stale:
        found += f"; {recorded.stale} are to be read again"
    checks = [Check("documents", "ok", found)]
    if recorded.failed:
        some = f"{recorded.failed} could not be read and cannot be found by their content"
        checks.append(Check("documents", "warning", some, "`tandem status` gives each one's reason"))
    if reason := meta.get("held"):
        remedy = "connect the disk that is away; if the files are gone for good: `tandem index --accept-deletions`"
        checks.append(Check("documents", "warning", f"deletions are held back: {reason}", remedy))
    if since := meta.get("paused"):
        checks.append(Check("documents", "warning", f"indexing is paused since {since}", "`tandem resume`"))
    return checks
