"""A rerank endpoint over real HTTP, in each of the dialects that are spoken: a text's score is how many of the query's
words it has."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Dialect = Literal["jina", "tei", "score"]


@dataclass(slots=True)
class FakeReranker:
    """`answer` stands for every answer where it is set, `status` for its status; `silent`: until the client goes."""

    dialect: Dialect = "jina"
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    paths: list[str] = field(default_factory=list[str])
    keys: list[str | None] = field(default_factory=list[str | None])
    status: int = 200
    answer: Any = None
    silent: bool = False
    url: str = ""

    async def serve(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.paths.append(request.url.path)
        self.keys.append(request.headers.get("authorization"))
        if self.silent:
            while (await request.receive())["type"] != "http.disconnect":
                pass
        if self.status != 200 or self.answer is not None:
            return JSONResponse(self.answer or {"error": "the words of the server"}, self.status)
        query, texts = ("text_1", "text_2") if self.dialect == "score" else ("query", "documents")
        if self.dialect == "tei":
            texts = "texts"
        if texts not in body:
            return JSONResponse({"error": f"missing field `{texts}`"}, 422)
        words = body[query].lower().split()
        scores = [(n, sum(word in text.lower() for word in words)) for n, text in enumerate(body[texts])]
        return JSONResponse(self._told(sorted(scores, key=lambda one: -one[1])))

    def _told(self, scores: list[tuple[int, int]]) -> Any:
        match self.dialect:
            case "jina":
                return {"model": "m", "results": [{"index": n, "relevance_score": score / 9} for n, score in scores]}
            case "tei":
                return [{"index": n, "score": score / 9} for n, score in scores]
            case "score":
                return {"object": "list", "data": [{"index": n, "object": "score", "score": s / 9} for n, s in scores]}


@asynccontextmanager
async def fake_reranker(dialect: Dialect = "jina") -> AsyncGenerator[FakeReranker]:
    fake = FakeReranker(dialect)
    app = Starlette(routes=[Route("/{path:path}", fake.serve, methods=["POST"])])
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve)
        with anyio.fail_after(30):
            while not running.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await anyio.sleep(0.01)
        fake.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
        yield fake
        running.should_exit = running.force_exit = True
