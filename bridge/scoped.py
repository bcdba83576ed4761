"""The service as each caller may use it: with a token of their own they see what lies within its reach, and the
answers that they asked for themselves.

It stands in front of every face, and `callers.CALLER` says who asks. What it does not know it does not pass on, so a
call that the service learns is the owner's alone until somebody says here what others see of it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from math import inf
from urllib.parse import quote

import anyio

from bridge.callers import CALLER, Caller
from bridge.checks import SESSION_CHARS
from bridge.rates import Rates
from bridge.service import (
    READ_TOKENS,
    Answer,
    BadInput,
    CacheEntry,
    CacheStats,
    Changed,
    Document,
    DocumentRow,
    Excerpt,
    Library,
    NotFound,
    Numbered,
    Overloaded,
    Place,
    Readable,
    Reader,
    Status,
)
from bridge.uris import read_uri
from indexer.filters import EVERYTHING, Filters, Reach, seen_by
from indexer.hits import Found, Summary

_MOST_TRACES = 10_000
_BATCH = 1_000
_COUNTED_S = 5.0  # so long a count of somebody's documents holds
_MARK_CHARS = 16  # by which an answer's id tells whose it is


class Scoped:
    """`key`: by what marks are made, so that nobody makes one for another's answer."""

    def __init__(self, service: Library, key: Callable[[], bytes], rates: Rates | None = None) -> None:
        self._service, self._key, self._rates = service, key, rates or Rates()
        self._traces: OrderedDict[str, str] = OrderedDict()
        self._told: dict[Reach, tuple[float, Status, Status]] = {}

    async def search(self, query: str, limit: int = 10, filters: Filters = EVERYTHING, explain: bool = False) -> Found:
        return await self._service.search(query, limit, _within_reach(filters), explain)

    async def begin(self, question: str, filters: Filters = EVERYTHING, session: str | None = None) -> str:
        caller = CALLER.get()
        if caller is None:
            return await self._service.begin(question, filters, session)
        if (wait_s := self._rates.take(caller.id, caller.asks)) is not None:
            raise Overloaded(f"{caller.name} may ask {caller.asks} questions a minute: ask again in {wait_s} s", wait_s)
        own_session = _session_of(caller, session) if session else session
        return self._marked(caller, await self._service.begin(question, _within_reach(filters), own_session))

    @asynccontextmanager
    async def follow(self, request: str, after: Place = (0, 0), grace_s: float | None = None) -> AsyncGenerator[Reader]:
        caller = CALLER.get()
        async with self._service.follow(self._unmarked(request), after, grace_s) as reader:
            yield _Reader(reader, request, self._noted, caller) if caller else reader

    async def cancel(self, request: str) -> bool:
        return await self._service.cancel(self._unmarked(request))

    async def rate(self, trace_id: str, up: bool, comment: str | None = None) -> None:
        caller = CALLER.get()
        if caller and self._traces.get(trace_id.lower()) != caller.id:
            raise NotFound(f"no answer that you were given lately has the trace {trace_id[:64]!r}: ask again")
        await self._service.rate(trace_id, up, comment)

    async def document(self, document: str) -> Document:
        found = await self._service.document(document)
        if not _sees(found.path):
            raise NotFound(f"no document {document[:64]!r} is in the index: search again")
        return found

    async def read(
        self, uri: str, around: str | None = None, max_tokens: int = READ_TOKENS, whole: bool = False
    ) -> Excerpt:
        """Of what the caller may not see nothing is told, not even whether it is there."""
        if (seen := _seen(uri)) is not None:
            found = await self._service.read(seen, around, max_tokens, whole)
            if _sees(found.path):
                return found
        raise NotFound(f"no document of the index is {uri[:200]!a}: call `search`, and read what a passage names")

    async def readable(
        self, after: str = "", limit: int = 100, prefix: str = "", containing: str = ""
    ) -> Sequence[Readable]:
        reach = _reach()
        if reach is None:
            return await self._service.readable(after, limit, prefix, containing)
        may_see, found = seen_by(reach), list[Readable]()
        while len(found) < limit:
            some = await self._service.readable(after, _BATCH, prefix, containing)
            found += [one for one in some if may_see(one.path)]
            if len(some) < _BATCH:
                break
            after = some[-1].path
        return found[:limit]

    def hearing(self, hear: Callable[[Changed], None]) -> AbstractContextManager[None]:
        reach = _reach()
        if reach is None:
            return self._service.hearing(hear)
        may_see = seen_by(reach)

        def hear_part(changed: Changed) -> None:
            if paths := frozenset(filter(may_see, changed.paths)):
                hear(Changed(paths, paths & changed.listing))

        return self._service.hearing(hear_part)

    async def status(self) -> Status:
        status, reach = await self._service.status(), _reach()
        if reach is None:
            return status
        now = anyio.current_time()
        at, before, told = self._told.get(reach, (-inf, None, None))
        # To count anew costs as much as to list all documents, and pages ask for it all the time.
        if told is None or (before != status and now - at >= _COUNTED_S):
            told = _part(status, await self.documents(), reach)
            self._told[reach] = now, status, told
        return told

    async def documents(self, within: str | None = None) -> Sequence[DocumentRow]:
        rows, reach = await self._service.documents(within), _reach()
        if reach is None:
            return rows
        may_see = seen_by(reach)
        return [row for row in rows if may_see(row.path)]

    # --- the owner's alone

    async def cache_entries(self) -> Sequence[CacheEntry]:
        return await self._owners().cache_entries()

    async def clear_cache(self) -> int:
        return await self._owners().clear_cache()

    async def cache_stats(self) -> CacheStats:
        return await self._owners().cache_stats()

    async def index(self, folders: Sequence[str], accept_deletions: bool = False) -> Summary:
        return await self._owners().index(folders, accept_deletions)

    async def reindex(self, path: str | None = None) -> Summary:
        return await self._owners().reindex(path)

    async def forget(self, path: str) -> int:
        return await self._owners().forget(path)

    async def pause(self) -> None:
        await self._owners().pause()

    async def resume(self) -> None:
        await self._owners().resume()

    async def stop(self, if_idle: bool = False) -> bool:
        return await self._owners().stop(if_idle)

    def _owners(self) -> Library:
        if CALLER.get() is not None:
            raise BadInput("this is for the index's owner, on the daemon's own machine")
        return self._service

    def _marked(self, caller: Caller, request: str) -> str:
        told = hashlib.blake2b(f"{caller.id} {request}".encode(), key=self._key(), digest_size=_MARK_CHARS // 2)
        return request + told.hexdigest()

    def _unmarked(self, request: str) -> str:
        """The service's own id of an answer. Raises NotFound where the caller did not ask for it."""
        caller = CALLER.get()
        if caller is None:
            return request
        bare = request[:-_MARK_CHARS]
        if not request.isascii() or self._marked(caller, bare) != request:
            raise NotFound(f"no answer {request[:64]!r} is under way or kept: ask again")
        return bare

    def _noted(self, caller: Caller, trace_id: str) -> None:
        """Whose answer has this trace."""
        self._traces[trace_id] = caller.id
        while len(self._traces) > _MOST_TRACES:
            self._traces.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Names the answer as its caller knows it."""

    reader: Reader
    request: str
    noted: Callable[[Caller, str], None]
    caller: Caller

    async def read(self) -> Sequence[Numbered]:
        return [self._named(one) for one in await self.reader.read()]

    def _named(self, one: Numbered) -> Numbered:
        if not isinstance(one.part, Answer):
            return one
        if one.part.trace_id:
            self.noted(self.caller, one.part.trace_id)
        return replace(one, part=replace(one.part, request=self.request))


def _reach() -> Reach | None:
    caller = CALLER.get()
    return caller.reach if caller else None


def _within_reach(filters: Filters) -> Filters:
    return filters if (reach := _reach()) is None else replace(filters, reach=reach)


def _sees(path: str) -> bool:
    return (reach := _reach()) is None or seen_by(reach)(path)


def _seen(uri: str) -> str | None:
    """What of the paths that this may name, `#` in a file's name included, the caller may see; null where none is."""
    if not uri.startswith("/"):
        return uri if _sees(read_uri(uri)[0]) else None
    path, mark, place = uri.rpartition("#")
    if _sees(uri):
        return uri if not mark or _sees(path) else f"file://{_escaped(uri)}"
    return f"file://{_escaped(path)}#{_escaped(place)}" if mark and _sees(path) else None


def _escaped(text: str) -> str:
    return quote(text, errors="surrogatepass")


def _session_of(caller: Caller, session: str) -> str:
    """Two callers' conversations are two, whatever they call them."""
    if not session.isprintable() or len(session) > SESSION_CHARS:
        return f"{caller.id}:{session}"  # it is refused like this too
    own = hashlib.blake2b(f"{caller.id} {session}".encode(), digest_size=8).hexdigest()
    return f"{caller.name}:{own}"


def _part(status: Status, rows: Sequence[DocumentRow], reach: Reach) -> Status:
    """What of a state concerns these documents. Warnings name any file, so they are the owner's."""
    may_see = seen_by(reach)
    indexed = [row for row in rows if row.sha256 and row.state != "failed"]
    return replace(
        status,
        documents=len(indexed),
        chunks=sum(row.chunks for row in rows),
        pending=sum(row.state == "pending" for row in rows),
        failed=tuple(one for one in status.failed if may_see(one.path)),
        left_out=tuple(one for one in status.left_out if may_see(one.path)),
        forgotten=tuple(path for path in status.forgotten if may_see(path)),
        roots=(*reach.folders, *reach.globs),
        warnings=(),
        progress=None,
        growing=None,
        traces_url=None,
    )
