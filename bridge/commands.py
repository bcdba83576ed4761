"""What each command does once its words are understood. Results go to stdout, words for people to stderr."""

import argparse
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast

import anyio

from bridge import paired
from bridge.citing import also_in, current, made_of, place, time_spent
from bridge.folder import Folder, Held, held, holding, running
from bridge.install.files import Refused
from bridge.service import Answer, BadInput, Part, Service, Unavailable, asking
from bridge.settings import Settings, WrongSetting, load
from bridge.terminal import printable, say, say_json
from bridge.whereabouts import Unusable
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.filters import Filters
from indexer.hits import Summary
from indexer.sandbox import NoReader
from indexer.store import StoreAway, StoreUnusable

logger = logging.getLogger("tandem")

_HELD_S = 10  # how long a command waits for a short one that has the data folder
_LOOK_EVERY_S = 0.1
_FAILED_SHOWN = 20

# As whom a paired machine comes to the queue: the first of these that it is. All else comes as a bridge.
_ROLES = {
    "worker": ("worker",),
    "workers": ("admin", "bridge", "worker"),
    "dead": ("admin", "bridge", "worker"),
    "pair": ("pair",),
    "queue": (),
    "service": (),
}

_FORESEEN = (
    BadInput,
    EmbedderAway,
    EmbedderUnusable,
    Held,
    NoReader,
    Refused,
    StoreAway,
    StoreUnusable,
    Unavailable,
    Unusable,
    WrongSetting,
)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status."""
    logging.basicConfig(stream=sys.stderr, format="tandem: %(message)s", level=logging.INFO)
    for noisy in ("httpx", "httpcore", "httpx2", "mcp", "uvicorn.error", "trafilatura", "ollama"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Of a parser that Ctrl-C ended before us it warns in words that help nobody.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        settings = load(arguments.data, roles=_ROLES.get(arguments.command, ("bridge",)))
        status = anyio.run(_COMMANDS[arguments.command], arguments, settings)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except (BrokenPipeError, *_FORESEEN) as error:
        return _ended(error)
    except BaseExceptionGroup as group:
        _, unforeseen = group.split((BrokenPipeError, *_FORESEEN))
        if unforeseen:
            raise
        return _ended(_leaf(group))
    return status or 0


def _ended(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        # `tandem ls | head` has done what was wanted. What is left in stdout must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    print(f"tandem: {error}", file=sys.stderr)  # noqa: T201
    return 1


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


@asynccontextmanager
async def _service(settings: Settings) -> AsyncGenerator[Service]:
    """The daemon that holds the index, or the index itself where none runs."""
    from bridge.client import remote

    folder = Folder(settings.data)
    patience = _Patience()
    while True:
        if running(str(folder.http_socket)):
            async with remote(str(folder.http_socket)) as service:
                yield service
            return
        try:
            with holding(folder):
                async with _opened(settings) as service:
                    yield service
                return
        except Held as error:
            await patience.wait(error)


@dataclass(slots=True)
class _Patience:
    """With a daemon that starts or ends, or another short command: either is soon done."""

    until: float = field(default_factory=lambda: time.monotonic() + _HELD_S)
    told: bool = False

    async def wait(self, error: Held) -> None:
        """Returns when it is time for another try; raises `error` when it has been long enough."""
        if time.monotonic() > self.until:
            raise error
        if not self.told:
            logger.info("waiting: %s", error)
            self.told = True
        await anyio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Service]:
    from bridge.tandem import opened
    from bridge.traced import traced

    with traced(settings, "tandem") as traces:
        async with opened(settings, traces) as tandem:
            await tandem.filled()
            yield tandem


async def _up(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.daemon import serve

    if arguments.port is not None:
        settings = replace(settings, port=arguments.port)
    patience = _Patience()
    while True:
        try:
            return await serve(settings, arguments.folders, private_phoenix=arguments.phoenix)
        except Held as error:
            if running(str(Folder(settings.data).http_socket)):
                raise
            await patience.wait(error)


async def _down(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.client import remote

    folder = Folder(settings.data)
    if not running(str(folder.http_socket)):
        logger.info("no daemon runs on %s", folder.data)
        return
    async with remote(str(folder.http_socket)) as service:
        await service.stop()
    with anyio.move_on_after(_HELD_S):
        # Not its sockets alone, or the next `up` would come too early.
        while running(str(folder.http_socket)) or held(folder):  # noqa: ASYNC110 (there is no event to wait for)
            await anyio.sleep(_LOOK_EVERY_S)
        return
    raise Unavailable(f"the daemon was told to stop and still runs after {_HELD_S} s: its process is in {folder.lock}")


async def _index(arguments: argparse.Namespace, settings: Settings) -> None:
    folders = [str(Path(folder).expanduser().absolute()) for folder in arguments.folders]
    async with _service(settings) as service, _progress(service):
        summary = await service.index(folders, arguments.accept_deletions)
    _say_summary(arguments, summary)


def _say_summary(arguments: argparse.Namespace, summary: Summary) -> None:
    from bridge.progress import in_words

    if arguments.json:
        say_json(summary)
    else:
        say(in_words(summary))


async def _reindex(arguments: argparse.Namespace, settings: Settings) -> None:
    path = _absolute(arguments.path) if arguments.path else None
    async with _service(settings) as service, _progress(service):
        summary = await service.reindex(path)
    _say_summary(arguments, summary)


async def _forget(arguments: argparse.Namespace, settings: Settings) -> None:
    path = _absolute(arguments.path)
    async with _service(settings) as service:
        documents = await service.forget(path)
    if arguments.json:
        say_json({"path": path, "documents": documents})
    else:
        say(f"{documents} document{'s' * (documents != 1)} forgotten; `tandem index {path}` takes it in again")


async def _pause(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _service(settings) as service:
        await service.pause()
    logger.info("indexing is paused until `tandem resume`; search goes on")


async def _resume(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _service(settings) as service:
        await service.resume()
    logger.info("indexing goes on")


async def _migrate(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.migrating import migrate

    moved = await migrate(settings)
    if arguments.json:
        say_json(moved)
    elif moved.source == moved.target and not moved.embedded_chunks:
        say(f"nothing to move: {moved.chunks} chunks are in {moved.target}")
    else:
        say(f"{moved.chunks} chunks moved from {moved.source} to {moved.target}; {moved.embedded_chunks} embedded")


async def _setup(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.setting_up import Ready, set_up

    if settings.qdrant is None:
        ready = Ready("embedded", {}, 0)
    else:
        async with _service(settings) as service:
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


async def _backup(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.migrating import back_up

    logger.info("the index is kept in %s", back_up(settings, Path(arguments.file)))


async def _restore(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.migrating import restore

    restore(settings, Path(arguments.file))
    logger.info("the index is restored in %s; the next start fills its store, without embedding", settings.data)


async def _doctor(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.doctor import examine

    checks = await examine(settings)
    for check in checks:
        if arguments.json:
            say_json(check)
        else:
            say(f"{check.state:8} {check.part:10} {check.found}" + (f"\n{'':20}{check.remedy}" if check.remedy else ""))


async def _install(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.install.command import install

    install(arguments, settings)


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


async def _search(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _service(settings) as service:
        found = await service.search(arguments.query, arguments.k, _filters(arguments), arguments.explain)
    if arguments.json:
        say_json(found)
        return
    if sys.stdout.isatty():
        from rich.console import Console

        from bridge.shown import show_found

        show_found(Console(), found)
    else:
        for n, hit in enumerate(found.hits, 1):
            say(f"[{n}] {printable(place(hit))}  {hit.score:.3f}")
            for line in (*also_in(hit), *made_of(hit)):
                say(f"    ({printable(line)})")
            say(f"{_indented(hit.text)}\n")
        if not found.hits:
            say("nothing found")
        if found.explained:
            say(f"({time_spent(found.explained)})")
    _notes(found.degraded, current(found.freshness))


def _filters(arguments: argparse.Namespace) -> Filters:
    return Filters.asked(arguments.within, arguments.type, arguments.since)


async def _ask(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _service(settings) as service, asking(service, arguments.question, _filters(arguments)) as parts:
        if arguments.json:
            async for part in parts:
                if isinstance(part, Answer):
                    say_json({"chunk": "", "is_final": True})
                say_json(part)
                _raise_for(part)
            return
        _raise_for(await _streamed(parts))


async def _streamed(parts: AsyncIterator[Part]) -> Answer:
    at_terminal = sys.stdout.isatty()
    with ExitStack() as waiting:
        if at_terminal:
            from bridge.shown import searching

            waiting.enter_context(searching())
        async for part in parts:
            waiting.close()
            if isinstance(part, Answer):
                say("")
                _say_sources(part, at_terminal)
                return part
            print(printable(part.chunk), end="", flush=True)  # noqa: T201
    raise Unavailable("the answer stopped without its end: ask again")


def _say_sources(answer: Answer, at_terminal: bool) -> None:
    if at_terminal:
        from rich.console import Console

        from bridge.shown import show_sources

        return show_sources(Console(), answer)
    if answer.citations:
        say("\nSources:")
    for citation in answer.citations:
        say(f"[{citation.n}] {printable(place(citation))}")
    return _notes(answer.degraded, f"answered by {answer.engine}; {current(answer.freshness)}")


def _raise_for(part: Part) -> None:
    if isinstance(part, Answer) and part.error:
        raise Unavailable(f"the answer stops short: {part.error}")


async def _rate(arguments: argparse.Namespace, settings: Settings) -> None:
    up = arguments.rating == "up"
    async with _service(settings) as service:
        await service.rate(arguments.trace_id, up, arguments.comment)
    if arguments.json:
        say_json({"trace_id": arguments.trace_id, "rating": arguments.rating})
    else:
        say(f"sent to the answer's trace: thumbs {arguments.rating}")


async def _status(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.progress import run_in_words

    async with _service(settings) as service:
        status = await service.status()
    if arguments.json:
        say_json(status)
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
    if queue := paired.known(settings.data, settings.redis_url):
        say(f"paired     as {queue.user} with the queue at {queue.where}")
    for word, files in (("failed", status.failed), ("left out", status.left_out)):
        for file in files[:_FAILED_SHOWN]:
            say(f"{word:10} {printable(file.path)}: {file.reason}")
        if len(files) > _FAILED_SHOWN:
            say(f"{word:10} and {len(files) - _FAILED_SHOWN} more: `tandem status --json`")
    for path in status.forgotten:
        say(f"forgotten  {printable(path)}")
    for warning in status.warnings:
        say(f"warning    {warning}")


async def _ls(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _service(settings) as service:
        rows = await service.documents(arguments.glob)
    for row in rows:
        if arguments.json:
            say_json(row)
        else:
            say(f"{row.state:8} {row.chunks:5} {row.indexed_at}  {printable(row.path)}")


async def _worker(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.working import serve

    await serve(arguments, settings)


async def _workers(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.queue_commands import workers

    await workers(arguments, settings)


async def _dead(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.queue_commands import dead

    await dead(arguments, settings)


async def _cache(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.cache_commands import cache

    async with _service(settings) as service:
        await cache(arguments, service)


async def _token(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.token_commands import token

    await token(arguments, settings)


async def _trace(arguments: argparse.Namespace, settings: Settings) -> int:
    from bridge.trace_commands import trace

    # Questions that are asked again are none that somebody asked.
    return await trace(arguments, settings, partial(_service, replace(settings, phoenix_collector_endpoint=None)))


async def _eval(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.evaluating import evaluate
    from bridge.own_report import judged_in_words, own_in_words

    measured = await evaluate(arguments, settings)
    if arguments.json:
        say_json(measured)
    else:
        say(printable(own_in_words(measured) if arguments.own else judged_in_words(measured)))


def _notes(degraded: tuple[str, ...], freshness: str) -> None:
    for note in degraded:
        print(f"note: {note}", file=sys.stderr)  # noqa: T201
    print(f"({freshness})", file=sys.stderr)  # noqa: T201


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in printable(text).splitlines())


async def _queue(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.queue_server import queue

    await queue(arguments, settings)


async def _pair(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.pairing_commands import pair

    await pair(arguments, settings)


async def _services(arguments: argparse.Namespace, settings: Settings) -> None:
    from bridge.services.command import service

    service(arguments, settings)


Command = Callable[[argparse.Namespace, Settings], Awaitable[int | None]]
"""What it returns is the exit status, 0 without one."""

_COMMANDS: dict[str, Command] = {
    "up": _up,
    "down": _down,
    "index": _index,
    "reindex": _reindex,
    "forget": _forget,
    "pause": _pause,
    "resume": _resume,
    "migrate": _migrate,
    "setup": _setup,
    "backup": _backup,
    "restore": _restore,
    "doctor": _doctor,
    "install": _install,
    "search": _search,
    "ask": _ask,
    "rate": _rate,
    "status": _status,
    "ls": _ls,
    "worker": _worker,
    "workers": _workers,
    "dead": _dead,
    "queue": _queue,
    "pair": _pair,
    "cache": _cache,
    "token": _token,
    "trace": _trace,
    "service": _services,
    "eval": _eval,
}
