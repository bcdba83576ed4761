"""What every face (shell, HTTP, MCP) asks of Tandem.

`tandem.Tandem` is it in process; `client.Remote` is it over the daemon's socket. The faces know this page only.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio

from indexer.filters import EVERYTHING, Filters
from indexer.hits import Found, Freshness, Summary

MAX_QUERY_CHARS = 10_000
MAX_LIMIT = 100
MAX_COMMENT_CHARS = 1_000
READ_TOKENS = 4_000
_CANCEL_S = 2.0


class BadInput(Exception):
    """The caller's words are at fault; the message says what was expected, what came and what to do."""


class NotFound(BadInput):
    """Nothing is known by this id (any more)."""


class Unavailable(Exception):
    """A part that this call needs is away; the message says which and what to do."""


class Overloaded(Unavailable):
    """There is more to answer than the workers can; the message says how much."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer's text."""

    chunk: str
    is_final: Literal[False] = False


@dataclass(frozen=True, slots=True)
class Citation:
    """Where marker [n] of the answer points. `quote` is verbatim from the passage; `support`: 0..1, how far the passage
    bears out the sentence that cites it."""

    n: int
    path: str
    uri: str
    quote: str
    heading: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    page: int | None = None
    document: str = ""
    passage: str = ""
    support: float | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since the question came; null for what did not happen here."""

    search_ms: int | None = None
    first_ms: int | None = None
    total_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answer: `Piece* Answer`.

    `grounded`: true where every sentence is supported by the passages it cites, false where one is not or cites
    nothing, null where nothing is claimed. `error`: why the text stops short, else null. `question`: what a follow-up
    was understood as, null where that is what was typed.
    """

    answer: str
    citations: tuple[Citation, ...]
    freshness: Freshness
    engine: str
    cache_hit: bool = False
    grounded: bool | None = None
    trace_id: str | None = None
    degraded: tuple[str, ...] = ()
    error: str | None = None
    request: str = ""
    question: str | None = None
    timings: Timings | None = None


Part = Piece | Answer
Place = tuple[int, int]
"""(epoch, seq): seq counts an answer's parts, the epoch says of which run. (0, 0) is before the first."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A part, and the place up to which who has it has read."""

    place: Place
    part: Part


class Reader(Protocol):
    async def read(self) -> Sequence[Numbered]:
        """What is there; waits for the first. Empty after the end. What refuses the question is raised by the first
        call. May be cancelled and called again."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    page: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """What the index has of a file. `text`: with its line breaks where they were, for formats that have lines.
    `pages`: of formats that have pages."""

    document: str
    path: str
    uri: str
    sha256: str
    modified: str
    media_type: str
    text: str
    pages: tuple[Page, ...] | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A stretch of a document's text, form feeds between its pages. `uri`: this stretch's own. `next`: the URI from
    which on it goes on, null at the document's end."""

    path: str
    uri: str
    text: str
    start_line: int | None
    end_line: int | None
    page: int | None
    last_page: int | None
    heading: str | None
    sha256: str
    modified: str
    media_type: str
    next: str | None
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Readable:
    """A document that can be read. `size`: the file's, in bytes."""

    path: str
    size: int
    modified: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Documents that were indexed anew or went, by their paths. `listing`: those of them that came or went."""

    paths: frozenset[str]
    listing: frozenset[str]


@dataclass(frozen=True, slots=True)
class FailedFile:
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The run under way. `files_done` are in the store; `seconds_left` is null until the first one is."""

    files: int
    files_done: int
    chunks: int
    chunks_per_s: float
    seconds_left: float | None
    reading: str | None


@dataclass(frozen=True, slots=True)
class Growing:
    """Another model's or store's index, which takes over once no chunk is left."""

    embedding: str
    store: str
    chunks_left: int


@dataclass(frozen=True, slots=True)
class Status:
    """`left_out`: files that are never read because they hold secrets. `forgotten`: what `tandem forget` took out.
    `traces_url`: where a trace is looked at, with {trace_id} in it."""

    documents: int
    chunks: int
    pending: int
    failed: tuple[FailedFile, ...]
    as_of: str | None
    embedding: str
    store: str
    engine: str
    workers: int
    roots: tuple[str, ...] = ()
    state: Literal["idle", "indexing", "paused"] = "idle"
    warnings: tuple[str, ...] = ()
    left_out: tuple[FailedFile, ...] = ()
    forgotten: tuple[str, ...] = ()
    progress: RunProgress | None = None
    growing: Growing | None = None
    traces_url: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    path: str
    sha256: str
    chunks: int
    indexed_at: str | None
    state: Literal["indexed", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One line of `tandem cache ls`; times are seconds since the epoch."""

    question: str
    engine: str
    documents: tuple[str, ...]
    asked_at: float
    used: float
    uses: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """`uses`: of the entries that are kept. `reused` and `missed` count since the start. `problem`: why it is off."""

    entries: int
    most: int
    bytes: int
    uses: int
    reused: int
    missed: int
    ttl_s: float
    threshold: float
    problem: str | None = None


class Service(Protocol):
    """Raises `BadInput` or `Unavailable`, nothing else that a caller could have foreseen."""

    async def search(self, query: str, limit: int = 10, filters: Filters = EVERYTHING, explain: bool = False) -> Found:
        """`explain`: the hits tell their sub-scores, and `Found.explained` where the time went."""
        ...

    async def begin(self, question: str, filters: Filters = EVERYTHING, session: str | None = None) -> str:
        """The id of an answer that is being made from here on, read or not."""
        ...

    def follow(
        self, request: str, after: Place = (0, 0), grace_s: float | None = None
    ) -> AbstractAsyncContextManager[Reader]:
        """`Piece* Answer` after a place. An answer that nobody has followed for `grace_s` is cancelled. Raises
        NotFound."""
        ...

    async def cancel(self, request: str) -> bool:
        """Stops an answer; who follows it is told its end. Whether there was anything to stop. Raises NotFound."""
        ...

    async def rate(self, trace_id: str, up: bool, comment: str | None = None) -> None:
        """What a person thinks of the answer with this trace, kept beside the trace; the last word counts. Raises
        Unavailable where no Phoenix keeps traces."""
        ...

    async def cache_entries(self) -> Sequence[CacheEntry]:
        """The answers that are kept to be given again, the last used first."""
        ...

    async def clear_cache(self) -> int:
        """How many there were."""
        ...

    async def cache_stats(self) -> CacheStats: ...

    async def document(self, document: str) -> Document:
        """By the id that hits and citations give. Raises NotFound."""
        ...

    async def status(self) -> Status: ...

    async def documents(self, within: str | None = None) -> Sequence[DocumentRow]: ...

    async def index(self, folders: Sequence[str], accept_deletions: bool = False) -> Summary:
        """Adds the folders (absolute paths) and brings everything in step once. `accept_deletions`: what is missing is
        gone for good, however much it is."""
        ...

    async def reindex(self, path: str | None = None) -> Summary:
        """Reads the documents at and beneath the path (all of them without one) again."""
        ...

    async def forget(self, path: str) -> int:
        """Takes a folder or file (absolute path) out of the index, until it is added again. How many documents went."""
        ...

    async def pause(self) -> None:
        """Stops indexing, also over a restart; search goes on."""
        ...

    async def resume(self) -> None: ...

    async def stop(self, if_idle: bool = False) -> bool:
        """Whether it stops: with `if_idle` not while anybody is being answered."""
        ...


class Library(Service, Protocol):
    """With what MCP alone asks: documents as they are chosen and read."""

    async def read(
        self, uri: str, around: str | None = None, max_tokens: int = READ_TOKENS, whole: bool = False
    ) -> Excerpt:
        """What stands at the place that a URI names (`bridge.uris`), or around a line, a page or words. `max_tokens`:
        of its text, as `bridge.excerpt` counts them. `whole`: just what the URI names, refused where that is more.
        Raises NotFound."""
        ...

    async def readable(
        self, after: str = "", limit: int = 100, prefix: str = "", containing: str = ""
    ) -> Sequence[Readable]:
        """The first `limit` documents behind the path `after`, by path: those whose path begins with `prefix` and
        holds `containing`, in upper or lower case."""
        ...

    def hearing(self, hear: Callable[[Changed], None]) -> AbstractContextManager[None]:
        """Until it is left `hear` is called with what changes of the documents that the caller may see, once it can be
        read: it must neither wait nor fail."""
        ...


@asynccontextmanager
async def asking(
    service: Service, question: str, filters: Filters = EVERYTHING, session: str | None = None
) -> AsyncGenerator[AsyncIterator[Part]]:
    """`Piece* Answer`. Leaving early gives the answer up: who asks this way never comes back for it."""
    request, ended = await service.begin(question, filters, session), False

    async def parts(reader: Reader) -> AsyncGenerator[Part]:
        nonlocal ended
        while some := await reader.read():
            for one in some:
                ended = isinstance(one.part, Answer)
                yield one.part

    try:
        async with service.follow(request) as reader, aclosing(parts(reader)) as told:
            yield told
    except (BadInput, Unavailable):
        ended = True
        raise
    finally:
        if not ended:
            with anyio.move_on_after(_CANCEL_S, shield=True), suppress(BadInput, Unavailable):
                await service.cancel(request)
