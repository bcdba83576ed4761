"""The service as another process has it: over the daemon's HTTP on its Unix socket."""

import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from bridge import sse
from bridge.service import (
    Answer,
    BadInput,
    CacheEntry,
    CacheStats,
    Document,
    DocumentRow,
    NotFound,
    Numbered,
    Overloaded,
    Part,
    Piece,
    Place,
    Status,
    Unavailable,
)
from indexer.filters import EVERYTHING, Filters
from indexer.hits import Found, Summary

CONNECT_S = 5.0
# Of a search or a status. A stream is never silent for longer than the gateway's heartbeat of 15 s.
READ_S = 90.0
# An index run says nothing until it is done.
INDEX = httpx.Timeout(CONNECT_S, read=None)

Data = TypeVar("Data")


class _Documents(msgspec.Struct):
    documents: list[DocumentRow]


class _Entries(msgspec.Struct):
    entries: list[CacheEntry]


class _Event(msgspec.Struct):
    chunk: str = ""
    is_final: bool = False
    engine: str | None = None
    error: str | None = None


@asynccontextmanager
async def remote(socket_path: str) -> AsyncGenerator["Remote"]:
    """A `Service` that the daemon at `socket_path` carries out."""
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=socket_path),
        base_url="http://tandem",
        timeout=httpx.Timeout(CONNECT_S, read=READ_S),
        event_hooks={"request": [_join]},
    ) as client:
        yield Remote(client, socket_path)


async def _join(request: httpx.Request) -> None:
    """The caller's trace; who has not loaded OpenTelemetry has none."""
    if "opentelemetry.trace" in sys.modules:
        from bridge.joining import sent

        request.headers.update(sent())


class Remote:
    """Opened by `remote`. What the daemon refuses is raised here as it was there."""

    def __init__(self, client: httpx.AsyncClient, socket_path: str) -> None:
        self._client = client
        self._socket_path = socket_path

    async def search(self, query: str, limit: int = 10, filters: Filters = EVERYTHING, explain: bool = False) -> Found:
        body = {"query": query, "limit": limit, "explain": explain, **_filtered(filters)}
        return await self._call("POST", "/search", Found, body)

    async def begin(self, question: str, filters: Filters = EVERYTHING, session: str | None = None) -> str:
        body = {"text": question, "session": session, **_filtered(filters)}
        return (await self._call("POST", "/answers", dict[str, str], body))["request"]

    @asynccontextmanager
    async def follow(
        self, request: str, after: Place = (0, 0), grace_s: float | None = None
    ) -> AsyncGenerator["_Reader"]:
        """The daemon's own grace holds, whatever `grace_s` says."""
        params = {"after": f"{after[0]}-{after[1]}"} if after != (0, 0) else None
        with self._translated():
            async with self._client.stream("GET", f"/answers/{quote(request, '')}", params=params) as response:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                async with aclosing(_events(response)) as events:
                    yield _Reader(events)

    async def cancel(self, request: str) -> bool:
        return (await self._call("DELETE", f"/answers/{quote(request, '')}", dict[str, bool]))["cancelled"]

    async def rate(self, trace_id: str, up: bool, comment: str | None = None) -> None:
        await self._sent("POST", "/ratings", {"trace_id": trace_id, "up": up, "comment": comment})

    async def cache_entries(self) -> Sequence[CacheEntry]:
        return (await self._call("GET", "/cache", _Entries)).entries

    async def clear_cache(self) -> int:
        return (await self._call("DELETE", "/cache", dict[str, int]))["removed"]

    async def cache_stats(self) -> CacheStats:
        return await self._call("GET", "/cache/stats", CacheStats)

    async def document(self, document: str) -> Document:
        return await self._call("GET", f"/documents/{quote(document, '')}", Document)

    async def status(self) -> Status:
        return await self._call("GET", "/status", Status)

    async def documents(self, within: str | None = None) -> Sequence[DocumentRow]:
        params = {"in": within} if within is not None else None
        return (await self._call("GET", "/documents", _Documents, params=params)).documents

    async def index(self, folders: Sequence[str], accept_deletions: bool = False) -> Summary:
        body = {"folders": list(folders), "accept_deletions": accept_deletions}
        return await self._call("POST", "/index", Summary, body, timeout=INDEX)

    async def reindex(self, path: str | None = None) -> Summary:
        return await self._call("POST", "/reindex", Summary, {"path": path}, timeout=INDEX)

    async def forget(self, path: str) -> int:
        return (await self._call("POST", "/forget", dict[str, int], {"path": path}))["documents"]

    async def pause(self) -> None:
        await self._call("POST", "/pause", dict[str, Any])

    async def resume(self) -> None:
        await self._call("POST", "/resume", dict[str, Any])

    async def stop(self, if_idle: bool = False) -> bool:
        """Raises Unavailable where it was to be idle, and is not."""
        return (await self._call("POST", "/stop?if=idle" if if_idle else "/stop", dict[str, bool]))["stopping"]

    async def _call(
        self, method: str, path: str, kind: type[Data], body: dict[str, Any] | None = None, **options: Any
    ) -> Data:
        return msgspec.json.decode(await self._sent(method, path, body, **options), type=kind)

    async def _sent(self, method: str, path: str, body: dict[str, Any] | None = None, **options: Any) -> bytes:
        try:
            content = msgspec.json.encode(body) if body is not None else None
        except UnicodeEncodeError as error:  # as a shell's bytes that are no UTF-8 come
            raise BadInput("expected Unicode text in UTF-8; it holds half a surrogate pair") from error
        with self._translated():
            response = await self._client.request(method, path, content=content, **options)
        if response.is_error:
            raise _refusal(response)
        return response.content

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unavailable(f"no daemon answers at {self._socket_path}: start one with `tandem up`") from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"the daemon at {self._socket_path} hangs: see its log") from error
        except httpx.TransportError as error:
            raise Unavailable("the daemon went away in the middle of this: ask again, and see its log") from error


class _Reader:
    """Of a stream that is read by one, who never stops in the middle to come back."""

    def __init__(self, events: AsyncGenerator[Sequence[Numbered]]) -> None:
        self._events = events

    async def read(self) -> Sequence[Numbered]:
        async for some in self._events:
            return some
        return ()


async def _events(response: httpx.Response) -> AsyncGenerator[Sequence[Numbered]]:
    decoder = sse.Decoder()
    async for received in response.aiter_bytes():
        some = [_numbered(event) for event in decoder.feed(received) if event.data != sse.END]
        if some:
            yield some
        if some and isinstance(some[-1].part, Answer):
            return
    raise Unavailable("the daemon went away in the middle of this answer: ask again, and see its log")


def _numbered(event: sse.Event) -> Numbered:
    epoch, _, seq = (event.event_id or "").rpartition(":")[2].partition("-")
    place = (int(epoch), int(seq)) if epoch.isdecimal() and seq.isdecimal() else (0, 0)
    return Numbered(place, _part(event.data.encode()))


def _filtered(filters: Filters) -> dict[str, Any]:
    return {"in": filters.within, "type": filters.types, "since": filters.since}


def _part(data: bytes) -> Part:
    event = msgspec.json.decode(data, type=_Event)
    if not event.is_final:
        return Piece(event.chunk)
    if event.engine is None:
        raise Unavailable(event.error or "the daemon ended this answer without a reason: see its log")
    return msgspec.json.decode(data, type=Answer)


def _refusal(response: httpx.Response) -> BadInput | Unavailable:
    try:
        message: str = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"the daemon answered {response.status_code}"
    if response.status_code == 404:
        return NotFound(message)
    if response.status_code == 429:
        return Overloaded(message, int(response.headers.get("Retry-After", 1)))
    return BadInput(message) if response.status_code in (400, 413) else Unavailable(message)
