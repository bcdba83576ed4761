"""An Ollama as far as Tandem can tell: /api/tags and /api/embed over real HTTP, with vectors of words; and all that can
go wrong with one. Before a real Ollama (`upstream`) it hands on what it does not spoil, and counts.
"""

import json
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import anyio.abc
import httpx
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

DIMENSIONS = 768
PROBE = "search_document: dimensions"

Fault = Literal[
    "full",  # 503: its queue
    "too many",  # 429
    "500",  # the model's process fell over
    "400",
    "501",
    "break",  # the connection ends before the reply
    "break in the reply",
    "hang",  # until the client goes
    "restart",  # the server ends, and listens again on its port a moment later
    "error under 200",
    "no JSON",
    "too few",
    "too many vectors",
    "another size",
    "ragged",
    "NaN",
    "zeros",
]


@dataclass(slots=True)
class FakeOllama:
    """`texts` is all that it was given, `embedded` how often each was answered with its vector, `truncating` whether it
    was ever asked to cut. After `hold` documents wait for `go_on`.

    `fault` says what is to go wrong with a request for these texts; `refuses`, of which texts a batch is 400.
    """

    models: list[str] = field(default_factory=lambda: ["nomic-embed-text:latest"])
    texts: list[str] = field(default_factory=list[str])
    url: str = ""
    go_on: anyio.Event = field(default_factory=anyio.Event)
    embedded: Counter[str] = field(default_factory=Counter[str])
    truncating: bool = False
    faults: Counter[str] = field(default_factory=Counter[str])  # as they were met
    fault: Callable[[Sequence[str]], Fault | None] = lambda _: None
    refuses: Callable[[str], bool] = lambda _: False
    latency_s: float = 0
    digests: dict[str, str] = field(default_factory=dict[str, str])  # of a model, where it is not made of its name
    listings: int = 0
    hung: anyio.Event = field(default_factory=anyio.Event)
    upstream: str | None = None
    _held: int = 0
    _arrived: anyio.Event = field(default_factory=anyio.Event)
    _holds: bool = False
    _server: uvicorn.Server | None = None
    _tasks: anyio.abc.TaskGroup | None = None
    _stopped: anyio.Event = field(default_factory=anyio.Event)

    def hold(self) -> None:
        self._holds, self._held, self.go_on = True, 0, anyio.Event()

    async def has_documents(self, requests: int = 1) -> None:
        """Returns once so many wait."""
        with anyio.fail_after(30):
            while self._held < requests:
                self._arrived = anyio.Event()
                await self._arrived.wait()

    async def start(self) -> None:
        """Listens; again on the same port after `stop`."""
        assert self._tasks
        routes = [Route("/api/tags", self.tags), Route("/api/embed", self.embed, methods=["POST"])]
        port = httpx.URL(self.url).port if self.url else 0
        config = uvicorn.Config(
            Starlette(routes=routes), port=port or 0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server, self._stopped = uvicorn.Server(config), anyio.Event()
        self._tasks.start_soon(self._serve, self._server, self._stopped)
        with anyio.fail_after(30):
            while not self._server.started:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        self.url = "http://{}:{}".format(*self._server.servers[0].sockets[0].getsockname())

    async def _serve(self, server: uvicorn.Server, stopped: anyio.Event) -> None:
        await server.serve()
        stopped.set()

    async def stop(self) -> None:
        """As `kill` does it: nobody listens, and connections end; what was answered is still under way."""
        assert self._server
        for listener in self._server.servers:
            listener.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.close()  # type: ignore[union-attr]
        self._server.should_exit = self._server.force_exit = True
        with anyio.fail_after(30):
            await self._stopped.wait()

    async def _restart(self) -> None:
        await self.stop()
        await self.start()

    async def tags(self, request: Request) -> Response:
        self.listings += 1
        if self.upstream:
            return await self._handed_on(request)
        return JSONResponse(
            {"models": [{"model": name, "digest": self.digests.get(name, f"{name:0<64}")} for name in self.models]}
        )

    async def embed(self, request: Request) -> Response:
        asked: dict[str, Any] = await request.json()
        texts: list[str] = asked["input"]
        if not self.upstream and not any(asked["model"] in (name, name.split(":")[0]) for name in self.models):
            return JSONResponse({"error": f'model "{asked["model"]}" not found, try pulling it first'}, 404)
        self.truncating |= asked["truncate"]
        if asked["truncate"] or not all(texts):
            return JSONResponse({"error": "this test wants every text whole, and none empty"}, 400)
        self.texts += texts
        if self._holds and any(text != PROBE and text.startswith("search_document: ") for text in texts):
            self._held += 1
            self._arrived.set()
            await self.go_on.wait()
        if any(self.refuses(text) for text in texts):
            return JSONResponse({"error": "the input length exceeds the context length"}, 400)
        fault = self.fault(texts)
        if fault:
            self.faults[fault] += 1
            if reply := await self._spoilt(fault, request):
                return reply
        if self.latency_s:
            await anyio.sleep(self.latency_s)
        if self.upstream:
            reply = await self._handed_on(request)
            if reply.status_code != 200:
                return reply
            vectors = json.loads(reply.body)["embeddings"]
        else:
            vectors = [vector_of(text) for text in texts]
        if fault:
            return JSONResponse({"model": asked["model"], "embeddings": _odd(fault, vectors)})
        # Nothing is awaited from here to the reply: who is counted as embedded is answered.
        if self._connection(request):
            self.embedded.update(texts)
        return JSONResponse({"model": asked["model"], "embeddings": vectors})

    async def _handed_on(self, request: Request) -> Response:
        async with httpx.AsyncClient(base_url=self.upstream or "", timeout=300) as client:
            reply = await client.request(request.method, request.url.path, content=await request.body())
        return Response(reply.content, reply.status_code, media_type="application/json")

    async def _spoilt(self, fault: Fault, request: Request) -> Response | None:
        """None: the vectors will be odd."""
        match fault:
            case "full":
                return JSONResponse({"error": "server busy, please try again. maximum pending requests exceeded"}, 503)
            case "too many":
                return JSONResponse({"error": "slow down"}, 429)
            case "500":
                return JSONResponse({"error": "llama runner process has terminated: exit status 2"}, 500)
            case "400":
                return JSONResponse({"error": '"llama3.1" does not support embeddings'}, 400)
            case "501":
                return JSONResponse({"error": "This server does not support embeddings."}, 501)
            case "error under 200":
                return JSONResponse({"error": "an error was encountered while running the model"})
            case "no JSON":
                return Response('{"embeddings": [[0.1, 0.', media_type="application/json")
            case "break in the reply":
                return StreamingResponse(self._begun(request), headers={"content-length": "1000"})
            case "break":
                self._break_off(request)
            case "restart":
                assert self._tasks
                self._tasks.start_soon(self._restart)
            case "hang":
                self.hung.set()
            case _:
                return None
        await _disconnected(request)
        return Response()

    async def _begun(self, request: Request) -> AsyncIterator[str]:
        yield '{"embeddings": [['
        self._break_off(request)
        await _disconnected(request)

    def _break_off(self, request: Request) -> None:
        if connection := self._connection(request):
            connection.abort()

    def _connection(self, request: Request) -> Any:
        """The request's transport, unless it is ending."""
        assert self._server
        assert request.client
        open_ = {
            one.transport.get_extra_info("peername"): one.transport for one in self._server.server_state.connections
        }  # type: ignore[union-attr]
        transport = open_.get(tuple(request.client))
        return transport if transport and not transport.is_closing() else None


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _odd(fault: Fault, vectors: list[list[float]]) -> list[Any]:
    first, rest = vectors[0], vectors[1:]
    match fault:
        case "too few":
            return rest
        case "too many vectors":
            return [*vectors, first]
        case "another size":
            return [vector[1:] for vector in vectors]
        case "ragged":
            return [first[1:], *rest]
        case "NaN":
            return [[None, *first[1:]], *rest]  # Go has no NaN in JSON
        case _:
            return [*rest, [0.0] * len(first)]


def vector_of(text: str) -> list[float]:
    """Like texts have like vectors, and no two the same."""
    vector = np.random.default_rng(zlib.crc32(text.encode())).uniform(0.005, 0.015, DIMENSIONS)
    for word in text.split(": ", 1)[-1].lower().split():
        vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1
    return np.round(vector, 6).tolist()  # a number of 17 digits takes twice as long as JSON


@asynccontextmanager
async def fake_ollama(upstream: str | None = None) -> AsyncGenerator[FakeOllama]:
    fake = FakeOllama(upstream=upstream)
    async with anyio.create_task_group() as tasks:
        fake._tasks = tasks
        await fake.start()
        yield fake
        await fake.stop()
