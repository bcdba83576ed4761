"""What the doctor's tests look at: an index, somebody who holds it, and servers that answer what they are told to."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.doctor import examine
from bridge.doctor.check import Check
from bridge.settings import Settings
from indexer.catalog import Catalog
from indexer.records import COMPLETE, ChunkRow, Record, Stat, vector_key

HOLD = """
import sys, pathlib
from bridge.folder import Folder, holding
data = pathlib.Path(sys.argv[2])
with holding(Folder(data)):
    print("holds", flush=True)
    sys.stdin.read()
"""
NAME = "ab12cd34"


def index(
    data: Path,
    roots: tuple[str, ...] = (),
    signature: str = "onnx-int8:all-MiniLM-L6-v2@53aa51172d14:384",
    place: str = "embedded",
    failed: int = 0,
    **meta: str,
) -> Catalog:
    """One document of one chunk, and so many that failed. Close it."""
    catalog = Catalog(data / "catalog.sqlite3")
    catalog.add_roots(roots)
    catalog.begin_generation(signature, 384, place, "answers", COMPLETE)
    chunk = ChunkRow(7, 0, "kiln", 0, 4, 1, 1, None, None, b"", vector_key("kiln"))
    stat = Stat(4, 1, 1, 1)
    bad = [Record(f"/docs/{n}.pdf", stat, "", None, (), 1.0, "a picture only", failed=True) for n in range(failed)]
    catalog.record([Record("/docs/kiln.md", stat, "00", "Kiln", (chunk,), 1.0), *bad], now=2.0)
    for key, value in {"name": NAME, **meta}.items():
        catalog.set_meta(key, value)
    return catalog


@contextmanager
def held(data: Path, command: str = "up") -> Generator[int]:
    """By a process of its own, which is no more than its holder; its id."""
    words = [sys.executable, "-c", HOLD, command, str(data)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"holds\n"
        yield process.pid


async def checked(settings: Settings, part: str) -> list[Check]:
    """The lines about one part, of the whole examination."""
    with anyio.fail_after(30):
        return [check for check in await examine(settings) if check.part == part]


async def one(settings: Settings, part: str) -> Check:
    (check,) = await checked(settings, part)
    return check


@dataclass(slots=True)
class Server:
    """Over real HTTP: `answers` by path, everything else is 404; those of status 401 until they come with `header`."""

    answers: Mapping[str, Any]
    header: tuple[str, str] | None = None
    open: tuple[str, ...] = ()
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    url: str = ""
    silent: bool = False

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append((request.method, path))
        if self.silent:
            while (await request.receive())["type"] != "http.disconnect":
                pass
        if self.header and path not in self.open and request.headers.get(self.header[0]) != self.header[1]:
            return Response("Must provide an API key or an Authorization bearer token", 401)
        if path not in self.answers:
            return Response("not found", 404)
        return JSONResponse(self.answers[path])


@asynccontextmanager
async def serving(server: Server) -> AsyncGenerator[Server]:
    app = Starlette(routes=[Route("/{path:path}", server.answer, methods=["GET", "POST"])])
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve)
        with anyio.fail_after(30):
            while not running.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await anyio.sleep(0.01)
        server.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
        yield server
        running.should_exit = running.force_exit = True
