"""The daemon over HTTP: JSON for searches and state, server-sent events for answers, MCP beside them.

    GET  /health                                       {"status": "ok"}
    POST /search         {"query", "limit", "in"}      {hits, freshness, degraded}
    POST /build-context  {"text", "in", "session"}     data: {chunk, is_final}* then data: [DONE]
    GET  /status, /metrics
    *    /mcp                                          MCP, streamable HTTP
    GET  /documents?in=GLOB                            over the Unix socket only, as all that follow
    POST /index          {"folders", "accept_deletions"}
    POST /reindex, /forget  {"path"}                   POST /pause, /resume, /stop

Every failure is {"error": {"code", "message"}}. `guard` stands before all of it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bridge import sse
from bridge.guard import failure, guarded
from bridge.metrics import CONTENT_TYPE
from bridge.service import Answer, BadInput, Overloaded, Part, Service, Unavailable

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
RETRY_AFTER_S = 5
LOCAL_PATHS = ("/documents", "/index", "/reindex", "/forget", "/pause", "/resume", "/stop")
INTERNAL = "Tandem failed in the middle of this answer; its log says how"


class SearchBody(msgspec.Struct, frozen=True):
    query: str
    limit: int = 10
    within: str | None = msgspec.field(name="in", default=None)


class AskBody(msgspec.Struct, frozen=True):
    text: str
    within: str | None = msgspec.field(name="in", default=None)
    session: str | None = None


class IndexBody(msgspec.Struct, frozen=True):
    folders: list[str]
    accept_deletions: bool = False


class ReindexBody(msgspec.Struct, frozen=True):
    path: str | None = None


class ForgetBody(msgspec.Struct, frozen=True):
    path: str


def app(
    service: Service,
    *,
    version: str,
    token: str | None = None,
    allowed_hosts: Collection[str] = (),
    cors_origins: Collection[str] = (),
    mcp: ASGIApp | None = None,
    metrics: Callable[[], Awaitable[bytes]] | None = None,
    heartbeat_s: float = HEARTBEAT_S,
) -> Starlette:
    """The ASGI app for all sockets of one uvicorn: TCP, and Unix sockets that `sockets.bound` made.

    `token`: what TCP callers must show, null where only loopback can reach the port. `allowed_hosts`: names or
    name:port that Host may say beyond loopback; "*" is any, for where the token keeps rebound names out.
    `cors_origins`: whole origins whose pages may call. `mcp`: MCP over HTTP. `metrics`: the page
    of that name. A comment goes out after `heartbeat_s` of silence in a stream.
    """
    routes = [
        Route("/health", partial(_health, version)),
        Route("/search", partial(_search, service), methods=["POST"]),
        Route("/build-context", partial(_build_context, service, heartbeat_s), methods=["POST"]),
        Route("/status", partial(_status, service)),
        Route("/documents", partial(_documents, service)),
        Route("/index", partial(_index, service), methods=["POST"]),
        Route("/reindex", partial(_reindex, service), methods=["POST"]),
        Route("/forget", partial(_forget, service), methods=["POST"]),
        Route("/pause", partial(_pause, service), methods=["POST"]),
        Route("/resume", partial(_resume, service), methods=["POST"]),
        Route("/stop", partial(_stop, service), methods=["POST"]),
    ]
    if mcp:
        routes.append(Route("/mcp", mcp))
    if metrics:
        routes.append(Route("/metrics", partial(_metrics, metrics)))
    guard = Middleware(
        guarded, token=token, allowed_hosts=allowed_hosts, cors_origins=cors_origins, local_paths=LOCAL_PATHS
    )
    errors: Any = {BadInput: _bad_input, Unavailable: _unavailable, HTTPException: _http}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=errors)


async def _health(version: str, request: Request) -> Response:
    return _json({"status": "ok"}, {"Tandem-Version": version})


async def _search(service: Service, request: Request) -> Response:
    body = await _body(request, SearchBody)
    return _json(await service.search(body.query, body.limit, body.within))


async def _build_context(service: Service, heartbeat_s: float, request: Request) -> Response:
    body = await _body(request, AskBody)
    return _Events(service.ask(body.text, body.within, body.session), heartbeat_s)


async def _status(service: Service, request: Request) -> Response:
    return _json(await service.status())


async def _metrics(metrics: Callable[[], Awaitable[bytes]], request: Request) -> Response:
    return Response(await metrics(), headers={"Content-Type": CONTENT_TYPE})


async def _documents(service: Service, request: Request) -> Response:
    return _json({"documents": await service.documents(request.query_params.get("in"))})


async def _index(service: Service, request: Request) -> Response:
    body = await _body(request, IndexBody)
    return _json(await service.index(body.folders, body.accept_deletions))


async def _reindex(service: Service, request: Request) -> Response:
    return _json(await service.reindex((await _body(request, ReindexBody)).path))


async def _forget(service: Service, request: Request) -> Response:
    return _json({"documents": await service.forget((await _body(request, ForgetBody)).path)})


async def _pause(service: Service, request: Request) -> Response:
    await service.pause()
    return _json({"paused": True})


async def _resume(service: Service, request: Request) -> Response:
    await service.resume()
    return _json({"paused": False})


async def _stop(service: Service, request: Request) -> Response:
    await service.stop()
    return _json({"stopping": True})


Body = TypeVar("Body", bound=msgspec.Struct)


async def _body(request: Request, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"the body does not fit: {error}") from error
    except ValueError as error:
        raise BadInput(f"expected a body of JSON in UTF-8: {error}") from error


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)


def _bad_input(request: Request, error: BadInput) -> Response:
    return failure(400, "bad_input", str(error))


def _unavailable(request: Request, error: Unavailable) -> Response:
    if isinstance(error, Overloaded):
        return failure(429, "overloaded", str(error), {"Retry-After": str(error.retry_after_s)})
    return failure(503, "unavailable", str(error), {"Retry-After": str(RETRY_AFTER_S)})


def _http(request: Request, error: HTTPException) -> Response:
    code = {404: "not_found", 405: "method"}.get(error.status_code, "http")
    message = f"{request.method} {request.url.path}: {error.detail}"
    return failure(error.status_code, code, message, dict(error.headers or {}))


Heard = Part | Exception


class _Events(Response):
    """An answer as server-sent events. A client that goes away gives it up.

    The status waits for the first part or the first heartbeat: what is refused before is refused in HTTP.
    """

    def __init__(self, asked: AbstractAsyncContextManager[AsyncIterator[Part]], heartbeat_s: float) -> None:
        # no-transform, no buffering: a proxy that gathers events would hold tokens back.
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(media_type=sse.MEDIA_TYPE, headers=headers)
        del self.headers["content-length"]
        self._asked = asked
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said, heard = anyio.create_memory_object_stream[Heard](0)
        refused: Exception | None = None
        async with said, heard, anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, self._asked, said)
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            first = await self._next(heard)
            if isinstance(first, Exception):
                refused = first  # Raised out here a task group would wrap it.
            else:
                await self._stream(first, heard, send)
            tasks.cancel_scope.cancel()
        if refused:
            raise refused

    async def _stream(self, first: Part | None, heard: MemoryObjectReceiveStream[Heard], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        request, seq, part = uuid4().hex, 0, first
        while True:
            if part is None:
                frame = sse.HEARTBEAT
            else:
                seq += 1
                frame = sse.event(_payload(part), f"{request}:0-{seq}")
            await send({"type": "http.response.body", "body": frame, "more_body": True})
            if isinstance(part, Answer | Exception):
                break
            part = await self._next(heard)
        await send({"type": "http.response.body", "body": sse.DONE, "more_body": False})

    async def _next(self, heard: MemoryObjectReceiveStream[Heard]) -> Any:
        """What comes next, or null after a silence."""
        with anyio.move_on_after(self._heartbeat_s):
            return await heard.receive()
        return None


async def _listen(asked: AbstractAsyncContextManager[AsyncIterator[Part]], said: MemoryObjectSendStream[Heard]) -> None:
    try:
        async with asked as parts:
            async for part in parts:
                await said.send(part)
                if isinstance(part, Answer):
                    return
        raise RuntimeError("the answer stopped without its end")
    except Exception as error:  # noqa: BLE001 (it goes to the client, and from there to the log)
        await said.send(error)


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _payload(part: Heard) -> bytes:
    match part:
        case Answer():
            fields = {name: getattr(part, name) for name in Answer.__slots__ if name != "error" or part.error}
            return msgspec.json.encode({"chunk": "", "is_final": True, **fields})
        case BadInput() | Unavailable():
            return msgspec.json.encode({"chunk": "", "is_final": True, "error": str(part)})
        case Exception():
            logger.error("an answer failed in the middle", exc_info=part)
            return msgspec.json.encode({"chunk": "", "is_final": True, "error": INTERNAL})
        case _:
            return msgspec.json.encode(part)
