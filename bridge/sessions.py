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

import anyio
import mcp_types
from anyio.abc import SocketStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.runner import serve_dual_era_loop
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import SessionMessage
from pydantic import ValidationError
from starlette.types import ASGIApp

from bridge.relay import MAX_LINE, Lines

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
        message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        return await said.send(_what_is_wrong(line))
    return await to_server.send(SessionMessage(message))


def _what_is_wrong(line: bytes) -> SessionMessage:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _refusal(None, mcp_types.PARSE_ERROR, f"expected one JSON-RPC message a line: {error}")
    match value:
        case {"id": str() | int() as request_id}:
            pass
        case _:
            request_id = None
    return _refusal(request_id, mcp_types.INVALID_REQUEST, "expected one JSON-RPC 2.0 object (no batch)")


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
    """MCP's streamable HTTP as an ASGI app for `gateway.app`, which guards it: Host, Origin, token, size."""
    manager = StreamableHTTPSessionManager(
        app=server._lowlevel_server,
        # JSON instead of a stream would drop the progress.
        json_response=False,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    async with manager.run():
        yield StreamableHTTPASGIApp(manager)
