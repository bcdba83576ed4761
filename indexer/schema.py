"""The catalog's tables, and how those of an older version become these.

`SCHEMA` is kept in the file; raise it when the tables change, and add the step that leads there.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from indexer.lexical import unpack
from indexer.records import vector_key

SCHEMA = 4
EVERY = -1  # among the terms: what every chunk holds
_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots(path TEXT PRIMARY KEY, device TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten(path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS left_out(path TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents(
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('indexed', 'failed')), reason TEXT, title TEXT,
    indexed_at REAL NOT NULL, read_at REAL NOT NULL, stale INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS stale_documents ON documents(path) WHERE stale;
CREATE INDEX IF NOT EXISTS told_documents ON documents(path, state, reason) WHERE reason IS NOT NULL;
CREATE TABLE IF NOT EXISTS chunks(
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, start_line INTEGER, end_line INTEGER,
    page INTEGER, heading TEXT, text TEXT NOT NULL, terms BLOB NOT NULL, vector BLOB NOT NULL,
    context TEXT NOT NULL DEFAULT '', fields BLOB NOT NULL DEFAULT x'');
CREATE UNIQUE INDEX IF NOT EXISTS chunks_in_order ON chunks(document, ordinal);
CREATE INDEX IF NOT EXISTS chunks_by_vector ON chunks(vector);
CREATE TABLE IF NOT EXISTS frequencies(term INTEGER PRIMARY KEY, chunks INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS models(id INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS vectors(
    model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE, key BLOB NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (model, key));
CREATE TABLE IF NOT EXISTS generations(
    id INTEGER PRIMARY KEY AUTOINCREMENT, signature TEXT NOT NULL, dimensions INTEGER NOT NULL, place TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('answers', 'grows', 'retired')), filled INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS doubtful(id INTEGER PRIMARY KEY);
"""


def prepare(db: sqlite3.Connection, file: Path) -> None:
    """Makes the tables, or brings those of an older version up to date; a copy of it as it was stays beside it.

    Raises sqlite3.Error, and leaves the file as it was.
    """
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema > SCHEMA or schema < 0:
        raise sqlite3.DatabaseError(f"it was made by another version of Tandem (tables {schema}, here {SCHEMA})")
    if 0 < schema < SCHEMA:
        copied(file, file.with_name(f"{file.name}.v{schema}"))
    db.execute("PRAGMA journal_mode=WAL")
    # NORMAL: a power cut may lose the last commits, which only means indexing those files again.
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA foreign_keys=ON")
    # What is deleted is overwritten, not only unlinked.
    db.execute("PRAGMA secure_delete=ON")
    if schema == SCHEMA:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in range(max(schema, 1), SCHEMA) if schema else ():
            _STEPS[step](db)
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def copied(file: Path, to: Path) -> None:
    """A consistent copy, also while others write. Raises sqlite3.Error."""
    with closing(sqlite3.connect(to)) as copy, closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as own:
        own.backup(copy)


def _from_1(db: sqlite3.Connection) -> None:
    """Vectors were kept by (model, text) in one key; documents to be read again had lost their stat."""
    db.execute("ALTER TABLE roots ADD COLUMN device TEXT")
    db.execute("ALTER TABLE documents ADD COLUMN stale INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE documents SET stale = 1 WHERE mtime_ns = -1")
    db.execute("ALTER TABLE vectors RENAME TO vectors_1")
    for statement in _TABLES.split(";"):
        db.execute(statement)
    word = db.execute("SELECT value FROM meta WHERE key = 'embedding'").fetchone()
    if word:
        db.execute("INSERT INTO models VALUES (1, ?)", (json.loads(word[0])[0],))
    keys = [(id_, old, vector_key(text)) for id_, old, text in db.execute("SELECT id, vector, text FROM chunks")]
    if word:
        rows = [(new, old) for _, old, new in keys]
        db.executemany(
            "INSERT OR IGNORE INTO vectors SELECT 1, ?, vectors_1.vector FROM vectors_1 WHERE vectors_1.key = ?", rows
        )
    db.executemany("UPDATE chunks SET vector = ? WHERE id = ?", [(new, id_) for id_, _, new in keys])
    db.execute("DROP TABLE vectors_1")


def _from_2(_db: sqlite3.Connection) -> None:
    """Indexes are new: the tables' own statements make them."""


def _from_3(db: sqlite3.Connection) -> None:
    """Chunks had neither context nor fields, and nobody counted how many of them hold a term."""
    db.execute("ALTER TABLE chunks ADD COLUMN context TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE chunks ADD COLUMN fields BLOB NOT NULL DEFAULT x''")
    db.execute("CREATE TABLE IF NOT EXISTS frequencies(term INTEGER PRIMARY KEY, chunks INTEGER NOT NULL)")
    db.executemany(
        "INSERT INTO frequencies VALUES (?, ?)", held(db.execute("SELECT terms, fields FROM chunks")).items()
    )


def held(rows: Iterable[tuple[bytes, bytes]]) -> Counter[int]:
    """By term how many of the chunks hold it, each given as its terms and its fields; as EVERY, how many there are."""
    counts = Counter[int]()
    for terms, fields in rows:
        counts.update({EVERY, *unpack(terms).tolist(), *unpack(fields).tolist()})
    return counts


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3}
