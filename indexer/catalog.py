"""What the index holds, in SQLite: the one truth about documents, their chunks and the vectors already paid for.

A point in the store that is not a chunk here is never shown: a deletion takes effect with this file's commit.
`doubtful` names points that may be in the store without being chunks here (a crash between the two); they are
deleted at the next start. Two connections: one writes (a worker thread), one reads (the loop).
"""

import hashlib
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from indexer.embed import Vectors
from indexer.store import StoreUnusable

SCHEMA = 1  # of the tables below, kept in the file: raise it when they change
_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots(path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents(
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('indexed', 'failed')), reason TEXT, title TEXT,
    indexed_at REAL NOT NULL, read_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS chunks(
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, start_line INTEGER, end_line INTEGER,
    page INTEGER, heading TEXT, text TEXT NOT NULL, terms BLOB NOT NULL, vector BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS chunks_in_order ON chunks(document, ordinal);
CREATE INDEX IF NOT EXISTS chunks_by_vector ON chunks(vector);
CREATE TABLE IF NOT EXISTS vectors(key BLOB PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS doubtful(id INTEGER PRIMARY KEY);
"""
_Value = TypeVar("_Value")
_MANY = 500  # SQL parameters a statement


@dataclass(frozen=True, slots=True)
class Stat:
    """What tells without reading whether a file is the one that was indexed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Known:
    """A document as it was recorded."""

    stat: Stat
    sha256: str
    state: Literal["indexed", "failed"]
    read_at: float


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk as stored. `key` names its vector: (model signature, text)."""

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


@dataclass(frozen=True, slots=True)
class Listed:
    """A document as a list shows it."""

    id: int
    path: str
    sha256: str
    state: Literal["indexed", "failed"]
    indexed_at: float
    chunks: int


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
    """A document to be recorded: with chunks when it was read, with a reason when it failed. `read_at`: when its
    reading began, in seconds since the epoch."""

    path: str
    stat: Stat
    sha256: str
    title: str | None
    chunks: Sequence[ChunkRow]
    read_at: float
    reason: str | None = None


def chunk_id(path: str, text: str, occurrence: int) -> int:
    """Equal text in two files stays two points; the n-th equal text within a file too."""
    digest = hashlib.blake2b(f"{path}\0{occurrence}\0{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # SQLite's integers and Qdrant's ids both fit


def document_id(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big") >> 1


def vector_key(signature: str, text: str) -> bytes:
    return hashlib.blake2b(f"{signature}\0{text}".encode(), digest_size=16).digest()


class Catalog:
    def __init__(self, file: Path) -> None:
        """Made on first use. Raises StoreUnusable where the file cannot be opened, is damaged or another version's."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._writing = threading.Lock()
        try:
            self._write = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            (schema,) = self._write.execute("PRAGMA user_version").fetchone()
            if schema not in (0, SCHEMA):
                self._write.close()
                raise sqlite3.DatabaseError(f"it was made by another version of Tandem (tables {schema}, not {SCHEMA})")
            # NORMAL: a power cut may lose the last commits, which only means indexing those files again.
            self._write.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")
            self._write.executescript(_TABLES)
            self._write.execute(f"PRAGMA user_version = {SCHEMA}")
            self._read = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreUnusable(
                f"the catalog {file} could not be opened: {error}; nothing was changed. "
                f"Use another --data folder, or move {file.parent} away to build it again"
            ) from error

    def close(self) -> None:
        self._read.close()
        self._write.close()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._writing:
            self._write.execute("BEGIN IMMEDIATE")
            try:
                yield self._write
            except BaseException:
                self._write.execute("ROLLBACK")
                raise
            self._write.execute("COMMIT")

    # --- settings of the index itself

    def meta(self, key: str) -> str | None:
        row = self._read.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def roots(self) -> list[str]:
        return [path for (path,) in self._read.execute("SELECT path FROM roots ORDER BY path")]

    def add_roots(self, paths: Iterable[str]) -> None:
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO roots VALUES (?)", [(path,) for path in paths])

    # --- documents

    def known(self) -> dict[str, Known]:
        """Every recorded document by path."""
        rows = self._read.execute("SELECT path, size, mtime_ns, ctime_ns, inode, sha256, state, read_at FROM documents")
        return {row[0]: Known(Stat(*row[1:5]), *row[5:]) for row in rows}

    def documents(self) -> Iterator[Listed]:
        """Every document, by path."""
        rows = self._read.execute(
            "SELECT d.id, path, sha256, state, indexed_at, (SELECT count(*) FROM chunks c WHERE c.document = d.id) "
            "FROM documents d ORDER BY path"
        )
        return (Listed(*row) for row in rows)

    def failed(self) -> list[tuple[str, str]]:
        return self._read.execute("SELECT path, reason FROM documents WHERE state = 'failed' ORDER BY path").fetchall()

    def counts(self) -> tuple[int, int]:
        """(documents that are indexed, chunks)."""
        query = "SELECT (SELECT count(*) FROM documents WHERE state = 'indexed'), (SELECT count(*) FROM chunks)"
        return self._read.execute(query).fetchone()

    def paths(self) -> list[tuple[int, str]]:
        """(id, path) of every document."""
        return self._read.execute("SELECT id, path FROM documents").fetchall()

    def standing(self, ids: Sequence[int]) -> list[int]:
        """Those of `ids` that are chunks now."""
        query = f"SELECT id FROM chunks WHERE id IN ({_marks(ids)})"
        return [id_ for (id_,) in self._read.execute(query, list(ids))]

    def candidates(self, ids: Sequence[int]) -> dict[int, Candidate]:
        """The chunks among `ids` that still stand; the order is the caller's to keep."""
        query = f"SELECT {_CANDIDATE} WHERE c.id IN ({_marks(ids)})"
        return {row[4]: _candidate(row) for row in self._read.execute(query, list(ids))}

    def neighbours(self, document: int, first: int, last: int) -> list[Candidate]:
        """The document's chunks from ordinal `first` to `last`."""
        query = f"SELECT {_CANDIDATE} WHERE c.document = ? AND c.ordinal BETWEEN ? AND ? ORDER BY c.ordinal"
        return [_candidate(row) for row in self._read.execute(query, (document, first, last))]

    # --- vectors already paid for

    def vectors(self, keys: Iterable[bytes]) -> dict[bytes, Vectors]:
        """Those of `keys` that are known. Kept as float16: the store's own storage is coarser."""
        found: dict[bytes, Vectors] = {}
        for some in _groups(list(keys)):
            query = f"SELECT key, vector FROM vectors WHERE key IN ({_marks(some)})"
            for key, packed in self._read.execute(query, some):
                found[key] = np.frombuffer(packed, "<f2").astype(np.float32)
        return found

    def keep_vectors(self, vectors: dict[bytes, Vectors]) -> None:
        """At once, before their documents are recorded: a crash pays for no chunk twice."""
        rows = [(key, vector.astype("<f2").tobytes()) for key, vector in vectors.items()]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)

    def purge_vectors(self) -> None:
        """Drops what no chunk uses. Not while files are still to be read: a rename must find its vectors."""
        with self._transaction() as db:
            db.execute("DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE vector = key)")

    # --- changes, in the order in which they are called

    def announce(self, ids: Iterable[int]) -> None:
        """Points that are about to go into the store."""
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO doubtful VALUES (?)", [(id_,) for id_ in ids])

    def record(self, records: Sequence[Record], now: float) -> None:
        """Documents whose points the store has flushed become visible; what they replace becomes doubtful."""
        with self._transaction() as db:
            for record in records:
                _forget(db, record.path)
                _insert(db, record, now)

    def touch(self, stats: dict[str, tuple[Stat, float]]) -> None:
        """The same content under a new time stamp: path -> (what it is now, when it was read)."""
        rows = [(s.size, s.mtime_ns, s.ctime_ns, s.inode, at, path) for path, (s, at) in stats.items()]
        with self._transaction() as db:
            db.executemany("UPDATE documents SET size=?, mtime_ns=?, ctime_ns=?, inode=?, read_at=? WHERE path=?", rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Deleted documents: invisible from here on; their points become doubtful."""
        with self._transaction() as db:
            for path in paths:
                _forget(db, path)

    def rebuild(self) -> None:
        """Every document is to be read again (the parser or the chunker has changed); it stays visible until then."""
        with self._transaction() as db:
            db.execute("UPDATE documents SET mtime_ns = -1, sha256 = ''")

    def doubtful(self) -> list[int]:
        """Points to delete from the store: announced or replaced, and no chunk now."""
        query = "SELECT id FROM doubtful WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.id = doubtful.id)"
        return [id_ for (id_,) in self._read.execute(query)]

    def settled(self) -> None:
        """The store has flushed the deletion of what was doubtful."""
        with self._transaction() as db:
            db.execute("DELETE FROM doubtful")


_CANDIDATE = (
    "d.id, d.path, d.sha256, d.mtime_ns, c.id, c.ordinal, c.text, c.start, c.end, c.start_line, c.end_line, c.page, "
    "c.heading, c.terms, c.vector FROM chunks c JOIN documents d ON d.id = c.document"
)


def _candidate(row: Sequence[Any]) -> Candidate:
    return Candidate(row[0], row[1], row[2], row[3], ChunkRow(*row[4:]))


def _forget(db: sqlite3.Connection, path: str) -> None:
    db.execute("INSERT OR IGNORE INTO doubtful SELECT id FROM chunks WHERE document = ?", (document_id(path),))
    db.execute("DELETE FROM documents WHERE path = ?", (path,))


def _insert(db: sqlite3.Connection, record: Record, now: float) -> None:
    document, s = document_id(record.path), record.stat
    state = "failed" if record.reason else "indexed"
    values = (document, record.path, record.sha256, s.size, s.mtime_ns, s.ctime_ns, s.inode)
    db.execute(
        f"INSERT INTO documents VALUES ({_marks(range(12))})",
        (*values, state, record.reason, record.title, now, record.read_at),
    )
    rows = [
        (
            c.id,
            document,
            c.ordinal,
            c.start,
            c.end,
            c.start_line,
            c.end_line,
            c.page,
            c.heading,
            c.text,
            c.terms,
            c.key,
        )
        for c in record.chunks
    ]
    db.executemany(f"INSERT INTO chunks VALUES ({_marks(range(12))})", rows)


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _groups(values: list[_Value]) -> Iterator[list[_Value]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
