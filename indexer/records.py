"""The rows of the catalog, and the numbers by which documents, chunks and vectors are known.

A point's id = hash(path, text, occurrence, terms): equal text in two files stays two points. A vector's key =
hash(text), kept for each model: a rename or a copy embeds nothing. The text of both is what is searched, a chunk's
context with it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from indexer.language import ENGLISH


@dataclass(frozen=True, slots=True)
class Stat:
    """What tells without reading whether a file is the one that was indexed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Known:
    """A document as it was recorded. `stale`: it is to be read again whatever its stat says."""

    stat: Stat
    sha256: str
    state: Literal["indexed", "failed"]
    read_at: float
    stale: bool


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk as stored. `key` names its vector."""

    id: int
    ordinal: int
    text: str
    start: int
    end: int
    start_line: int | None
    end_line: int | None
    page: int | None
    heading: str | None
    terms: bytes
    key: bytes
    context: str = ""
    fields: bytes = b""


@dataclass(frozen=True, slots=True)
class Listed:
    """A document as a list shows it."""

    id: int
    path: str
    sha256: str
    state: Literal["indexed", "failed", "pending"]
    indexed_at: float
    chunks: int


@dataclass(frozen=True, slots=True)
class Filed:
    """A document as it is looked up by its path. `reason`: why it failed, or what is missing of it."""

    id: int
    path: str
    sha256: str
    size: int
    mtime_ns: int
    state: Literal["indexed", "failed"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk beside its document, as search wants it."""

    document: int
    path: str
    sha256: str
    mtime_ns: int
    chunk: ChunkRow


@dataclass(frozen=True, slots=True)
class Record:
    """A document to be recorded: with chunks when it was read, without but with a reason when that failed. A reason
    beside chunks tells what is missing of it. `read_at`: when its reading began, in seconds since the epoch."""

    path: str
    stat: Stat
    sha256: str
    title: str | None
    chunks: Sequence[ChunkRow]
    read_at: float
    reason: str | None = None
    failed: bool = False
    language: str = ENGLISH


@dataclass(frozen=True, slots=True)
class Generation:
    """The chunks' points in one store with the vectors of one model.

    The one that `answers` serves every search; one that `grows` takes its place once it has all chunks; what is
    `retired` waits to be removed. Every chunk whose id is at most `filled` has its point, and so has each one
    that was recorded since this generation began.
    """

    id: int
    signature: str
    dimensions: int
    place: str
    state: Literal["answers", "grows", "retired"]
    filled: int


COMPLETE = 2**63 - 1  # above every chunk's id


def searched(context: str, text: str) -> str:
    """What is embedded and cut into terms for a chunk."""
    return f"{context}\n{text}" if context else text


def chunk_id(path: str, text: str, occurrence: int, terms: bytes = b"") -> int:
    """The n-th equal text within a file is a point of its own. A point is never rewritten: where a changed title or
    language gives the same text other `terms` (those of its fields too) it is another one."""
    digest = hashlib.blake2b(f"{path}\0{occurrence}\0{text}".encode(), digest_size=8, key=_short(terms)).digest()
    return int.from_bytes(digest, "big") >> 1  # SQLite's integers and Qdrant's ids both fit


def _short(terms: bytes) -> bytes:
    return hashlib.blake2b(terms, digest_size=16).digest() if terms else b""


def document_id(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big") >> 1


def vector_key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
