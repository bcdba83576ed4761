"""What every face (shell, HTTP, MCP) asks of Tandem.

`daemon.Tandem` is it in process; `client.Remote` is it over the daemon's socket. The faces know this page only.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from indexer.hits import Found, Freshness, Summary

MAX_QUERY_CHARS = 10_000
MAX_LIMIT = 100


class BadInput(Exception):
    """The caller's words are at fault; the message says what was expected, what came and what to do."""


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
    """Where marker [n] of the answer points. `quote` is verbatim from the passage."""

    n: int
    path: str
    uri: str
    quote: str
    heading: str | None = None
    start_line: int | None = None
    end_line: int | None = None
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of an answer: `Piece* Answer`.

    `grounded`: true where every sentence was checked to stand in its cited passage, false where one was
    not, null where nothing checked it. `error`: why the text stops short, else null.
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


Part = Piece | Answer


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
    """`left_out`: files that are never read because they hold secrets. `forgotten`: what `tandem forget` took out."""

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


@dataclass(frozen=True, slots=True)
class DocumentRow:
    path: str
    sha256: str
    chunks: int
    indexed_at: str | None
    state: Literal["indexed", "pending", "failed"]


class Service(Protocol):
    """Raises `BadInput` or `Unavailable`, nothing else that a caller could have foreseen."""

    async def search(self, query: str, limit: int = 10, within: str | None = None) -> Found: ...

    def ask(
        self, question: str, within: str | None = None, session: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        """`Piece* Answer`. Leaving the context early gives the answer up."""
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

    async def stop(self) -> None: ...
