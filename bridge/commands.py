"""A command is run once its words are understood. Results go to stdout, words for people to stderr."""

import argparse
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import cast

import anyio

from bridge.folder import Held
from bridge.install.files import Refused
from bridge.service import BadInput, Unavailable
from bridge.settings import Settings, WrongSetting, load
from bridge.whereabouts import Unusable
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.sandbox import NoReader
from indexer.store import StoreAway, StoreUnusable

Command = Callable[[argparse.Namespace, Settings], Awaitable[int | None]]
"""What it returns is the exit status, 0 without one."""

# The room of each, and the function there: it is imported when it is asked for, and no other one is.
COMMANDS = {
    "up": "daemon_commands:up",
    "down": "daemon_commands:down",
    "status": "daemon_commands:status",
    "doctor": "daemon_commands:doctor",
    "index": "index_commands:index",
    "reindex": "index_commands:reindex",
    "forget": "index_commands:forget",
    "pause": "index_commands:pause",
    "resume": "index_commands:resume",
    "ls": "index_commands:ls",
    "migrate": "index_commands:migrate",
    "setup": "index_commands:setup",
    "backup": "index_commands:backup",
    "restore": "index_commands:restore",
    "search": "question_commands:search",
    "ask": "question_commands:ask",
    "rate": "question_commands:rate",
    "install": "install.command:install",
    "worker": "working:serve",
    "workers": "queue_commands:workers",
    "dead": "queue_commands:dead",
    "queue": "queue_server:queue",
    "pair": "pairing_commands:pair",
    "service": "services.command:service",
    "cache": "cache_commands:cache",
    "token": "token_commands:token",
    "trace": "trace_commands:trace",
    "eval": "evaluating:evaluate",
}

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
        status = anyio.run(found(arguments.command), arguments, settings)
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


def found(command: str) -> Command:
    room, function = COMMANDS[command].split(":")
    return getattr(import_module(f"bridge.{room}"), function)


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
