"""What the index holds: `tandem index`, `reindex`, `forget`, `pause`, `resume` and `ls`; where it lies: `migrate`,
`setup`, `backup` and `restore`."""

import argparse
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from bridge.reached import reached
from bridge.service import Service
from bridge.settings import Settings
from bridge.terminal import printable, say, say_json
from indexer.hits import Summary

logger = logging.getLogger("tandem")


async def index(arguments: argparse.Namespace, settings: Settings) -> None:
    folders = [str(Path(folder).expanduser().absolute()) for folder in arguments.folders]
    async with reached(settings) as service, _progress(service):
        summary = await service.index(folders, arguments.accept_deletions)
    _say_summary(arguments, summary)


async def reindex(arguments: argparse.Namespace, settings: Settings) -> None:
    path = _absolute(arguments.path) if arguments.path else None
    async with reached(settings) as service, _progress(service):
        summary = await service.reindex(path)
    _say_summary(arguments, summary)


async def forget(arguments: argparse.Namespace, settings: Settings) -> None:
    path = _absolute(arguments.path)
    async with reached(settings) as service:
        documents = await service.forget(path)
    if arguments.json:
        say_json({"path": path, "documents": documents})
    else:
        say(f"{documents} document{'s' * (documents != 1)} forgotten; `tandem index {path}` takes it in again")


async def pause(arguments: argparse.Namespace, settings: Settings) -> None:
    async with reached(settings) as service:
        await service.pause()
    logger.info("indexing is paused until `tandem resume`; search goes on")


async def resume(arguments: argparse.Namespace, settings: Settings) -> None:
    async with reached(settings) as service:
        await service.resume()
    logger.info("indexing goes on")


async def ls(arguments: argparse.Namespace, settings: Settings) -> None:
    async with reached(settings) as service:
        rows = await service.documents(arguments.glob)
    for row in rows:
        if arguments.json:
            say_json(row)
        else:
            say(f"{row.state:8} {row.chunks:5} {row.indexed_at}  {printable(row.path)}")


async def migrate(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.migrating import migrate

    moved = await migrate(settings)
    if arguments.json:
        say_json(moved)
    elif moved.source == moved.target and not moved.embedded_chunks:
        say(f"nothing to move: {moved.chunks} chunks are in {moved.target}")
    else:
        say(f"{moved.chunks} chunks moved from {moved.source} to {moved.target}; {moved.embedded_chunks} embedded")


async def setup(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.setting_up import Ready, set_up

    if settings.qdrant is None:
        ready = Ready("embedded", {}, 0)
    else:
        async with reached(settings) as service:
            ready = await set_up(settings, settings.qdrant, service)
    if arguments.json:
        say_json(ready)
    elif settings.qdrant is None:
        say("nothing to set up: no QDRANT_URL or QDRANT_HOST is set, and the embedded store makes its own files")
    else:
        say(f"{ready.store} is ready")
        for alias, collection in ready.aliases.items():
            say(f"{alias:20} {collection or 'none yet'}")
        if ready.chunks_left:
            say(f"{ready.chunks_left} chunks are not there yet: `tandem migrate` moves them, or the daemon does")


async def backup(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.migrating import back_up

    logger.info("the index is kept in %s", back_up(settings, Path(arguments.file)))


async def restore(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.migrating import restore

    restore(settings, Path(arguments.file))
    logger.info("the index is restored in %s; the next start fills its store, without embedding", settings.data)


def _say_summary(arguments: argparse.Namespace, summary: Summary) -> None:
    from bridge.progress import in_words

    if arguments.json:
        say_json(summary)
    else:
        say(in_words(summary))


def _absolute(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 (links are kept: a path is known as it was added)


@asynccontextmanager
async def _progress(service: Service) -> AsyncGenerator[None]:
    from bridge.progress import shown, told
    from bridge.tandem import Tandem

    async with anyio.create_task_group() as tasks:
        if isinstance(service, Tandem):
            tasks.start_soon(shown, service.indexer)
        else:
            tasks.start_soon(told, service)
        yield
        tasks.cancel_scope.cancel()
