"""What the cache holds, in a SQLite file of its own: questions, answers, and the passages that they rest on.

It can be lost at any time: only answers have to be made again. Vectors are here too, so that the vector store can be
filled from it. Every call is short and takes the one connection's lock; call it in a thread.
"""

import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from indexer.embed import Vectors
from indexer.hits import Hit

logger = logging.getLogger("tandem")

_VERSION = 1
_MANY = 500  # SQL parameters a statement
_TABLES = """
CREATE TABLE IF NOT EXISTS entries(
    id INTEGER PRIMARY KEY, signature TEXT NOT NULL, scope INTEGER NOT NULL, question TEXT NOT NULL,
    vector BLOB NOT NULL, engine TEXT NOT NULL, answer BLOB NOT NULL, asked_at REAL NOT NULL, used REAL NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS entries_by_use ON entries(used);
CREATE INDEX IF NOT EXISTS entries_by_age ON entries(asked_at);
CREATE TABLE IF NOT EXISTS evidence(
    entry INTEGER NOT NULL REFERENCES entries(id) ON DELETE CASCADE, path TEXT NOT NULL, sha256 TEXT NOT NULL,
    digest BLOB NOT NULL, start_line INTEGER, end_line INTEGER, page INTEGER, cited INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS evidence_by_entry ON evidence(entry);
CREATE INDEX IF NOT EXISTS evidence_by_path ON evidence(path);
"""
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A passage that an entry's question found. `sha256` is its file's; `digest` tells text and place of it."""

    path: str
    sha256: str
    digest: bytes
    start_line: int | None
    end_line: int | None
    page: int | None
    cited: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """`asked_at`: before its search began, seconds since the epoch. `answer`: JSON of a `bridge.service.Answer`."""

    id: int
    signature: str
    scope: int
    question: str
    vector: Vectors
    engine: str
    answer: bytes
    asked_at: float
    evidence: tuple[Evidence, ...]
    used: float = 0
    uses: int = 0


def evidence(hit: Hit, cited: bool) -> Evidence:
    return Evidence(hit.path, hit.sha256, digest(hit), hit.start_line, hit.end_line, hit.page, cited)


def digest(hit: Hit) -> bytes:
    """Of a passage's text and of where it stands: what a citation of it says."""
    where = json.dumps([hit.start_line, hit.end_line, hit.page, hit.heading])
    return hashlib.blake2b(f"{where}\n{hit.text}".encode(errors="replace"), digest_size=16).digest()


class Rows:
    """Raises sqlite3.Error where the disk fails."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._is_left = False  # text that was removed, in the journal
        try:
            self._db = _opened(file)
        except sqlite3.DatabaseError as error:
            logger.warning("the cache %s could not be opened (%s): it begins anew", file, error)
            remove(file)
            self._db = _opened(file)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def get(self, ids: Sequence[int]) -> dict[int, Entry]:
        with self._lock:
            return {
                entry.id: entry for some in _groups(ids) for entry in self._entries(f"id IN ({_marks(some)})", some)
            }

    def all(self) -> list[Entry]:
        """The last used first."""
        with self._lock:
            return list(self._entries("TRUE ORDER BY used DESC", ()))

    def put(self, entry: Entry) -> None:
        """Instead of one with the same id."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM entries WHERE id = ?", (entry.id,))
            self._db.execute(
                f"INSERT INTO entries VALUES ({_marks(range(10))})",
                (
                    *(entry.id, entry.signature, entry.scope, entry.question, entry.vector.astype("<f4").tobytes()),
                    *(entry.engine, entry.answer, entry.asked_at, entry.used, entry.uses),
                ),
            )
            self._db.executemany(
                f"INSERT INTO evidence VALUES ({_marks(range(8))})",
                [
                    (entry.id, one.path, one.sha256, one.digest, one.start_line, one.end_line, one.page, one.cited)
                    for one in entry.evidence
                ],
            )

    def use(self, id_: int, now: float) -> None:
        with self._lock, self._db:
            self._db.execute("UPDATE entries SET used = ?, uses = uses + 1 WHERE id = ?", (now, id_))

    def remove(self, ids: Collection[int]) -> None:
        """Overwritten in the file, and gone from its journal too."""
        if not ids and not self._is_left:
            return
        with self._lock:
            with self._db:
                self._db.executemany("DELETE FROM entries WHERE id = ?", [(id_,) for id_ in ids])
            self._truncated()

    def _truncated(self) -> None:
        """Another program that reads the file keeps its journal as it is: then the next call tries again."""
        (busy, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._is_left = bool(busy)

    def count(self) -> int:
        return self._one("SELECT count(*) FROM entries")

    def size(self) -> tuple[int, int]:
        """(bytes of questions, vectors and answers; how often all of them were used)."""
        query = "SELECT coalesce(sum(length(question) + length(vector) + length(answer)), 0)"
        return int(self._one(f"{query} FROM entries")), int(self._one("SELECT coalesce(sum(uses), 0) FROM entries"))

    def others(self, signature: str) -> list[int]:
        """Those of other models' vectors."""
        return self._ids("SELECT id FROM entries WHERE signature != ?", (signature,))

    def outside(self, oldest: float, latest: float) -> list[int]:
        """Those that were asked before or after."""
        return self._ids("SELECT id FROM entries WHERE asked_at < ? OR asked_at > ?", (oldest, latest))

    def least_used(self, number: int) -> list[int]:
        return self._ids("SELECT id FROM entries ORDER BY used, id LIMIT ?", (number,))

    def paths(self) -> list[str]:
        with self._lock:
            return [path for (path,) in self._db.execute("SELECT DISTINCT path FROM evidence")]

    def outdated(self, paths: Sequence[str], recorded: Mapping[str, tuple[str, float]]) -> list[int]:
        """Those that rest on a file among `paths` which is another one now, or none; path -> (sha256, …)."""
        found: set[int] = set()
        with self._lock:
            for some in _groups(paths):
                query = f"SELECT DISTINCT entry, path, sha256 FROM evidence WHERE path IN ({_marks(some)})"
                for entry, path, sha256 in self._db.execute(query, some):
                    if path not in recorded or recorded[path][0] != sha256:
                        found.add(entry)
        return sorted(found)

    def _entries(self, where: str, values: Sequence[int]) -> Iterator[Entry]:
        query = (
            "SELECT id, signature, scope, question, vector, engine, answer, asked_at, used, uses FROM entries "
            f"WHERE {where}"
        )
        for id_, signature, scope, question, vector, engine, answer, asked_at, used, uses in self._list(query, values):
            on = tuple(
                Evidence(path, sha256, digest_, start, end, page, bool(cited))
                for path, sha256, digest_, start, end, page, cited in self._list(
                    "SELECT path, sha256, digest, start_line, end_line, page, cited FROM evidence WHERE entry = ? "
                    "ORDER BY rowid",
                    (id_,),
                )
            )
            vectors = np.frombuffer(vector, "<f4")
            yield Entry(id_, signature, scope, question, vectors, engine, answer, asked_at, on, used, uses)

    def _list(self, query: str, values: Sequence[object]) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    def _one(self, query: str) -> Any:
        with self._lock:
            return self._db.execute(query).fetchone()[0]

    def _ids(self, query: str, values: Sequence[object]) -> list[int]:
        with self._lock:
            return [id_ for (id_,) in self._db.execute(query, values)]


def remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _opened(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    file.chmod(0o600)  # its journal takes the mode from it
    db = sqlite3.connect(file, timeout=0.2, check_same_thread=False)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
            raise sqlite3.DatabaseError("it was made by another version of Tandem")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten, not only unlinked
        db.executescript(_TABLES)
        db.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values))


def _groups(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
