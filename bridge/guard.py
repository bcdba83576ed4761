"""Who may speak to the gateway, and how much they may say.

On the Unix socket the socket's mode is the guard. Over TCP, in this order:

    421  the Host is neither loopback nor allowed (a rebound name would make any web page same-origin)
    403  the Origin is neither none, nor the Host itself, nor allowed
    404  the path is for the Unix socket only
    401  a token is asked for and not given (never for /health, preflights and the web page's own files): see `door`,
         which has 403, 429 and 503 too
    403  the token is for some folders, and the path tells of all of them
    413  the body is over 1 MiB, whatever the headers said, here as on the Unix socket
"""

import ipaddress
import logging
import re
from collections.abc import Collection
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridge.callers import CALLER, Caller
from bridge.door import Door, TurnedAway

logger = logging.getLogger(__name__)

MAX_BODY = 1 << 20
OPEN = frozenset({"/", "/health"})
OPEN_FOLDERS = ("/assets/", "/.well-known/")
WHOLE = frozenset({"/metrics"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]\s/@]+)(:\d{1,5})?")


class TooLarge(Exception):
    """The body is over MAX_BODY."""


def guarded(
    app: ASGIApp,
    *,
    door: Door,
    allowed_hosts: Collection[str],
    cors_origins: Collection[str],
    local_paths: Collection[str],
) -> ASGIApp:
    hosts = frozenset(host.lower() for host in allowed_hosts)
    origins = frozenset(origin.rstrip("/").lower() for origin in cors_origins)

    def refusal(scope: Scope, headers: Headers, origin: str | None) -> Response | None:
        host = headers.getlist("host")
        # Where a token is asked for the Host guards nothing more, and the names of a server are not known here.
        if len(host) != 1 or not _is_allowed(host[0].lower(), hosts, any_name=door.is_closed):
            came = ", ".join(host) or "none"
            words = f"expected a Host that is this machine, got {came}: by another name come callers with a token only"
            return failure(421, "host", f"{words} (`tandem token add NAME`)")
        if origin and origin not in origins and not _is_same(origin, host[0].lower()):
            return failure(403, "origin", f"expected no Origin, this server's own or an allowed one, got {origin}")
        if scope["path"].rstrip("/") in local_paths:
            return failure(404, "not_found", "no such path here")
        if origin in origins and _is_preflight(scope, headers):
            return Response(status_code=204, headers=_preflight(headers))
        return None

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = Headers(scope=scope)
        response, caller = None, None
        if not is_local(scope):
            origin = headers.get("origin", "").lower() or None
            if origin in origins:
                send = _with_cors(send, headers["origin"])
            response = refusal(scope, headers, origin)
            if not response and door.is_closed and not _is_open(scope["path"]):
                try:
                    caller = await door.caller(headers)
                except TurnedAway as error:
                    response = failure(error.status, error.code, str(error), error.headers)
        if not response and caller and caller.reach is not None and scope["path"].rstrip("/") in WHOLE:
            response = failure(403, "scope", "this tells of all folders: it needs a token that is for all of them")
        if not response and _declared(headers) > MAX_BODY:
            response = _too_large()
        if response:
            return await response(scope, receive, send)
        known = CALLER.set(caller)
        try:
            return await _while_let_in(app, door, caller, scope, receive, send)
        finally:
            CALLER.reset(known)

    return asgi


def is_local(scope: Scope) -> bool:
    """Whether the request came over a Unix socket: uvicorn then has a path and no port for its own address."""
    server = scope.get("server")
    return server is not None and server[1] is None


def failure(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode({"error": {"code": code, "message": message}})
    return Response(body, status_code=status, media_type="application/json", headers=headers)


async def _while_let_in(
    app: ASGIApp, door: Door, caller: Caller | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """`app`, until the caller's token is revoked or expires: nothing is sent any more then, and a stream ends."""
    if caller is None:
        return await _answered(app, scope, receive, send)
    started = revoked = False

    async def watched(message: Message) -> None:
        nonlocal started, revoked
        if not revoked and door.stands(caller):
            started = True
            return await send(message)
        revoked = True
        under_way.cancel()
        return await anyio.lowlevel.checkpoint()

    with anyio.CancelScope() as under_way:
        await _answered(app, scope, receive, watched)
    if not revoked:
        return None
    if started:
        return await send({"type": "http.response.body", "body": b"", "more_body": False})
    gone = failure(401, "token", "this token was revoked, or has expired", {"WWW-Authenticate": door.challenge})
    return await gone(scope, receive, send)


async def _answered(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """`app`, with its body limited and its last errors answered: Starlette's own way would log them twice."""
    started = False
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY:
            raise TooLarge
        return message

    async def noted(message: Message) -> None:
        nonlocal started
        started = True
        await send(message)

    response = None
    try:
        await app(scope, counted, noted)
    except ClientDisconnect:
        return
    except TooLarge:
        response = _too_large()
    except Exception:
        logger.exception("%s %s failed", scope["method"], scope["path"])
        response = failure(500, "internal", "Tandem failed on this request; its log says how")
    if response and not started:
        await response(scope, receive, send)


def _too_large() -> Response:
    # No Connection: close, or the client's unread bytes would reset the connection before it reads this.
    return failure(413, "too_large", f"expected a body of at most {MAX_BODY} bytes")


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _is_allowed(host: str, allowed: Collection[str], *, any_name: bool) -> bool:
    parts = _HOST.fullmatch(host)
    if not parts:
        return False
    name = parts[1]
    return any_name or "*" in allowed or name == "localhost" or host in allowed or name in allowed or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_same(origin: str, host: str) -> bool:
    return origin in (f"http://{host}", f"https://{host}")


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _preflight(headers: Headers) -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
        "Access-Control-Max-Age": "600",
    }


def _with_cors(send: Send, origin: str) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "mcp-session-id, retry-after, tandem-answer, www-authenticate"
            headers.add_vary_header("Origin")
        await send(message)

    return with_headers
