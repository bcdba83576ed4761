"""What one run over the folders knows and finds out: pure, but for `since`, which asks the disk about one file, and for
what `count` tells the log and the trace."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer.read import Reading
from indexer.records import ChunkRow, Known, Record, Stat, chunk_id, searched, vector_key
from indexer.run_spans import File, RunSpans
from indexer.sandbox import NoReader
from indexer.scan import Seen, beneath

logger = logging.getLogger("tandem.index")

_TICK_S = 0.02  # a time stamp may be that much older than the change
_RACY_NS = 2_000_000_000  # a file system's clock may be this coarse (FAT)


@dataclass(slots=True)
class Tally:
    added: int = 0
    changed: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    embedded_chunks: int = 0


@dataclass(frozen=True, slots=True)
class FileFailed:
    """`at` and `read_ms`: as for `FileRead`. Not `settled`: it is to be read again at the next look at it."""

    path: str
    stat: Stat
    reason: str
    at: float
    read_ms: float
    settled: bool = True


@dataclass(frozen=True, slots=True)
class FileRead:
    """`at`: when its reading began, for what was written in the same tick. `read_ms`: how long it took."""

    path: str
    reading: Reading
    at: float
    read_ms: float


@dataclass(slots=True)
class Run:
    """What one run knows and finds out."""

    known: Mapping[str, Known]
    seen: dict[str, Stat]
    tally: Tally
    spans: RunSpans
    hashes: dict[str, str] = field(default_factory=dict[str, str])  # of what was read, by path
    moved: set[str] = field(default_factory=set[str])  # kept changing while they were read
    no_reader: NoReader | None = None


def count(item: FileRead | FileFailed, run: Run) -> None:
    known = run.known.get(item.path)
    if isinstance(item, FileFailed):
        run.tally.failed += 1
        if not known or known.state != "failed":
            logger.warning("%r: not indexed: %s", item.path, item.reason)
        if not _failed_before(item, known):
            run.spans.failed(told(item), item.reason)
        return
    run.hashes[item.path] = item.reading.sha256
    if known is None:
        run.tally.added += 1
    elif known.sha256 == item.reading.sha256:
        run.tally.unchanged += 1
    else:
        run.tally.changed += 1


def _failed_before(item: FileFailed, known: Known | None) -> bool:
    """It is read again only because it was written so shortly before."""
    return known is not None and known.state == "failed" and known.stat == item.stat and not known.stale


def came_or_went(record: Record, known: Mapping[str, Known]) -> bool:
    """Whether a list of the documents is another one with this record."""
    before = known.get(record.path)
    return (before is not None and before.state == "indexed") == record.failed


def told(item: FileRead | FileFailed) -> File:
    """As a trace tells of it."""
    if isinstance(item, FileFailed):
        return File(item.path, item.stat.size, 0, item.at, item.read_ms)
    return File(item.path, item.reading.size, len(item.reading.chunks), item.at, item.read_ms)


def recorded(items: Sequence[FileRead | FileFailed]) -> list[Record]:
    return [record(item) for item in items]


def record(item: FileRead | FileFailed) -> Record:
    if isinstance(item, FileFailed):
        at = item.at if item.settled else 0
        return Record(item.path, item.stat, "", None, (), at, item.reason, failed=True)
    reading, seen = item.reading, dict[str, int]()
    rows: list[ChunkRow] = []
    for ordinal, chunk in enumerate(reading.chunks):
        text = searched(chunk.context, chunk.text)
        occurrence = seen[text] = seen.get(text, -1) + 1
        rows.append(
            ChunkRow(
                id=chunk_id(item.path, text, occurrence, chunk.terms + chunk.fields),
                ordinal=ordinal,
                text=chunk.text,
                start=chunk.start,
                end=chunk.end,
                start_line=chunk.start_line,
                end_line=chunk.end_line,
                page=chunk.page,
                heading=chunk.heading,
                terms=chunk.terms,
                key=vector_key(text),
                context=chunk.context,
                fields=chunk.fields,
            )
        )
    return Record(item.path, stat_of(reading), reading.sha256, reading.title, rows, item.at, language=reading.language)


def with_refusals(record: Record, refused: Mapping[bytes, str]) -> Record:
    reasons = [refused[chunk.key] for chunk in record.chunks if chunk.key in refused]
    if not reasons:
        return record
    told = f"{len(reasons)} of its {len(record.chunks)} chunks can be found by their words only: {reasons[0]}"
    return replace(record, reason=told)


def readable(path: str) -> str:
    """A name that is not UTF-8 can be neither stored nor shown: its odd bytes are spelt out."""
    return path.encode(errors="backslashreplace").decode()


def spelt_out(found: Seen) -> Seen:
    return Seen(
        files={readable(path): stat for path, stat in found.files.items()},
        unlisted=tuple(map(readable, found.unlisted)),
        left_out={readable(path): readable(why) for path, why in found.left_out.items()},
        looked=frozenset(map(readable, found.looked)),
    )


def touched(item: FileRead | FileFailed, known: Mapping[str, Known]) -> bool:
    """The same content under a new time stamp."""
    if not isinstance(item, FileRead) or (before := known.get(item.path)) is None:
        return False
    return not before.stale and before.state == "indexed" and before.sha256 == item.reading.sha256


def stat_of(reading: Reading) -> Stat:
    return Stat(reading.size, reading.mtime_ns, reading.ctime_ns, reading.inode)


def not_in(looked: Collection[str], paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not any(beneath(path, place) for place in looked)]


def since(path: str, at: float, roots: Collection[str]) -> tuple[Stat, bool]:
    """What it is now, and whether the folders above it are as they were at that time: one that was closed or moved away
    for a moment has left no trace in the file's own stat. Raises OSError."""
    now = os.lstat(path)
    above = [folder for folder in map(str, Path(path).parents) if any(beneath(folder, root) for root in roots)]
    newest = max((os.lstat(folder).st_ctime_ns for folder in above), default=0)
    return Stat(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino), newest < (at - _TICK_S) * 1e9


def same(known: Known | None, stat: Stat) -> bool:
    """Unchanged without reading. A file written in the tick in which it was read is read again, also where its mtime
    has been set back since."""
    if known is None or known.stale or known.stat != stat:
        return False
    return known.read_at * 1e9 - max(stat.mtime_ns, stat.ctime_ns) > _RACY_NS
