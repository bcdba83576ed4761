"""MCP sessions in the daemon: one for each connection of a relay, and those over HTTP.

`tools.mcp_server` says what is served; here is how its messages come and go.
"""
# pyright: reportPrivateUsage=false
# The SDK's one way to a session on streams of our own is MCPServer._lowlevel_server: pinned in pyproject.toml.

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import mcp_types
from anyio.abc import SocketStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.runner import serve_dual_era_loop
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import SessionMessage
from opentelemetry import context
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge.callers import CALLER
from bridge.relay import MAX_LINE, NO_REQUEST, Lines, is_id, no_message

logger = logging.getLogger(__name__)

Heard = SessionMessage | Exception


@asynccontextmanager
async def over_lines(server: MCPServer[Any]) -> AsyncGenerator[Callable[[SocketStream], Awaitable[None]]]:
    """Serves one connection's session, until it ends: newline-delimited JSON-RPC both ways."""
    lowlevel = server._lowlevel_server
    # Server.run() would enter the lifespan once for each connection.
    async with lowlevel.lifespan(lowlevel) as state:
        yield partial(_serve, lowlevel, state)


async def _serve(server: Server[Any], state: Any, connection: SocketStream) -> None:
    # Each connection has a task of its own: what it asks is one session of the traces.
    context.attach(context.set_value("session.id", f"mcp-{uuid4().hex[:12]}"))
    to_server, heard = anyio.create_memory_object_stream[Heard](0)
    said, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with connection, anyio.create_task_group() as tasks:
            tasks.start_soon(_read, connection, to_server, said.clone())
            tasks.start_soon(_write, connection, from_server)
            await serve_dual_era_loop(
                server,
                heard,
                said,
                lifespan_state=state,
                init_options=server.create_initialization_options(),
            )
            # _write ends by itself once what was said is on the wire.
    except* (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        logger.debug("a client left in the middle of a message")
    except* Exception:
        # One session must not end the others.
        logger.exception("an MCP session ended in an error")


async def _read(
    connection: SocketStream,
    to_server: MemoryObjectSendStream[Heard],
    said: MemoryObjectSendStream[SessionMessage],
) -> None:
    # asyncio's own line reader ends at 64 KiB.
    lines = Lines(MAX_LINE)
    async with to_server, said:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for piece in connection:
                for line in lines.feed(piece):
                    if line is None or line.strip():
                        await _hear(line, to_server, said)


async def _hear(
    line: bytes | None,
    to_server: MemoryObjectSendStream[Heard],
    said: MemoryObjectSendStream[SessionMessage],
) -> None:
    if line is None:
        return await said.send(
            _refusal(None, mcp_types.INVALID_REQUEST, f"expected a line of at most {MAX_LINE} bytes")
        )
    try:
        text = line.decode()
        message = mcp_types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except (UnicodeDecodeError, ValidationError):
        return await said.send(_what_is_wrong(line))
    if not isinstance(message, mcp_types.JSONRPCRequest) and not _needs_no_answer(text):
        return await said.send(_what_is_wrong(line))
    return await to_server.send(SessionMessage(message))


def _needs_no_answer(text: str) -> bool:
    """The SDK takes a request whose id or params are none for a notification or a response."""
    try:
        return not {"id", "method"} <= json.loads(text).keys()
    except (ValueError, RecursionError):
        return False


def _what_is_wrong(line: bytes) -> SessionMessage:
    try:
        value: Any = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        return _refusal(None, mcp_types.PARSE_ERROR, no_message(error))
    match value:
        case {"id": request_id} if is_id(request_id):
            pass
        case _:
            request_id = None
    return _refusal(request_id, mcp_types.INVALID_REQUEST, NO_REQUEST)


def _refusal(request_id: str | int | None, code: int, reason: str) -> SessionMessage:
    error = mcp_types.ErrorData(code=code, message=reason)
    return SessionMessage(mcp_types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


async def _write(connection: SocketStream, from_server: MemoryObjectReceiveStream[SessionMessage]) -> None:
    async with from_server:
        async for message in from_server:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            await connection.send(text.encode() + b"\n")


@asynccontextmanager
async def over_http(server: MCPServer[Any]) -> AsyncGenerator[ASGIApp]:
    """MCP's streamable HTTP as an ASGI app for `gateway.app`, which guards it: Host, Origin, token, size. A session is
    its opener's: with another's token it is unknown."""
    manager = StreamableHTTPSessionManager(
        app=server._lowlevel_server,
        # JSON instead of a stream would drop the progress.
        json_response=False,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    async with manager.run():
        yield _OfItsOpener(StreamableHTTPASGIApp(manager))


class _OfItsOpener:
    """No function: a route takes one for an endpoint that answers GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if caller := CALLER.get():
            # What the SDK tells its sessions' owners by; the secret is no business of its.
            scope = {**scope, "user": AuthenticatedUser(AccessToken(token="", client_id=caller.id, scopes=[]))}
        await self._app(scope, receive, send)
