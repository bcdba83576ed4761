"""The index as a whole: moved to another store or model, kept in one file, made again from it."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bridge.folder import Folder, holding
from bridge.service import BadInput, Unavailable
from bridge.settings import Settings
from bridge.tandem import opened
from bridge.traced import traced
from indexer.schema import SCHEMA, copied


@dataclass(frozen=True, slots=True)
class Moved:
    """`source` and `target` are the stores' labels."""

    source: str
    target: str
    chunks: int
    embedded_chunks: int


async def migrate(settings: Settings) -> Moved:
    """Lets the index grow where the settings say and answer from there. Raises Held, Unavailable and what `opened`
    raises; stopped half-way, it goes on from there."""
    with holding(Folder(settings.data)), traced(settings, "tandem") as traces:
        async with opened(settings, traces) as tandem:
            if tandem.problem:
                raise Unavailable(tandem.problem)
            before = await tandem.status()
            embedded = await tandem.grown()
            after = await tandem.status()
    return Moved(before.store, after.store, after.chunks, embedded)


def back_up(settings: Settings, file: Path) -> Path:
    """Documents, chunks, vectors: all that the store is filled from. Raises BadInput."""
    catalog = Folder(settings.data).catalog
    if not catalog.exists():
        raise BadInput(f"{settings.data} was expected to hold an index, and has none; nothing was written")
    file = file.expanduser().absolute()
    if file.exists():
        raise BadInput(f"{file} is there already; name a file that is not")
    try:
        copied(catalog, file)
    except (sqlite3.Error, OSError) as error:
        file.unlink(missing_ok=True)
        raise BadInput(
            f"the backup could not be written to {file}: {error}; is there room, and may you write?"
        ) from error
    return file


def restore(settings: Settings, file: Path) -> None:
    """Raises BadInput where the folder holds an index already or the file is no backup; nothing is changed then."""
    folder = Folder(settings.data)
    with holding(folder):
        if folder.catalog.exists():
            raise BadInput(f"{settings.data} holds an index already; name another folder with --data")
        beside = folder.catalog.with_suffix(".restored")
        try:
            _check(file.expanduser().absolute())
            copied(file.expanduser().absolute(), beside)
            _make_own(beside)
            # Of an index that was here before; SQLite would replay the first two into this one.
            for rest in (*folder.data.glob(f"{folder.catalog.name}-*"), *folder.data.glob(f"{beside.name}-*")):
                rest.unlink()
            shutil.rmtree(folder.stores, ignore_errors=True)
            with beside.open("rb") as made:
                os.fsync(made.fileno())
            beside.replace(folder.catalog)
        except (sqlite3.Error, OSError) as error:
            beside.unlink(missing_ok=True)
            raise BadInput(f"{file} was expected to be a backup by `tandem backup`: {error}") from error


def _check(file: Path) -> None:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as kept:
        (schema,) = kept.execute("PRAGMA user_version").fetchone()
        kept.execute("SELECT count(*) FROM documents").fetchone()
    if not 0 < schema <= SCHEMA:
        raise BadInput(f"{file} was made by another version of Tandem (tables {schema}, here {SCHEMA})")


def _make_own(file: Path) -> None:
    """The copy has no store yet, and must not take that of the original for its own."""
    with closing(sqlite3.connect(file)) as db:
        db.execute("DELETE FROM meta WHERE key = 'name'")
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'generations'").fetchone():
            db.execute("UPDATE generations SET filled = -1 WHERE state = 'answers'")
            db.execute("DELETE FROM generations WHERE state != 'answers'")
        db.commit()
        db.execute("PRAGMA journal_mode = DELETE")
