"""An Ollama as far as Tandem can tell: /api/tags and /api/embed over real HTTP, with vectors of words."""

import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

DIMENSIONS = 768
PROBE = "search_document: dimensions"


@dataclass(slots=True)
class FakeOllama:
    """`texts` is all that it was given. After `hold` documents wait for `go_on`."""

    models: list[str] = field(default_factory=lambda: ["nomic-embed-text:latest"])
    texts: list[str] = field(default_factory=list[str])
    url: str = ""
    go_on: anyio.Event = field(default_factory=anyio.Event)
    _held: anyio.Event = field(default_factory=anyio.Event)
    _holds: bool = False

    def hold(self) -> None:
        self._holds, self._held, self.go_on = True, anyio.Event(), anyio.Event()

    async def has_documents(self) -> None:
        """Returns once some wait."""
        with anyio.fail_after(30):
            await self._held.wait()

    async def tags(self, _: Request) -> Response:
        return JSONResponse({"models": [{"model": name, "digest": f"{name:0<64}", "size": 1} for name in self.models]})

    async def embed(self, request: Request) -> Response:
        asked: dict[str, Any] = await request.json()
        if not any(asked["model"] in (name, name.split(":")[0]) for name in self.models):
            return JSONResponse({"error": f'model "{asked["model"]}" not found, try pulling it first'}, 404)
        if asked["truncate"] or not all(asked["input"]):
            return JSONResponse({"error": "this test wants every text whole, and none empty"}, 400)
        self.texts += asked["input"]
        if self._holds and any(text != PROBE and text.startswith("search_document: ") for text in asked["input"]):
            self._held.set()
            await self.go_on.wait()
        return JSONResponse({"model": asked["model"], "embeddings": [_vector(text) for text in asked["input"]]})


def _vector(text: str) -> list[float]:
    vector = [0.01] * DIMENSIONS
    for word in text.split(": ", 1)[-1].lower().split():
        vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1
    return vector


@asynccontextmanager
async def fake_ollama() -> AsyncGenerator[FakeOllama]:
    fake = FakeOllama()
    app = Starlette(routes=[Route("/api/tags", fake.tags), Route("/api/embed", fake.embed, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        with anyio.fail_after(5):
            while not server.started:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        fake.url = "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
        yield fake
        server.should_exit = True
