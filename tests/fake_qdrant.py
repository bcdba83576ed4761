"""A Qdrant server that knows collections and aliases, but no points, over real HTTP. `made`: what each collection was
asked for; `changes`: how often it was told to make or point something."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_CONFIG: dict[str, Any] = {
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
    "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0}
    | {"flush_interval_sec": 5},
}


@dataclass(slots=True)
class FakeQdrant:
    key: str | None = None
    url: str = ""
    made: dict[str, Any] = field(default_factory=dict[str, Any])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    changes: int = 0

    def routes(self) -> list[Route]:
        def route(path: str, method: str, answer: Callable[[str, Any], Any]) -> Route:
            async def answered(request: Request) -> Response:
                if self.key and request.headers.get("api-key") != self.key:
                    return Response("Must provide an API key or an Authorization bearer token", 401)
                body = await request.json() if await request.body() else None
                result = answer(request.path_params.get("name", ""), body)
                return JSONResponse({"result": result, "status": "ok", "time": 0.0})

            return Route(path, answered, methods=[method])

        return [
            route("/collections/aliases", "POST", lambda _, body: self._point(body["actions"])),
            route("/collections/{name}/exists", "GET", lambda name, _: {"exists": name in self.made}),
            route("/collections/{name}/index", "PUT", lambda _name, _: {"operation_id": 1, "status": "completed"}),
            route("/collections/{name}/points/count", "POST", lambda _name, _: {"count": 0}),
            route("/collections/{name}", "PUT", self._make),
            route("/collections/{name}", "GET", lambda name, _: self._told(name)),
            route("/aliases", "GET", lambda _name, _: {"aliases": self._pointed()}),
        ]

    def _make(self, name: str, asked: Any) -> bool:
        self.changes += 1
        self.made[name] = asked
        return True

    def _point(self, actions: list[Any]) -> bool:
        for action in actions:
            self.changes += 1
            made = action["create_alias"]
            self.aliases[made["alias_name"]] = made["collection_name"]
        return True

    def _pointed(self) -> list[dict[str, str]]:
        return [{"alias_name": alias, "collection_name": name} for alias, name in self.aliases.items()]

    def _told(self, name: str) -> dict[str, Any]:
        asked = self.made[name]
        params = {"vectors": asked["vectors"], "sparse_vectors": asked["sparse_vectors"]}
        told: dict[str, Any] = {"status": "green", "optimizer_status": "ok", "segments_count": 1, "payload_schema": {}}
        return {**told, "config": {"params": params, **_CONFIG}}


@asynccontextmanager
async def fake_qdrant(key: str | None = None) -> AsyncGenerator[FakeQdrant]:
    fake = FakeQdrant(key)
    app = Starlette(routes=fake.routes())
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve)
        with anyio.fail_after(30):
            while not running.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await anyio.sleep(0.01)
        fake.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
        yield fake
        running.should_exit = running.force_exit = True
