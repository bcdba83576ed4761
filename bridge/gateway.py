"""The daemon over HTTP: JSON for searches and state, server-sent events for answers, MCP beside them.

    GET  /health                                       {"status": "ok"}
    POST /search         {"query", "limit", "in", "type", "since", "explain"}  {hits, freshness, degraded, explained}
    POST /build-context  {"text", "in", "type", "since", "session"}  data: {chunk, is_final}* then data: [DONE]
    POST /answers        the same                      {"request"}: its answer, to be read or not
    GET  /answers/ID     Last-Event-ID, or ?after=     data: … from there on
    DELETE /answers/ID                                 {"cancelled"}
    POST /ratings        {"trace_id", "up", "comment"}  204: what a person thinks of an answer
    GET  /documents/ID, /documents/ID/file             a document's text and pages; its bytes
    GET  /status, /metrics, /openapi.json, /docs
    *    /mcp                                          MCP, streamable HTTP
    GET  /, /assets/*                                  the web page
    GET  /documents?in=GLOB                            over the Unix socket only, as all that follow
    GET, DELETE /cache, GET /cache/stats               the answers that are kept to be given again
    POST /index          {"folders", "accept_deletions"}
    POST /reindex, /forget  {"path"}                   POST /pause, /resume, /stop[?if=idle]

A call with a `traceparent` (W3C) is part of that trace. Every failure is {"error": {"code", "message"}}. `guard` stands
before all of it.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from bridge import openapi, webpage
from bridge.bodies import AskBody, ForgetBody, IndexBody, RatingBody, ReindexBody, SearchBody
from bridge.documents import file_response
from bridge.door import Door
from bridge.guard import failure, guarded
from bridge.joining import joined
from bridge.metrics import CONTENT_TYPE
from bridge.service import BadInput, NotFound, Overloaded, Place, Service, Unavailable
from bridge.streaming import Events

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
RETRY_AFTER_S = 5
LOCAL_PATHS = ("/documents", "/cache", "/cache/stats", "/index", "/reindex", "/forget", "/pause", "/resume", "/stop")
_PLACE = re.compile(r"(?:([^:]*):)?([0-9]{1,18})-([0-9]{1,18})")


def app(
    service: Service,
    *,
    version: str,
    token: str | None = None,
    door: Door | None = None,
    allowed_hosts: Collection[str] = (),
    cors_origins: Collection[str] = (),
    mcp: ASGIApp | None = None,
    more: Sequence[BaseRoute] = (),
    metrics: Callable[[], Awaitable[bytes]] | None = None,
    heartbeat_s: float = HEARTBEAT_S,
) -> Starlette:
    """The ASGI app for all sockets of one uvicorn: TCP, and Unix sockets that `sockets.bound` made.

    `token`: what TCP callers must show, null where only loopback can reach the port; `door` instead of it: where they
    have others too. `allowed_hosts`: names or name:port that Host may say beyond loopback, where no token is asked for.
    `cors_origins`: whole origins whose pages may call. `mcp`: MCP over HTTP. `more`: routes. `metrics`: the page
    of that name. A comment goes out after `heartbeat_s` of silence in a stream.
    """
    routes = [
        Route("/health", partial(_health, version)),
        Route("/search", partial(_search, service), methods=["POST"]),
        Route("/build-context", partial(_build_context, service, heartbeat_s), methods=["POST"]),
        Route("/answers", partial(_begin, service), methods=["POST"]),
        Route("/answers/{request}", partial(_follow, service, heartbeat_s), methods=["GET"]),
        Route("/answers/{request}", partial(_cancel, service), methods=["DELETE"]),
        Route("/ratings", partial(_rate, service), methods=["POST"]),
        Route("/cache", partial(_cache, service), methods=["GET"]),
        Route("/cache", partial(_clear_cache, service), methods=["DELETE"]),
        Route("/cache/stats", partial(_cache_stats, service)),
        Route("/documents/{document}", partial(_document, service)),
        Route("/documents/{document}/file", partial(_file, service)),
        Route("/status", partial(_status, service)),
        Route("/documents", partial(_documents, service)),
        Route("/index", partial(_index, service), methods=["POST"]),
        Route("/reindex", partial(_reindex, service), methods=["POST"]),
        Route("/forget", partial(_forget, service), methods=["POST"]),
        Route("/pause", partial(_pause, service), methods=["POST"]),
        Route("/resume", partial(_resume, service), methods=["POST"]),
        Route("/stop", partial(_stop, service), methods=["POST"]),
    ]
    routes += [*_described(version), *webpage.routes()]
    if mcp:
        routes.append(Route("/mcp", mcp))
    if metrics:
        routes.append(Route("/metrics", partial(_metrics, metrics)))
    guard = Middleware(
        guarded,
        door=door or Door(token),
        allowed_hosts=allowed_hosts,
        cors_origins=cors_origins,
        local_paths=LOCAL_PATHS,
    )
    errors: Any = {BadInput: _bad_input, Unavailable: _unavailable, HTTPException: _http}
    return Starlette(routes=[*routes, *more], middleware=[guard, Middleware(joined)], exception_handlers=errors)


def _described(version: str) -> list[Route]:
    document, page = msgspec.json.encode(openapi.described(version)), openapi.page(version)

    async def openapi_json(request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def docs(request: Request) -> Response:
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": "default-src 'none'"})

    return [Route("/openapi.json", openapi_json), Route("/docs", docs)]


async def _health(version: str, request: Request) -> Response:
    return _json({"status": "ok"}, {"Tandem-Version": version})


async def _search(service: Service, request: Request) -> Response:
    body = await _body(request, SearchBody)
    return _json(await service.search(body.query, body.limit, body.filters, body.explain))


async def _build_context(service: Service, heartbeat_s: float, request: Request) -> Response:
    body = await _body(request, AskBody)
    answer = await service.begin(body.text, body.filters, body.session)
    return Events(service, answer, (0, 0), heartbeat_s)


async def _begin(service: Service, request: Request) -> Response:
    body = await _body(request, AskBody)
    return _json({"request": await service.begin(body.text, body.filters, body.session)})


async def _follow(service: Service, heartbeat_s: float, request: Request) -> Response:
    said = request.headers.get("last-event-id") or request.query_params.get("after")
    answer = request.path_params["request"]
    return Events(service, answer, _place(said, answer), heartbeat_s)


async def _cancel(service: Service, request: Request) -> Response:
    return _json({"cancelled": await service.cancel(request.path_params["request"])})


async def _rate(service: Service, request: Request) -> Response:
    body = await _body(request, RatingBody)
    await service.rate(body.trace_id, body.up, body.comment)
    return Response(status_code=204)


def _place(said: str | None, answer: str) -> Place:
    if not said:
        return 0, 0
    found = _PLACE.fullmatch(said)
    if not found:
        raise BadInput(f"expected Last-Event-ID as <request>:<epoch>-<seq>, as an event's id was; got {said[:80]!r}")
    if found[1] not in (None, answer):
        raise BadInput(f"Last-Event-ID names another answer: {found[1][:80]!r}")
    return int(found[2]), int(found[3])


async def _cache(service: Service, request: Request) -> Response:
    return _json({"entries": await service.cache_entries()})


async def _clear_cache(service: Service, request: Request) -> Response:
    return _json({"removed": await service.clear_cache()})


async def _cache_stats(service: Service, request: Request) -> Response:
    return _json(await service.cache_stats())


async def _document(service: Service, request: Request) -> Response:
    return _json(await service.document(request.path_params["document"]))


async def _file(service: Service, request: Request) -> Response:
    document = await service.document(request.path_params["document"])
    return await to_thread.run_sync(file_response, document)


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
    if not await service.stop(if_idle=request.query_params.get("if") == "idle"):
        return failure(409, "busy", "somebody is being answered")
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
    if isinstance(error, NotFound):
        return failure(404, "not_found", str(error))
    return failure(400, "bad_input", str(error))


def _unavailable(request: Request, error: Unavailable) -> Response:
    if isinstance(error, Overloaded):
        return failure(429, "overloaded", str(error), {"Retry-After": str(error.retry_after_s)})
    return failure(503, "unavailable", str(error), {"Retry-After": str(RETRY_AFTER_S)})


def _http(request: Request, error: HTTPException) -> Response:
    code = {404: "not_found", 405: "method"}.get(error.status_code, "http")
    message = f"{request.method} {request.url.path}: {error.detail}"
    return failure(error.status_code, code, message, dict(error.headers or {}))
