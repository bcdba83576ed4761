"""The heart: change -> parse -> chunk -> embed -> upsert -> record.

Order is what keeps the index honest. Points go into the store and are flushed before the catalog shows their
document; only then do the points they replace go. A kill at any moment costs work, never truth.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.grow import Growth
from indexer.hits import Summary
from indexer.missing import Missing, devices_of, missing
from indexer.points import GROUP, upsert
from indexer.read import Moved, Reading, Unreadable
from indexer.records import ChunkRow, Known, Record, Stat, chunk_id, document_id, vector_key
from indexer.sandbox import NoReader
from indexer.scan import Seen, beneath, look, scan
from indexer.search import Index
from indexer.store import StoreAway

logger = logging.getLogger("tandem.index")

CHUNK_TOKENS = 240
OVERLAP_TOKENS = 40
_RECORD_EVERY_S = 2.0
_TICK_S = 0.02  # a time stamp may be that much older than the change
_RACY_NS = 2_000_000_000  # a file system's clock may be this coarse (FAT)

Read = Callable[[str], Awaitable[Reading]]
_T = TypeVar("_T")


@dataclass(slots=True)
class Progress:
    """How far the run under way is; the indexer alone writes it. `files_done` are in the store."""

    files: int = 0
    files_done: int = 0
    chunks: int = 0
    reading: str | None = None
    started: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Tally:
    added: int = 0
    changed: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    embedded_chunks: int = 0


@dataclass(frozen=True, slots=True)
class _Failure:
    """`at`: as for `_Read`; 0: it is to be read again at the next look at it."""

    path: str
    stat: Stat
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class _Read:
    """`at`: when its reading began, for what was written in the same tick."""

    path: str
    reading: Reading
    at: float


@dataclass(slots=True)
class _Run:
    """What one run knows and finds out."""

    known: Mapping[str, Known]
    seen: dict[str, Stat]
    tally: _Tally
    hashes: dict[str, str] = field(default_factory=dict[str, str])  # of what was read, by path
    moved: set[str] = field(default_factory=set[str])  # kept changing while they were read
    no_reader: NoReader | None = None


class Interrupted(Exception):
    """The run was ended by `interrupt`; what it had recorded stays."""


class Indexer:
    """One at a time brings the index in step with the folders. `read` gives one file's reading, see `sandbox`."""

    def __init__(self, index: Index, read: Read, excluded: Path | None = None, growth: Growth | None = None) -> None:
        self.index, self.growth = index, growth
        self._catalog = index.catalog
        self.read_file = read
        self._excluded = str(excluded) if excluded else None
        self._one_run = anyio.Lock()
        self._unused_vectors = True  # a kill may have left some
        self.progress: Progress | None = None
        self.unlisted: tuple[str, ...] = ()
        self.restless: frozenset[str] = frozenset()  # files that kept changing while they were read
        self.waiting: set[str] = set()  # seen by the last run, and not recorded yet
        self._under_way = anyio.CancelScope()

    @property
    def pending(self) -> int:
        return len(self.waiting.union(self.restless, self._catalog.stale()))

    @property
    def excluded(self) -> list[str]:
        return [*([self._excluded] if self._excluded else []), *self._catalog.forgotten()]

    async def recover(self) -> None:
        """Deletes points that a crash left in the store without their document."""
        await self._settle()

    async def sync(self, paths: Collection[str] | None = None, *, accept_deletions: bool = False) -> Summary:
        """Looks at the roots (or at these paths in them) and makes the index say what they say.

        Raises EmbedderAway, EmbedderUnusable, NoReader, StoreAway or Interrupted: what is recorded until then stays,
        the rest is found again by the next run.
        """
        async with self._one_run:
            with anyio.CancelScope() as self._under_way:
                return await self._summary(paths, accept_deletions)
            raise Interrupted("indexing was ended by `tandem pause` or `tandem forget`; what it had done stays")

    def interrupt(self) -> None:
        """Ends the run under way, whoever began it."""
        self._under_way.cancel()

    async def _summary(self, paths: Collection[str] | None, accept_deletions: bool) -> Summary:
        began, now = time.monotonic(), datetime.now(UTC)
        self.progress = Progress()
        try:
            tally = await self._run(paths, accept_deletions)
        finally:
            self.progress = None
        await _in_thread(self._catalog.set_meta, "as_of", now.isoformat(timespec="seconds"))
        return Summary(
            added=tally.added - tally.moved,
            changed=tally.changed,
            moved=tally.moved,
            deleted=tally.deleted - tally.moved,
            unchanged=tally.unchanged,
            failed=tally.failed,
            embedded_chunks=tally.embedded_chunks,
            pending=len(self.restless),
            seconds=round(time.monotonic() - began, 3),
        )

    async def forget(self, path: str) -> int:
        """Takes a root, or something within one, out of the index, and all that derives from it. How many documents
        went. Waits for a run under way, which may have listed them."""
        async with self._one_run:
            gone = await _in_thread(self._catalog.forget_for_good, path)
            await self._settle()
            self._unused_vectors = True
        await self.purge()
        return len(gone)

    async def purge(self) -> None:
        """Drops the vectors that no document uses and the store's dead points. For quiet times: until then a file
        that comes back, or that moved in two steps, finds its vectors."""
        async with self._one_run:
            if self._unused_vectors:
                await _in_thread(self._catalog.purge_vectors)
                await self.index.store.tidy()
                self._unused_vectors = False

    async def grow(self) -> int | None:
        """The next step of the index that grows beside the one that answers, between two runs.

        Returns how many texts were embedded; none when nothing is left to do: from then on that one answers.
        """
        async with self._one_run:
            if self.growth is None:
                return None
            embedded = await self.growth.step()
            if embedded is None:
                self.index, self.growth = self.growth.index, None
                self._unused_vectors = True
            return embedded

    async def _run(self, paths: Collection[str] | None, accept_deletions: bool) -> _Tally:
        roots, excluded = self._catalog.roots(), self.excluded
        if paths is None:
            found = await _in_thread(scan, roots, excluded)
        else:
            found = await _in_thread(look, paths, roots, excluded)
        found = _spelt_out(found)
        if accept_deletions:  # a root that is not there any more either
            found = replace(found, unlisted=tuple(path for path in found.unlisted if os.path.lexists(path)))
        seen = found.files
        known = await _in_thread(self._catalog.known)
        changed = [path for path, stat in sorted(seen.items()) if not _same(known.get(path), stat)]
        still_failed = sum(known[path].state == "failed" for path in seen.keys() - set(changed))
        run = _Run(known, seen, _Tally(unchanged=len(seen) - len(changed) - still_failed, failed=still_failed))
        assert self.progress is not None
        self.progress.files = len(changed)
        self.waiting = {*changed, *(() if paths is None else _not_in(found.looked, self.waiting))}
        await self._absorb_all(changed, run)
        again = sorted(run.moved)
        run.moved = set()
        self.progress.files += len(again)
        await self._absorb_all(again, run)
        # Last, so that a renamed file finds its vectors still there.
        now = await _in_thread(devices_of, roots)
        gone = missing(known, run.hashes, found, seen, self._catalog.devices(), now, accept_deletions)
        await self._drop(gone, run.tally)
        await self._settle()
        await self._tell(found, gone, run, whole=paths is None)
        self._unused_vectors |= bool(gone.deleted or run.tally.changed)
        return run.tally

    async def _drop(self, gone: Missing, tally: _Tally) -> None:
        tally.deleted = len(gone.deleted)
        tally.moved = gone.moved
        if gone.deleted:
            await _in_thread(self._catalog.forget, gone.deleted)

    async def _tell(self, found: Seen, gone: Missing, run: _Run, whole: bool) -> None:
        """What this run has to say beyond its documents."""
        looked = self._catalog.roots() if whole else found.looked
        self.unlisted = tuple(sorted({*found.unlisted, *(() if whole else _not_in(looked, self.unlisted))}))
        self.restless = frozenset({*run.moved, *(() if whole else _not_in(looked, self.restless))})
        if whole or gone.held:
            await _in_thread(self._catalog.set_meta, "held", gone.reason)
        await _in_thread(self._catalog.set_left_out, found.left_out, looked)
        if whole and gone.devices:
            await _in_thread(self._catalog.set_devices, gone.devices)

    async def _absorb_all(self, changed: Sequence[str], run: _Run) -> None:
        if not changed:
            return
        send, receive = anyio.create_memory_object_stream[_Read | _Failure](GROUP)
        failure: EmbedderAway | EmbedderUnusable | NoReader | StoreAway | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._read_all, changed, run, send)
            try:
                await self._absorb(receive, run)
            except (EmbedderAway, EmbedderUnusable, StoreAway) as error:
                failure = error
                group.cancel_scope.cancel()
        if failure := failure or run.no_reader:
            raise failure

    async def _read_all(self, paths: Sequence[str], run: _Run, send: MemoryObjectSendStream[_Read | _Failure]) -> None:
        async with send:
            for path in paths:
                try:
                    item = await self._read(path, run)
                except NoReader as error:  # what is read by now is recorded, then it is raised
                    run.no_reader = error
                    return
                if item is None:
                    self._done([path])
                    continue
                try:
                    await send.send(item)
                except anyio.BrokenResourceError:
                    return  # nobody absorbs any more, and who did says why

    async def _read(self, path: str, run: _Run) -> _Read | _Failure | None:
        if self.progress:
            self.progress.reading = path
        at = time.time()
        try:
            return _Read(path, await self.read_file(path), at)
        except FileNotFoundError:
            if "\\udc" in path:
                return _Failure(path, run.seen[path], "its name is not valid UTF-8; rename it", at)
            return None  # the next look finds it gone
        except Moved:
            run.moved.add(path)
            return None
        except Unreadable as error:
            return await self._failed(path, run, str(error), at)

    async def _failed(self, path: str, run: _Run, reason: str, at: float) -> _Failure | None:
        """What failed may be another file than the one that was seen, which may come back as it was."""
        try:
            now, settled = await _in_thread(_since, path, at, self._catalog.roots())
        except OSError:
            return None  # the next look finds it gone, or its folder closed
        if now == run.seen[path]:
            return _Failure(path, now, reason, at if settled else 0)
        run.seen[path] = now
        run.moved.add(path)
        return None

    async def _absorb(self, receive: MemoryObjectReceiveStream[_Read | _Failure], run: _Run) -> None:
        waiting: list[Record] = []  # in the store, not yet flushed
        last = time.monotonic()
        async with receive:
            while group := await _next_group(receive):
                await _in_thread(self._catalog.require_room)
                for item in group:
                    _count(item, run)
                await self._touch([item for item in group if _touched(item, run.known)])
                records = await _in_thread(_records, [item for item in group if not _touched(item, run.known)])
                waiting += await self._store_chunks(records, run.tally)
                if time.monotonic() - last > _RECORD_EVERY_S:
                    await self._commit(waiting)
                    waiting, last = [], time.monotonic()
        await self._commit(waiting)

    async def _touch(self, items: Sequence[_Read | _Failure]) -> None:
        stats = {item.path: (_stat(item.reading), item.at) for item in items if isinstance(item, _Read)}
        if stats:
            await _in_thread(self._catalog.touch, stats)
            self._done(stats)

    async def _store_chunks(self, records: Sequence[Record], tally: _Tally) -> Sequence[Record]:
        """Puts all of them into the store; returns the records, with what a model refused told in them."""
        refused: dict[bytes, str] = {}
        chunks = [(document_id(record.path), chunk) for record in records for chunk in record.chunks]
        for start in range(0, len(chunks), GROUP):
            some = chunks[start : start + GROUP]
            await _in_thread(self._catalog.announce, [chunk.id for _, chunk in some])
            refused_now: dict[bytes, str] = {}
            for index in self._indexes():
                embedded, refused_now = await upsert(index, some)
                tally.embedded_chunks += embedded
            refused |= refused_now  # by the index that will answer longest
            if self.progress:
                self.progress.chunks += len(some)
        if self.progress:
            self.progress.files_done += len(records)
        return [_with_refusals(record, refused) for record in records] if refused else records

    def _indexes(self) -> list[Index]:
        return [self.index, self.growth.index] if self.growth and self.growth.index is not self.index else [self.index]

    async def _commit(self, records: Sequence[Record]) -> None:
        if not records:
            return
        for index in self._indexes():
            await index.store.flush()
        await _in_thread(self._catalog.record, records, time.time())
        self.waiting.difference_update(record.path for record in records)

    async def _settle(self) -> None:
        doubtful = await _in_thread(self._catalog.doubtful)
        if doubtful:
            for index in self._indexes():
                await index.store.delete(doubtful)
                await index.store.flush()
        await _in_thread(self._catalog.settled, doubtful)

    def _done(self, paths: Collection[str]) -> None:
        self.waiting.difference_update(paths)
        if self.progress:
            self.progress.files_done += len(paths)


async def _next_group(receive: MemoryObjectReceiveStream[_Read | _Failure]) -> list[_Read | _Failure]:
    """What has been read by now, up to a group's chunks; empty at the end."""
    group: list[_Read | _Failure] = []
    with suppress(anyio.EndOfStream, anyio.WouldBlock):
        group.append(await receive.receive())
        while sum(len(item.reading.chunks) for item in group if isinstance(item, _Read)) < GROUP:
            group.append(receive.receive_nowait())
    return group


def _count(item: _Read | _Failure, run: _Run) -> None:
    known = run.known.get(item.path)
    if isinstance(item, _Failure):
        run.tally.failed += 1
        if not known or known.state != "failed":
            logger.warning("%r: not indexed: %s", item.path, item.reason)
        return
    run.hashes[item.path] = item.reading.sha256
    if known is None:
        run.tally.added += 1
    elif known.sha256 == item.reading.sha256:
        run.tally.unchanged += 1
    else:
        run.tally.changed += 1


def _records(items: Sequence[_Read | _Failure]) -> list[Record]:
    return [_record(item) for item in items]


def _record(item: _Read | _Failure) -> Record:
    if isinstance(item, _Failure):
        return Record(item.path, item.stat, "", None, (), item.at, item.reason, failed=True)
    reading, seen = item.reading, dict[str, int]()
    rows: list[ChunkRow] = []
    for ordinal, chunk in enumerate(reading.chunks):
        occurrence = seen[chunk.text] = seen.get(chunk.text, -1) + 1
        rows.append(
            ChunkRow(
                id=chunk_id(item.path, chunk.text, occurrence),
                ordinal=ordinal,
                text=chunk.text,
                start=chunk.start,
                end=chunk.end,
                start_line=chunk.start_line,
                end_line=chunk.end_line,
                page=chunk.page,
                heading=chunk.heading,
                terms=chunk.terms,
                key=vector_key(chunk.text),
            )
        )
    return Record(item.path, _stat(reading), reading.sha256, reading.title, rows, item.at)


def _with_refusals(record: Record, refused: Mapping[bytes, str]) -> Record:
    reasons = [refused[chunk.key] for chunk in record.chunks if chunk.key in refused]
    if not reasons:
        return record
    told = f"{len(reasons)} of its {len(record.chunks)} chunks can be found by their words only: {reasons[0]}"
    return replace(record, reason=told)


def _readable(path: str) -> str:
    """A name that is not UTF-8 can be neither stored nor shown: its odd bytes are spelt out."""
    return path.encode(errors="backslashreplace").decode()


def _spelt_out(found: Seen) -> Seen:
    return Seen(
        files={_readable(path): stat for path, stat in found.files.items()},
        unlisted=tuple(map(_readable, found.unlisted)),
        left_out={_readable(path): _readable(why) for path, why in found.left_out.items()},
        looked=frozenset(map(_readable, found.looked)),
    )


def _touched(item: _Read | _Failure, known: Mapping[str, Known]) -> bool:
    """The same content under a new time stamp."""
    if not isinstance(item, _Read) or (before := known.get(item.path)) is None:
        return False
    return not before.stale and before.state == "indexed" and before.sha256 == item.reading.sha256


def _stat(reading: Reading) -> Stat:
    return Stat(reading.size, reading.mtime_ns, reading.ctime_ns, reading.inode)


def _not_in(looked: Collection[str], paths: Iterable[str]) -> list[str]:
    return [path for path in paths if not any(beneath(path, place) for place in looked)]


def _since(path: str, at: float, roots: Collection[str]) -> tuple[Stat, bool]:
    """What it is now, and whether the folders above it are as they were at that time: one that was closed or moved away
    for a moment has left no trace in the file's own stat. Raises OSError."""
    now = os.lstat(path)
    above = [folder for folder in map(str, Path(path).parents) if any(beneath(folder, root) for root in roots)]
    newest = max((os.lstat(folder).st_ctime_ns for folder in above), default=0)
    return Stat(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino), newest < (at - _TICK_S) * 1e9


def _same(known: Known | None, stat: Stat) -> bool:
    """Unchanged without reading. A file written in the tick in which it was read is read again, also where its mtime
    has been set back since."""
    if known is None or known.stale or known.stat != stat:
        return False
    return known.read_at * 1e9 - max(stat.mtime_ns, stat.ctime_ns) > _RACY_NS


async def _in_thread(function: Callable[..., _T], *args: object) -> _T:
    return await anyio.to_thread.run_sync(partial(function, *args))
