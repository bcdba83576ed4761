"""What the data folder says of itself, read without a trace in it, also while a daemon writes."""

import json
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bridge.folder import Folder, held
from indexer.records import Generation
from indexer.schema import SCHEMA

_STEPS = 10_000  # of SQLite's machine, between two looks at the clock


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that owns the data folder now; 0 and "?" where its lock does not tell."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} (`{self.command}`)" if self.pid else "another process"


@dataclass(frozen=True, slots=True)
class Recorded:
    """`schema` is None where there is no catalog. The rest is empty where it is another version's, or `problem` says
    why it cannot be read; `hangs`: it is not known either whether somebody holds the folder."""

    holder: Holder | None = None
    schema: int | None = None
    roots: tuple[str, ...] = ()
    generations: tuple[Generation, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict[str, str])
    documents: int = 0
    failed: int = 0
    stale: int = 0
    chunks: int = 0
    problem: str | None = None
    hangs: bool = False

    @property
    def answers(self) -> Generation | None:
        return next((one for one in self.generations if one.state == "answers"), None)


def look(folder: Folder) -> Recorded:
    """Hangs where the folder's disk does."""
    holder = _holder(folder) if held(folder) else None
    try:
        if not folder.catalog.exists():
            return Recorded(holder)
        with reading(folder, live=holder is not None) as db:
            return _recorded(db, holder)
    except (sqlite3.Error, OSError) as error:
        return Recorded(holder, problem=str(error))


def unsound(folder: Folder, limit_s: float) -> str | None:
    """What is wrong in the catalog's file, "" where nothing is, None where the limit was over before that was known.
    Raises sqlite3.Error where it cannot be read."""
    live = held(folder)
    found = _quick_check(folder, live, limit_s)
    # Without a lock the file was believed to stand still: it may be in a daemon's hands by now.
    return _quick_check(folder, True, limit_s) if found and not live and held(folder) else found


def _quick_check(folder: Folder, live: bool, limit_s: float) -> str | None:
    until = time.monotonic() + limit_s
    with reading(folder, live) as db:
        db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            rows = db.execute("PRAGMA quick_check(3)").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return None
        except sqlite3.DatabaseError as error:
            return str(error)
    found = " ".join(" ".join(row[0] for row in rows).split())
    return "" if found == "ok" else found


@contextmanager
def reading(folder: Folder, live: bool) -> Generator[sqlite3.Connection]:
    """The catalog. `live`: somebody has it open. SQLite would otherwise make files beside it and leave them there.
    Raises sqlite3.Error."""
    wal, shared = (folder.catalog.with_name(f"{folder.catalog.name}-{end}") for end in ("wal", "shm"))
    if live and wal.exists():
        how = "mode=ro"
    elif not wal.exists() or not wal.stat().st_size:
        how = "immutable=1"
    elif shared.exists():
        how = "mode=ro&readonly_shm=1"  # a process died, and its last writes are in the log beside it
    else:
        raise sqlite3.OperationalError(f"its last writes are still in {wal}; the next start takes them in")
    db = sqlite3.connect(f"{folder.catalog.as_uri()}?{how}", uri=True)
    try:
        yield db
    finally:
        db.close()


def _recorded(db: sqlite3.Connection, holder: Holder | None) -> Recorded:
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema != SCHEMA:
        return Recorded(holder, schema)
    db.execute("BEGIN")  # one moment for all of it
    documents, failed, stale = db.execute(
        "SELECT count(*) FILTER (WHERE state = 'indexed'), count(*) FILTER (WHERE state = 'failed'), "
        "count(*) FILTER (WHERE stale) FROM documents"
    ).fetchone()
    rows = db.execute("SELECT id, signature, dimensions, place, state, filled FROM generations ORDER BY id")
    return Recorded(
        holder,
        schema,
        roots=tuple(path for (path,) in db.execute("SELECT path FROM roots ORDER BY path")),
        generations=tuple(Generation(*row) for row in rows),
        meta=dict(db.execute("SELECT key, value FROM meta")),
        documents=documents,
        failed=failed,
        stale=stale,
        chunks=db.execute("SELECT count(*) FROM chunks").fetchone()[0],
    )


def _holder(folder: Folder) -> Holder:
    try:
        told = json.loads(folder.lock.read_text())
        return Holder(int(told["pid"]), str(told["command"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(0, "?")
