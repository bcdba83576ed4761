"""MCP, whose SDK is imported with the first client: half a second and 30 MB that a daemon without one is spared."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import ModuleType

import anyio
import anyio.to_thread
from anyio.abc import SocketListener, SocketStream
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.service import Library
from bridge.sockets import bound

logger = logging.getLogger("tandem")


@asynccontextmanager
async def mcp_later(service: Library, version: str, socket_path: str) -> AsyncGenerator[ASGIApp]:
    """Serves a session for each connection to the socket, and, as an ASGI app for `gateway.app`, those over HTTP.

    Clients connect from the beginning; the first one waits for the import, as it would for the daemon's start.
    """
    later = _Later(service, version)
    async with bound(socket_path) as listening, anyio.create_task_group() as tasks:
        tasks.start_soon(later.listen, await SocketListener.from_socket(listening))
        tasks.start_soon(later.open)
        try:
            yield later
        finally:
            tasks.cancel_scope.cancel()


class _Later:
    def __init__(self, service: Library, version: str) -> None:
        self._service, self._version = service, version
        self._wanted, self._ready = anyio.Event(), anyio.Event()
        self._lines: Callable[[SocketStream], Awaitable[None]]
        self._http: ASGIApp

    async def open(self) -> None:
        """Until cancelled."""
        await self._wanted.wait()
        # The loop goes on meanwhile: the other faces answer.
        try:
            sessions, tools = await anyio.to_thread.run_sync(_imported)
        except ImportError as error:
            logger.error("MCP could not be loaded: %s; was Tandem upgraded while it ran? Start it again", error)
            await self._service.stop()  # a relay starts the next one, which has the new files
            return
        server = tools.mcp_server(self._service, self._version)
        async with sessions.over_lines(server) as self._lines, sessions.over_http(server) as self._http:
            self._ready.set()
            await anyio.sleep_forever()

    async def listen(self, listener: SocketListener) -> None:
        """Until cancelled."""
        async with listener:
            await listener.serve(self._connected)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._opened()
        await self._http(scope, receive, send)

    async def _connected(self, connection: SocketStream) -> None:
        await self._opened()
        await self._lines(connection)

    async def _opened(self) -> None:
        self._wanted.set()
        await self._ready.wait()


def _imported() -> tuple[ModuleType, ModuleType]:
    from bridge import sessions, tools

    return sessions, tools
