"""The heart: change -> parse -> chunk -> embed -> upsert -> record.

Order is what keeps the index honest. Points go into the store and are flushed before the catalog shows their
document; only then do the points they replace go. A kill at any moment costs work, never truth.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from opentelemetry.trace import Tracer

from indexer import heap
from indexer.embed import EmbedderAway, EmbedderUnusable, Resting
from indexer.grow import Growth
from indexer.hits import Summary
from indexer.missing import Missing, devices_of, missing
from indexer.points import GROUP, upsert
from indexer.read import Moved, Reading, Unreadable
from indexer.records import Record, document_id
from indexer.run import (
    FileFailed,
    FileRead,
    Run,
    Tally,
    came_or_went,
    count,
    not_in,
    recorded,
    same,
    since,
    spelt_out,
    stat_of,
    told,
    touched,
    with_refusals,
)
from indexer.run_spans import TRACER, RunSpans
from indexer.sandbox import NoReader
from indexer.scan import Seen, look, scan
from indexer.search import Index
from indexer.store import StoreAway

logger = logging.getLogger("tandem.index")

CHUNK_TOKENS = 240
OVERLAP_TOKENS = 40
_RECORD_EVERY_S = 2.0

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


class Interrupted(Exception):
    """The run was ended by `interrupt`; what it had recorded stays."""


class Indexer:
    """One at a time brings the index in step with the folders. `read` gives one file's reading, see `sandbox`."""

    def __init__(
        self,
        index: Index,
        read: Read,
        excluded: Path | None = None,
        growth: Growth | None = None,
        tracer: Tracer = TRACER,
    ) -> None:
        self.index, self.growth = index, growth
        self._tracer = tracer
        self._growing: RunSpans | None = None  # of the growth under way, between two of its steps
        self._catalog = index.catalog
        self.read_file = read
        self._excluded = str(excluded) if excluded else None
        self._one_run = anyio.Lock()
        self._unused_vectors = True  # a kill may have left some
        self._roused = True  # opening takes memory too
        self.progress: Progress | None = None
        self.unlisted: tuple[str, ...] = ()
        self.restless: frozenset[str] = frozenset()  # files that kept changing while they were read
        self.waiting: set[str] = set()  # seen by the last run, and not recorded yet
        self.unsure = False  # deletions are held back for want of what the last run did not look at
        self._under_way = anyio.CancelScope()
        # Called with the documents that are not as they were, and with those of them that came or went.
        self.changed: Callable[[Collection[str], Collection[str]], Awaitable[object]] | None = None

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
        self.progress, self._roused = Progress(), True
        spans = RunSpans("index", self._tracer, files=True)
        with spans.unbroken():
            try:
                tally = await self._run(paths, accept_deletions, spans)
            finally:
                self.progress = None
            await _in_thread(self._catalog.set_meta, "as_of", now.isoformat(timespec="seconds"))
        summary = Summary(
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
        spans.done(summary)
        return summary

    async def forget(self, path: str) -> int:
        """Takes a root, or something within one, out of the index, and all that derives from it. How many documents
        went. Waits for a run under way, which may have listed them."""
        async with self._one_run:
            gone = await _in_thread(self._catalog.forget_for_good, path)
            await self._tell_changed(gone, gone)
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

    async def rest(self) -> None:
        """Gives back the memory that indexing needs and searching does not, unless a run is under way. The next run
        takes it again."""
        if self.progress or not self._roused:
            return
        async with self._one_run:
            self._roused = False
            for index in self._indexes():
                if isinstance(index.embedder, Resting):
                    await index.embedder.rest()
            await _in_thread(heap.trim)

    async def grow(self) -> int | None:
        """The next step of the index that grows beside the one that answers, between two runs.

        Returns how many texts were embedded; none when nothing is left to do: from then on that one answers.
        """
        async with self._one_run:
            if self.growth is None:
                return None
            self._roused = True
            spans, self._growing = self._growing or RunSpans("grow", self._tracer), None
            with spans.unbroken():
                embedded = await self.growth.step(spans)
            if embedded is not None:
                self._growing = spans
            else:
                spans.done()
                self.index, self.growth = self.growth.index, None
                self._unused_vectors = True
            return embedded

    def leave(self) -> None:
        """Ends the trace of a growth under way: another process goes on with it."""
        if self._growing:
            self._growing.left()
            self._growing = None

    async def _run(self, paths: Collection[str] | None, accept_deletions: bool, spans: RunSpans) -> Tally:
        roots, excluded = self._catalog.roots(), self.excluded
        if paths is None:
            found = await _in_thread(scan, roots, excluded)
        else:
            found = await _in_thread(look, paths, roots, excluded)
        found = spelt_out(found)
        if accept_deletions:  # a root that is not there any more either
            found = replace(found, unlisted=tuple(path for path in found.unlisted if os.path.lexists(path)))
        seen = found.files
        known = await _in_thread(self._catalog.known)
        changed = [path for path, stat in sorted(seen.items()) if not same(known.get(path), stat)]
        still_failed = sum(known[path].state == "failed" for path in seen.keys() - set(changed))
        tally = Tally(unchanged=len(seen) - len(changed) - still_failed, failed=still_failed)
        run = Run(known, seen, tally, spans)
        assert self.progress is not None
        self.progress.files = len(changed)
        self.waiting = {*changed, *(() if paths is None else not_in(found.looked, self.waiting))}
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

    async def _drop(self, gone: Missing, tally: Tally) -> None:
        tally.deleted = len(gone.deleted)
        tally.moved = gone.moved
        if gone.deleted:
            await _in_thread(self._catalog.forget, gone.deleted)
            await self._tell_changed(gone.deleted, gone.deleted)

    async def _tell(self, found: Seen, gone: Missing, run: Run, whole: bool) -> None:
        """What this run has to say beyond its documents."""
        looked = self._catalog.roots() if whole else found.looked
        self.unlisted = tuple(sorted({*found.unlisted, *(() if whole else not_in(looked, self.unlisted))}))
        self.restless = frozenset({*run.moved, *(() if whole else not_in(looked, self.restless))})
        if whole or gone.held:
            await _in_thread(self._catalog.set_meta, "held", gone.reason)
        self.unsure = not whole and bool(gone.held or (run.tally.added and self._catalog.meta("held")))
        await _in_thread(self._catalog.set_left_out, found.left_out, looked)
        if whole and gone.devices:
            await _in_thread(self._catalog.set_devices, gone.devices)

    async def _absorb_all(self, changed: Sequence[str], run: Run) -> None:
        if not changed:
            return
        send, receive = anyio.create_memory_object_stream[FileRead | FileFailed](GROUP)
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

    async def _read_all(
        self, paths: Sequence[str], run: Run, send: MemoryObjectSendStream[FileRead | FileFailed]
    ) -> None:
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

    async def _read(self, path: str, run: Run) -> FileRead | FileFailed | None:
        if self.progress:
            self.progress.reading = path
        at = time.time()
        try:
            return FileRead(path, await self.read_file(path), at, _ms_since(at))
        except FileNotFoundError:
            if "\\udc" in path:
                return FileFailed(path, run.seen[path], "its name is not valid UTF-8; rename it", at, 0)
            return None  # the next look finds it gone
        except Moved:
            run.moved.add(path)
            return None
        except Unreadable as error:
            return await self._failed(path, run, str(error), at)

    async def _failed(self, path: str, run: Run, reason: str, at: float) -> FileFailed | None:
        """What failed may be another file than the one that was seen, which may come back as it was."""
        read_ms = _ms_since(at)
        try:
            now, settled = await _in_thread(since, path, at, self._catalog.roots())
        except OSError:
            return None  # the next look finds it gone, or its folder closed
        if now == run.seen[path]:
            return FileFailed(path, now, reason, at, read_ms, settled)
        run.seen[path] = now
        run.moved.add(path)
        return None

    async def _absorb(self, receive: MemoryObjectReceiveStream[FileRead | FileFailed], run: Run) -> None:
        waiting: list[Record] = []  # in the store, not yet flushed
        last = time.monotonic()
        async with receive:
            while group := await _next_group(receive):
                await _in_thread(self._catalog.require_room)
                for item in group:
                    count(item, run)
                await self._touch([item for item in group if touched(item, run.known)])
                records = await _in_thread(recorded, [item for item in group if not touched(item, run.known)])
                waiting += await self._store_chunks(records, run)
                run.spans.read(told(item) for item in group if isinstance(item, FileRead))
                if time.monotonic() - last > _RECORD_EVERY_S:
                    await self._commit(waiting, run)
                    waiting, last = [], time.monotonic()
        await self._commit(waiting, run)

    async def _touch(self, items: Sequence[FileRead | FileFailed]) -> None:
        stats = {item.path: (stat_of(item.reading), item.at) for item in items if isinstance(item, FileRead)}
        if stats:
            await _in_thread(self._catalog.touch, stats)
            self._done(stats)

    async def _store_chunks(self, records: Sequence[Record], run: Run) -> Sequence[Record]:
        """Puts all of them into the store; returns the records, with what a model refused told in them."""
        refused: dict[bytes, str] = {}
        chunks = [(document_id(record.path), chunk) for record in records for chunk in record.chunks]
        for start in range(0, len(chunks), GROUP):
            some = chunks[start : start + GROUP]
            await _in_thread(self._catalog.announce, [chunk.id for _, chunk in some])
            refused_now: dict[bytes, str] = {}
            for index in self._indexes():
                embedded, refused_now = await upsert(index, some, run.spans)
                run.tally.embedded_chunks += embedded
            refused |= refused_now  # by the index that will answer longest
            run.spans.stored(len(some))
            if self.progress:
                self.progress.chunks += len(some)
        if self.progress:
            self.progress.files_done += len(records)
        return [with_refusals(record, refused) for record in records] if refused else records

    def _indexes(self) -> list[Index]:
        return [self.index, self.growth.index] if self.growth and self.growth.index is not self.index else [self.index]

    async def _commit(self, records: Sequence[Record], run: Run) -> None:
        if not records:
            return
        for index in self._indexes():
            await index.store.flush()
        await _in_thread(self._catalog.record, records, time.time())
        listing = [record.path for record in records if came_or_went(record, run.known)]
        await self._tell_changed([record.path for record in records], listing)
        self.waiting.difference_update(record.path for record in records)

    async def _tell_changed(self, paths: Collection[str], listing: Collection[str]) -> None:
        """What was made from these files may not outlive them."""
        if self.changed and paths:
            await self.changed(paths, listing)

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


async def _next_group(receive: MemoryObjectReceiveStream[FileRead | FileFailed]) -> list[FileRead | FileFailed]:
    """What has been read by now, up to a group's chunks; empty at the end."""
    group: list[FileRead | FileFailed] = []
    with suppress(anyio.EndOfStream, anyio.WouldBlock):
        group.append(await receive.receive())
        while sum(len(item.reading.chunks) for item in group if isinstance(item, FileRead)) < GROUP:
            group.append(receive.receive_nowait())
    return group


def _ms_since(at: float) -> float:
    return (time.time() - at) * 1000


async def _in_thread(function: Callable[..., _T], *args: object) -> _T:
    return await anyio.to_thread.run_sync(partial(function, *args))
