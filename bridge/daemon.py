"""Everything in one process: watch, index, search and answer, served over two Unix sockets and HTTP."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from importlib.metadata import version

import anyio
import anyio.abc
import uvicorn
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from bridge import gateway
from bridge.door import Door
from bridge.folder import Folder, holding
from bridge.mcp_later import mcp_later
from bridge.notifying import notify, status
from bridge.progress import shown
from bridge.scoped import Scoped
from bridge.settings import Settings, WrongSetting
from bridge.sockets import bound
from bridge.tandem import Tandem, opened
from bridge.tokens import Tokens
from bridge.traced import traced
from observability.traces import Traces

logger = logging.getLogger("tandem")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def serve(settings: Settings, folders: Sequence[str], *, private_phoenix: bool = False) -> None:
    """Runs until SIGINT, SIGTERM or `tandem down`. Raises Held, WrongSetting, BadInput and what `opened` raises."""
    folder = Folder(settings.data)
    tokens = Tokens(folder.tokens)
    if settings.host not in _LOOPBACK and not (settings.token or settings.oauth_issuer or tokens.are_asked_for):
        raise WrongSetting(
            f"HOST is {settings.host}, which others can reach: that needs a secret which they must send. Make one for "
            "each of them with `tandem token add NAME`, or set TANDEM_TOKEN; or leave HOST at 127.0.0.1"
        )
    # How often a thread that computes lets the loop in: searches stay quick while files are indexed.
    sys.setswitchinterval(0.0005)
    with holding(folder):
        async with AsyncExitStack() as stack:
            traces = await stack.enter_async_context(_traced(settings, private_phoenix))
            tandem = await stack.enter_async_context(opened(settings, traces, background=True))
            await tandem.add(folders)
            await _serve(tandem, settings, folder, tokens)


async def _serve(tandem: Tandem, settings: Settings, folder: Folder, tokens: Tokens) -> None:
    ours = version("tandem-rag")
    async with AsyncExitStack() as stack:
        service = Scoped(tandem, lambda: tokens.key)
        door, more = await stack.enter_async_context(_door(settings, tokens))
        app = gateway.app(
            service,
            version=ours,
            door=door,
            allowed_hosts=[settings.host],
            cors_origins=[origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()],
            mcp=await stack.enter_async_context(mcp_later(service, ours, str(folder.mcp_socket))),
            more=more,
            metrics=tandem.metrics,
        )
        listeners = [await stack.enter_async_context(bound(str(folder.http_socket)))]
        if port := stack.enter_context(_port(settings)):
            listeners.append(port)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(_until_signal, tandem)
        # Before the first question can come.
        tasks.start_soon(tandem.keeping.run)
        await tasks.start(http, app, listeners)
        _greet(settings, folder, port)
        notify("READY=1", status(f"answers at {_where(settings, folder, port)}"))
        tasks.start_soon(shown, tandem.indexer)
        await tandem.stopped.wait()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _door(settings: Settings, tokens: Tokens) -> AsyncGenerator[tuple[Door, Sequence[BaseRoute]]]:
    """And the routes that tell how to get a token of an authorization server, where one is named."""
    door = Door(settings.token, tokens, is_shut=settings.host not in _LOOPBACK)
    if not settings.oauth_issuer:
        yield door, ()
        return
    from bridge.oauth import opened_oauth  # with httpx, a tenth of a daemon's start

    async with opened_oauth(settings, tokens) as oauth:
        yield replace(door, introspect=oauth.caller, challenge=oauth.challenge), oauth.routes


@asynccontextmanager
async def _traced(settings: Settings, private_phoenix: bool) -> AsyncGenerator[Traces]:
    if private_phoenix:
        from observability.phoenix import traced_by_phoenix  # with httpx, a tenth of a daemon's start

        python = settings.phoenix_python or sys.executable
        hide = settings.hidden
        async with traced_by_phoenix(settings.data, python=python, service="tandem-daemon", hide=hide) as traces:
            yield traces
    else:
        with traced(settings, "tandem-daemon") as traces:
            yield traces


@contextmanager
def _port(settings: Settings) -> Generator[socket.socket | None]:
    """The TCP port, or none where another process has it: the sockets serve all the same."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle off only for sockets that say they are TCP: without it each reply waits 40 ms for an ACK.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(512)
        except OSError as error:
            logger.warning(
                "port %d at %s is not to be had (%s): HTTP is served on the socket only, where `tandem` and MCP "
                "clients find it; choose another with --port",
                *(settings.port, settings.host, error.strerror),
            )
            yield None
        else:
            yield listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own, and ends in order."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def http(
    app: ASGIApp, listeners: list[socket.socket], *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    # Its access log would go to stdout; errors are the gateway's to log.
    # Nothing here asks who X-Forwarded-For says it is, so nobody is believed it.
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
    )
    task_status.started()  # the kernel queues connections from `listen` on
    try:
        await _Server(config).serve(listeners)
    finally:
        # It is cancelled, for answers under way end with the daemon and not with it; then it still takes connections,
        # from sockets that are closed next.
        for listener in listeners:
            asyncio.get_running_loop().remove_reader(listener)


async def _until_signal(tandem: Tandem) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            notify("STOPPING=1")
            await tandem.stop()


def _greet(settings: Settings, folder: Folder, port: socket.socket | None) -> None:
    logger.info("Tandem answers at %s (index: %s); Ctrl-C stops it", _where(settings, folder, port), folder.data)


def _where(settings: Settings, folder: Folder, port: socket.socket | None) -> str:
    return f"http://{settings.host}:{port.getsockname()[1]}" if port else f"the socket {folder.http_socket}"
