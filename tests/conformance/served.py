"""Tandem's MCP server over HTTP as the daemon has it, on a real index, with the suite's fixtures beside its tools."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from starlette.types import ASGIApp

from bridge import gateway
from bridge.sessions import over_http
from bridge.settings import load
from bridge.tandem import opened
from bridge.tools import mcp_server
from observability.traces import Off
from tests.conformance.fixtures import add_fixtures
from tests.processes import environment


@dataclass(frozen=True, slots=True)
class Served:
    """The URL of /mcp, behind the guard. `missed`: the tools and prompts that were asked for and are not there."""

    url: str
    missed: set[str]


@asynccontextmanager
async def served(data: Path, docs: Path) -> AsyncGenerator[Served]:
    async with opened(load(str(data), environment(), data.parent), Off()) as tandem:
        await tandem.index([str(docs)])
        server = mcp_server(tandem, "0")
        add_fixtures(server)
        missed = await _noted(server)
        async with over_http(server) as mcp, _listening(gateway.app(tandem, version="0", mcp=mcp)) as url:
            yield Served(f"{url}/mcp", missed)


async def _noted(server: MCPServer[Any]) -> set[str]:
    there = {one.name for one in (*await server.list_tools(), *await server.list_prompts())}
    missed: set[str] = set()

    async def note(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        name = (ctx.params or {}).get("name")
        if ctx.method in ("tools/call", "prompts/get") and name not in there:
            missed.add(str(name))
        return await call_next(ctx)

    server.middleware.append(note)
    return missed


@asynccontextmanager
async def _listening(app: ASGIApp) -> AsyncGenerator[str]:
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve)
        with anyio.fail_after(30):
            while not running.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await anyio.sleep(0.01)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
        running.should_exit = running.force_exit = True
