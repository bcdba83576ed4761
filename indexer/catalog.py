"""What the index holds, in SQLite: the one truth about documents, their chunks and the vectors already paid for.

A point in the store that is not a chunk here is never shown: a deletion takes effect with this file's commit.
`doubtful` names points that may be in a store without being chunks here (a crash between the two); they are
deleted at the next start. One connection writes, under a lock; each thread reads by its own.
"""

import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from indexer.embed import Vectors
from indexer.language import ENGLISH
from indexer.records import COMPLETE, Candidate, ChunkRow, Filed, Generation, Known, Listed, Record, Stat, document_id
from indexer.schema import EVERY, held, prepare
from indexer.store import StoreAway, StoreUnusable

_Value = TypeVar("_Value")
_MANY = 500  # SQL parameters a statement
_LEAST_FREE_BYTES = 100 << 20


class Catalog:
    def __init__(self, file: Path) -> None:
        """Made on first use. Raises StoreUnusable where the file cannot be opened, is damaged or a newer version's."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self._writing = threading.Lock()
        self._own = threading.local()
        self._readers: dict[threading.Thread, sqlite3.Connection] = {}
        try:
            self._write = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            try:
                prepare(self._write, file)
            except BaseException:
                self._write.close()
                raise
        except (sqlite3.Error, OSError) as error:
            remedy = f"Use another --data folder, or move {file.parent} away to build it again"
            if shutil.disk_usage(file.parent).free < _LEAST_FREE_BYTES:
                remedy = "Its disk is full: make room"
            raise StoreUnusable(
                f"the catalog {file} could not be opened: {error}; nothing was changed. {remedy}"
            ) from error

    def close(self) -> None:
        for connection in (*self._readers.values(), self._write):
            connection.close()

    @property
    def _read(self) -> sqlite3.Connection:
        """One for each thread: as long as a statement is unfinished, all others of its connection see an old state."""
        if not hasattr(self._own, "connection"):
            for thread in [thread for thread in list(self._readers) if not thread.is_alive()]:
                if left := self._readers.pop(thread, None):  # another thread may have seen it too
                    left.close()
            self._own.connection = sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True, check_same_thread=False)
            self._readers[threading.current_thread()] = self._own.connection
        return self._own.connection

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._read.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise StoreAway(
                f"the catalog {self.file} could not be read: {error}; is its disk in order? `tandem restore` makes an "
                "index from a backup"
            ) from error

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """Raises StoreAway where the disk is full or fails: nothing of the transaction is kept."""
        with self._writing:
            try:
                self._write.execute("BEGIN IMMEDIATE")
                try:
                    yield self._write
                    self._write.execute("COMMIT")
                except BaseException:
                    if self._write.in_transaction:  # a full disk has rolled it back already
                        self._write.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                raise StoreAway(
                    f"the catalog {self.file} could not be written: {error}; is its disk full or read-only? "
                    "What is indexed stays searchable"
                ) from error

    def require_room(self, least_bytes: int = _LEAST_FREE_BYTES) -> None:
        """Raises StoreAway while the disk is nearly full: to stop in order is better than half-way into a write."""
        free = shutil.disk_usage(self.file.parent).free
        if free < least_bytes:
            raise StoreAway(
                f"the disk of {self.file.parent} is full: indexing needs {least_bytes >> 20} MB free and found "
                f"{free >> 20} MB; make room, indexing then goes on. What is indexed stays searchable"
            )

    # --- settings of the index itself

    def meta(self, key: str) -> str | None:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def set_meta(self, key: str, value: str | None) -> None:
        with self._transaction() as db:
            if value is None:
                db.execute("DELETE FROM meta WHERE key = ?", (key,))
            else:
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def roots(self) -> list[str]:
        return [path for (path,) in self._rows("SELECT path FROM roots ORDER BY path")]

    def add_roots(self, paths: Iterable[str]) -> None:
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO roots(path) VALUES (?)", [(path,) for path in paths])

    def devices(self) -> dict[str, str]:
        """On which device each root lay when it was last looked at, where that is known."""
        return dict(self._rows("SELECT path, device FROM roots WHERE device IS NOT NULL"))

    def set_devices(self, devices: Mapping[str, str]) -> None:
        with self._transaction() as db:
            db.executemany("UPDATE roots SET device = ? WHERE path = ?", [(d, path) for path, d in devices.items()])

    def forgotten(self) -> list[str]:
        """Files and folders that the user took out of the index; nothing in them is looked at."""
        return [path for (path,) in self._rows("SELECT path FROM forgotten ORDER BY path")]

    def take_in(self, path: str) -> None:
        """What was forgotten is wanted again."""
        with self._transaction() as db:
            db.execute("DELETE FROM forgotten WHERE path = ?", (path,))

    def forget_for_good(self, path: str) -> list[str]:
        """Takes a root, or something within one, out of the index; returns the documents that go with it."""
        with self._transaction() as db:
            db.execute(f"DELETE FROM roots WHERE {_BENEATH}", _beneath(path))
            gone = [row for (row,) in db.execute(f"SELECT path FROM documents WHERE {_BENEATH}", _beneath(path))]
            within = any(path.startswith(root.rstrip("/") + "/") for (root,) in db.execute("SELECT path FROM roots"))
            if within:
                db.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", (path,))
            else:
                db.execute(f"DELETE FROM forgotten WHERE {_BENEATH}", _beneath(path))
            db.execute(f"DELETE FROM left_out WHERE {_BENEATH}", _beneath(path))
            _count(db, _forget(db, gone))
        return gone

    def left_out(self) -> list[tuple[str, str]]:
        return self._rows("SELECT path, reason FROM left_out ORDER BY path")

    def set_left_out(self, left_out: Mapping[str, str], looked: Iterable[str]) -> None:
        """Replaces what is recorded at and beneath the folders that were `looked` at."""
        with self._transaction() as db:
            for folder in looked:
                db.execute(f"DELETE FROM left_out WHERE {_BENEATH}", _beneath(folder))
            db.executemany("INSERT OR REPLACE INTO left_out VALUES (?, ?)", list(left_out.items()))

    # --- documents

    def known(self) -> dict[str, Known]:
        """Every recorded document by path."""
        rows = self._rows("SELECT path, size, mtime_ns, ctime_ns, inode, sha256, state, read_at, stale FROM documents")
        return {row[0]: Known(Stat(*row[1:5]), row[5], row[6], row[7], bool(row[8])) for row in rows}

    def documents(self) -> list[Listed]:
        """Every document, by path."""
        rows = self._rows(
            "SELECT d.id, path, sha256, CASE stale WHEN 0 THEN state ELSE 'pending' END, indexed_at, "
            "(SELECT count(*) FROM chunks c WHERE c.document = d.id) FROM documents d ORDER BY path"
        )
        return [Listed(*row) for row in rows]

    def failed(self) -> list[tuple[str, str]]:
        query = "SELECT path, reason FROM documents WHERE reason IS NOT NULL AND state = 'failed' ORDER BY path"
        return self._rows(query)

    def partly(self) -> list[tuple[str, str]]:
        """Documents that are indexed but for something, and what."""
        query = "SELECT path, reason FROM documents WHERE reason IS NOT NULL AND state = 'indexed' ORDER BY path"
        return self._rows(query)

    def recorded(self, paths: Sequence[str]) -> dict[str, tuple[str, float]]:
        """Those of `paths` that are indexed: path -> (sha256, when that was recorded in seconds since the epoch)."""
        query = f"SELECT path, sha256, indexed_at FROM documents WHERE state = 'indexed' AND path IN ({_marks(paths)})"
        return {path: (sha256, at) for path, sha256, at in self._rows(query, list(paths))}

    def counts(self) -> tuple[int, int]:
        """(documents that are indexed, chunks)."""
        failed = "SELECT count(*) FROM documents WHERE reason IS NOT NULL AND state = 'failed'"
        query = f"SELECT (SELECT count(*) FROM documents) - ({failed}), (SELECT count(*) FROM chunks)"
        return self._rows(query)[0]

    def stale(self) -> list[str]:
        """The documents that wait to be read again."""
        return [path for (path,) in self._rows("SELECT path FROM documents WHERE stale")]

    def filed(self, path: str) -> Filed | None:
        rows = self._rows(f"SELECT {_FILED} FROM documents WHERE path = ?", (path,))
        return Filed(*rows[0]) if rows else None

    def shelf(self, after: str, limit: int, prefix: str = "", containing: str = "") -> list[Filed]:
        """The next `limit` documents behind a path that are indexed, by path: those that begin so and hold these
        letters; upper and lower case of A to Z are alike there."""
        # One lower bound: with two of them SQLite begins at the first.
        least, begins = (prefix, ">=") if after < prefix else (after, ">")
        query = (
            f"SELECT {_FILED} FROM documents WHERE state = 'indexed' AND path {begins} ? AND path < ? "
            r"AND path LIKE ? ESCAPE '\' ORDER BY path LIMIT ?"
        )
        values = (least, f"{prefix}\U0010ffff", f"%{_literally(containing)}%", limit)
        return [Filed(*row) for row in self._rows(query, values)]

    def files(self) -> list[tuple[int, str, int]]:
        """(id, path, when it was modified in nanoseconds since the epoch) of every document."""
        return self._rows("SELECT id, path, mtime_ns FROM documents")

    def ending(self, name: str) -> list[tuple[int, str]]:
        """(id, path) of the documents whose path ends so; upper and lower case of A to Z are alike."""
        end = _literally(name.lstrip("./"))
        return self._rows(r"SELECT id, path FROM documents WHERE path LIKE ? ESCAPE '\'", (f"%{end}",))

    def version(self) -> int:
        """Another one after each change; to be compared in one thread only."""
        return self._rows("PRAGMA data_version")[0][0]

    def standing(self, ids: Sequence[int]) -> list[int]:
        """Those of `ids` that are chunks now."""
        query = f"SELECT id FROM chunks WHERE id IN ({_marks(ids)})"
        return [id_ for (id_,) in self._rows(query, list(ids))]

    def frequencies(self, terms: Collection[int]) -> dict[int, int]:
        """How many chunks hold each of `terms`, and as EVERY how many there are; what none holds is left out."""
        terms = [EVERY, *terms]
        return dict(self._rows(f"SELECT term, chunks FROM frequencies WHERE term IN ({_marks(terms)})", terms))

    def languages(self) -> list[str]:
        """Those that documents have been written in since this index began, English always among them."""
        return sorted({ENGLISH, *(self.meta("languages") or "").split()})

    def candidates(self, ids: Sequence[int]) -> dict[int, Candidate]:
        """The chunks among `ids` that still stand; the order is the caller's to keep."""
        query = f"SELECT {_CANDIDATE} WHERE c.id IN ({_marks(ids)})"
        return {row[4]: _candidate(row) for row in self._rows(query, list(ids))}

    def neighbours(self, document: int, first: int, last: int) -> list[Candidate]:
        """The document's chunks from ordinal `first` to `last`."""
        query = f"SELECT {_CANDIDATE} WHERE c.document = ? AND c.ordinal BETWEEN ? AND ? ORDER BY c.ordinal"
        return [_candidate(row) for row in self._rows(query, (document, first, last))]

    def ordinal_at(self, document: int, kind: Literal["line", "page", "char"], number: int) -> int:
        """The last chunk that begins at or before a line or character; the first that lies on a page, or the last
        before it. 0 where there is none."""
        if kind == "page":
            query = (
                "SELECT coalesce((SELECT min(ordinal) FROM chunks WHERE document = ?1 AND page = ?2), "
                "(SELECT max(ordinal) FROM chunks WHERE document = ?1 AND page < ?2))"
            )
        else:
            start = "start_line" if kind == "line" else "start"
            query = f"SELECT max(ordinal) FROM chunks WHERE document = ?1 AND {start} <= ?2"
        return self._rows(query, (document, number))[0][0] or 0

    def texts(self, document: int) -> list[tuple[int, str, str | None]]:
        """(start, text, heading) of its chunks, in reading order."""
        return self._rows("SELECT start, text, heading FROM chunks WHERE document = ? ORDER BY ordinal", (document,))

    # --- vectors already paid for, by model

    def vectors(self, signature: str, keys: Iterable[bytes]) -> dict[bytes, Vectors]:
        """Those of `keys` that are known. Kept as float16: the store's own storage is coarser."""
        found: dict[bytes, Vectors] = {}
        for some in _groups(list(keys)):
            query = (
                "SELECT key, vector FROM vectors WHERE model = (SELECT id FROM models WHERE signature = ?) "
                f"AND key IN ({_marks(some)})"
            )
            for key, packed in self._rows(query, (signature, *some)):
                found[key] = np.frombuffer(packed, "<f2").astype(np.float32)
        return found

    def vectors_of(self, signature: str, ids: Sequence[int]) -> dict[int, Vectors]:
        """The vectors of chunks, by the chunks' ids, float16; those without one are left out."""
        # CROSS: chunks first. The planner would go through all vectors of the model: 0.4 s for 10 000.
        query = (
            "SELECT c.id, v.vector FROM chunks c CROSS JOIN vectors v ON v.key = c.vector "
            "AND v.model = (SELECT id FROM models WHERE signature = ?) "
            f"WHERE c.id IN ({_marks(ids)})"
        )
        return {id_: np.frombuffer(packed, "<f2") for id_, packed in self._rows(query, (signature, *ids))}

    def keep_vectors(self, signature: str, vectors: Mapping[bytes, Vectors]) -> None:
        """At once, before their documents are recorded: a crash pays for no chunk twice."""
        with self._transaction() as db:
            model = self._model(db, signature)
            rows = [(model, key, vector.astype("<f2").tobytes()) for key, vector in vectors.items()]
            db.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

    def _model(self, db: sqlite3.Connection, signature: str) -> int:
        db.execute("INSERT OR IGNORE INTO models(signature) VALUES (?)", (signature,))
        return db.execute("SELECT id FROM models WHERE signature = ?", (signature,)).fetchone()[0]

    def purge_vectors(self) -> None:
        """Drops what no chunk uses, and models of no generation. Not while files are still to be read: a rename must
        find its vectors."""
        with self._transaction() as db:
            db.execute("DELETE FROM models WHERE signature NOT IN (SELECT signature FROM generations)")
            db.execute("DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.vector = key)")

    # --- changes, in the order in which they are called

    def announce(self, ids: Iterable[int]) -> None:
        """Points that are about to go into the store."""
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO doubtful VALUES (?)", [(id_,) for id_ in ids])

    def record(self, records: Sequence[Record], now: float) -> None:
        """Documents whose points the store has flushed become visible; what they replace becomes doubtful."""
        with self._transaction() as db:
            counts = _forget(db, [record.path for record in records])
            for record in records:
                _insert(db, record, now)
                counts.update(held((chunk.terms, chunk.fields) for chunk in record.chunks))
            _count(db, counts)
            _speak(db, {record.language for record in records})

    def touch(self, stats: Mapping[str, tuple[Stat, float]]) -> None:
        """The same content under a new time stamp: path -> (what it is now, when it was read)."""
        rows = [(s.size, s.mtime_ns, s.ctime_ns, s.inode, at, path) for path, (s, at) in stats.items()]
        with self._transaction() as db:
            db.executemany("UPDATE documents SET size=?, mtime_ns=?, ctime_ns=?, inode=?, read_at=? WHERE path=?", rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Deleted documents: invisible from here on; their points become doubtful."""
        with self._transaction() as db:
            _count(db, _forget(db, paths))

    def make_stale(self, beneath: str | None = None) -> int:
        """The documents (at and beneath a path) are to be read again; they stay visible until then. How many."""
        with self._transaction() as db:
            if beneath is None:
                return db.execute("UPDATE documents SET stale = 1").rowcount
            return db.execute(f"UPDATE documents SET stale = 1 WHERE {_BENEATH}", _beneath(beneath)).rowcount

    def remark(self, document: int, reason: str) -> None:
        """What is missing of a document that is indexed otherwise."""
        with self._transaction() as db:
            db.execute("UPDATE documents SET reason = ? WHERE id = ?", (reason, document))

    def doubtful(self) -> list[int]:
        """Points to delete from the stores: announced or replaced, and no chunk now."""
        query = "SELECT id FROM doubtful WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.id = doubtful.id)"
        return [id_ for (id_,) in self._rows(query)]

    def settled(self, ids: Iterable[int]) -> None:
        """The stores have flushed the deletion of these; what became a chunk is not doubtful either."""
        with self._transaction() as db:
            db.executemany("DELETE FROM doubtful WHERE id = ?", [(id_,) for id_ in ids])
            db.execute("DELETE FROM doubtful WHERE EXISTS (SELECT 1 FROM chunks WHERE chunks.id = doubtful.id)")

    # --- generations

    def generations(self) -> list[Generation]:
        """The oldest first."""
        query = "SELECT id, signature, dimensions, place, state, filled FROM generations ORDER BY id"
        return [Generation(*row) for row in self._rows(query)]

    def begin_generation(
        self, signature: str, dimensions: int, place: str, state: Literal["answers", "grows"], filled: int = -1
    ) -> Generation:
        with self._transaction() as db:
            made = db.execute(
                "INSERT INTO generations(signature, dimensions, place, state, filled) VALUES (?, ?, ?, ?, ?)",
                (signature, dimensions, place, state, filled),
            )
            self._model(db, signature)
            if state == "grows":  # what its model refuses is told as it grows
                db.execute("UPDATE documents SET reason = NULL WHERE state = 'indexed'")
            assert made.lastrowid is not None
        return Generation(made.lastrowid, signature, dimensions, place, state, filled)

    def unfilled(self, after: int, limit: int) -> list[tuple[int, ChunkRow]]:
        """The next `limit` chunks beyond an id, each with its document's."""
        query = f"SELECT {_CANDIDATE} WHERE c.id > ? ORDER BY c.id LIMIT ?"
        found = [_candidate(row) for row in self._rows(query, (after, limit))]
        return [(one.document, one.chunk) for one in found]

    def count_after(self, after: int) -> int:
        return self._rows("SELECT count(*) FROM chunks WHERE id > ?", (after,))[0][0]

    def set_filled(self, generation: int, upto: int) -> None:
        with self._transaction() as db:
            db.execute("UPDATE generations SET filled = ? WHERE id = ?", (upto, generation))

    def let_answer(self, generation: int, filled: int = COMPLETE) -> None:
        """From here on this one answers; whatever did is retired."""
        with self._transaction() as db:
            db.execute("UPDATE generations SET state = 'retired' WHERE id != ?", (generation,))
            db.execute("UPDATE generations SET state = 'answers', filled = ? WHERE id = ?", (filled, generation))

    def retire_all_but(self, generations: Collection[int]) -> None:
        """What is not open misses the changes that are recorded from now on: it can never be gone on with."""
        with self._transaction() as db:
            query = f"UPDATE generations SET state = 'retired' WHERE id NOT IN ({_marks(generations)})"
            db.execute(query, list(generations))

    def drop_generation(self, generation: int) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM generations WHERE id = ?", (generation,))


_CANDIDATE = (
    "d.id, d.path, d.sha256, d.mtime_ns, c.id, c.ordinal, c.text, c.start, c.end, c.start_line, c.end_line, c.page, "
    "c.heading, c.terms, c.vector, c.context, c.fields FROM chunks c JOIN documents d ON d.id = c.document"
)
_FILED = "id, path, sha256, size, mtime_ns, state, reason"
# At or beneath a path, by comparison: LIKE has wildcards, and case of its own.
_BENEATH = "(path = ? OR (path > ? AND path < ?))"


def _beneath(path: str) -> tuple[str, str, str]:
    bare = path.rstrip("/")
    return path, f"{bare}/", f"{bare}0"  # "0" follows "/"


def _literally(words: str) -> str:
    """For LIKE."""
    return words.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")


def _candidate(row: Sequence[Any]) -> Candidate:
    return Candidate(row[0], row[1], row[2], row[3], ChunkRow(*row[4:]))


def _forget(db: sqlite3.Connection, paths: Iterable[str]) -> Counter[int]:
    """Returns by term how many chunks fewer hold it."""
    gone = Counter[int]()
    for path in paths:
        document = (document_id(path),)
        gone.subtract(held(db.execute("SELECT terms, fields FROM chunks WHERE document = ?", document)))
        db.execute("INSERT OR IGNORE INTO doubtful SELECT id FROM chunks WHERE document = ?", document)
        db.execute("DELETE FROM documents WHERE path = ?", (path,))
    return gone


def _count(db: sqlite3.Connection, counts: Mapping[int, int]) -> None:
    """Adds to how many chunks hold each term."""
    query = "INSERT INTO frequencies VALUES (?, ?) ON CONFLICT(term) DO UPDATE SET chunks = chunks + excluded.chunks"
    db.executemany(query, [(term, count) for term, count in counts.items() if count])
    fewer = [(term,) for term, count in counts.items() if count < 0]
    db.executemany("DELETE FROM frequencies WHERE term = ? AND chunks <= 0", fewer)


def _speak(db: sqlite3.Connection, languages: Collection[str]) -> None:
    known = db.execute("SELECT value FROM meta WHERE key = 'languages'").fetchone()
    spoken = {*(known[0].split() if known else ()), *languages}
    if not known or len(spoken) > len(known[0].split()):
        db.execute("INSERT OR REPLACE INTO meta VALUES ('languages', ?)", (" ".join(sorted(spoken)),))


def _insert(db: sqlite3.Connection, record: Record, now: float) -> None:
    document, s = document_id(record.path), record.stat
    state = "failed" if record.failed else "indexed"
    values = (document, record.path, record.sha256, s.size, s.mtime_ns, s.ctime_ns, s.inode)
    db.execute(
        f"INSERT INTO documents VALUES ({_marks(range(13))})",
        (*values, state, record.reason, record.title, now, record.read_at, 0),
    )
    rows = [
        (
            *(c.id, document, c.ordinal, c.start, c.end, c.start_line, c.end_line, c.page, c.heading),
            *(c.text, c.terms, c.key, c.context, c.fields),
        )
        for c in record.chunks
    ]
    db.executemany(f"INSERT INTO chunks VALUES ({_marks(range(14))})", rows)


def _marks(values: Collection[object]) -> str:
    return ",".join("?" * len(values))


def _groups(values: list[_Value]) -> Iterator[list[_Value]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
