"""`tandem up`, `down`, `status` and `doctor`: run it, and see how it fares."""

import argparse
import logging
from dataclasses import asdict, replace

import anyio

from bridge import paired
from bridge.folder import Folder, Held, held, running
from bridge.reached import LOOK_EVERY_S, PATIENCE_S, Patience, reached
from bridge.service import Unavailable
from bridge.settings import Settings
from bridge.terminal import printable, say, say_json

logger = logging.getLogger("tandem")

_FAILED_SHOWN = 20


async def up(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.daemon import serve

    if arguments.port is not None:
        settings = replace(settings, port=arguments.port)
    patience = Patience()
    while True:
        try:
            return await serve(settings, arguments.folders, private_phoenix=arguments.phoenix)
        except Held as error:
            if running(str(Folder(settings.data).http_socket)):
                raise
            await patience.wait(error)


async def down(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.client import remote

    folder = Folder(settings.data)
    if not running(str(folder.http_socket)):
        logger.info("no daemon runs on %s", folder.data)
        return
    async with remote(str(folder.http_socket)) as service:
        await service.stop()
    with anyio.move_on_after(PATIENCE_S):
        # Not its sockets alone, or the next `up` would come too early.
        while running(str(folder.http_socket)) or held(folder):  # noqa: ASYNC110 (there is no event to wait for)
            await anyio.sleep(LOOK_EVERY_S)
        return
    raise Unavailable(
        f"the daemon was told to stop and still runs after {PATIENCE_S} s: its process is in {folder.lock}"
    )


async def status(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.overruled import overruling
    from bridge.progress import run_in_words

    async with reached(settings) as service:
        status = await service.status()
    ways = paired.by_code(settings.data).items()
    pairings = [(role, entry, overruling(settings.data, role, entry)) for role, entry in ways]
    if arguments.json:
        told = [
            {"role": role, "user": entry.user, "queue": entry.where, "instead": instead}
            for role, entry, instead in pairings
        ]
        say_json({**asdict(status), "paired": told})
        return
    say(
        f"documents  {status.documents} ({status.chunks} chunks), {status.pending} pending, {len(status.failed)} failed"
    )
    say(f"folders    {', '.join(status.roots) or 'none yet: `tandem up DIR` or `tandem index DIR`'}")
    say(f"as of      {status.as_of or 'never'} ({status.state})")
    if status.progress:
        say(f"indexing   {run_in_words(status.progress)}")
    if status.growing:
        grows = status.growing
        say(f"growing    {grows.embedding} in {grows.store}: {grows.chunks_left} chunks left, then it answers")
    say(f"embedding  {status.embedding}")
    say(f"store      {status.store}")
    say(f"engine     {status.engine}, {status.workers} worker{'' if status.workers == 1 else 's'}")
    for _, entry, instead in pairings:
        but = f", but this counts instead: {', '.join(instead)}" if instead else ""
        say(f"paired     as {entry.user} with the queue at {entry.where}{but}")
    for word, files in (("failed", status.failed), ("left out", status.left_out)):
        for file in files[:_FAILED_SHOWN]:
            say(f"{word:10} {printable(file.path)}: {file.reason}")
        if len(files) > _FAILED_SHOWN:
            say(f"{word:10} and {len(files) - _FAILED_SHOWN} more: `tandem status --json`")
    for path in status.forgotten:
        say(f"forgotten  {printable(path)}")
    for warning in status.warnings:
        say(f"warning    {warning}")


async def doctor(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.doctor import examine

    checks = await examine(settings)
    for check in checks:
        if arguments.json:
            say_json(check)
        else:
            say(f"{check.state:8} {check.part:10} {check.found}" + (f"\n{'':20}{check.remedy}" if check.remedy else ""))
