"""The heart: change -> parse -> chunk -> embed -> upsert -> record.

Order is what keeps the index honest. Points go into the store and are flushed before the catalog shows their
document; only then do the points they replace go. A kill at any moment costs work, never truth.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_process
import anyio.to_thread
import numpy as np
from anyio import BrokenWorkerProcess, CapacityLimiter
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from indexer import lexical
from indexer.catalog import ChunkRow, Known, Record, Stat, chunk_id, document_id, vector_key
from indexer.embed import EmbedderAway, EmbedderUnusable, Vectors
from indexer.hits import Summary
from indexer.read import Moved, Reading, Unreadable, read
from indexer.scan import beneath, look, scan
from indexer.search import Index
from indexer.store import Point, StoreAway

logger = logging.getLogger("tandem.index")

CHUNK_TOKENS = 240
OVERLAP_TOKENS = 40
MAX_FILE_BYTES = 64 << 20
PARSE_LIMIT_S = 120
_GROUP = 64  # chunks embedded together, so that texts of like length share a batch
_RECORD_EVERY_S = 2.0
_RACY_NS = 2_000_000_000  # a file system's clock may be this coarse (FAT)

_T = TypeVar("_T")


@dataclass(slots=True)
class Progress:
    """How far the run under way is; the indexer alone writes it."""

    files: int = 0
    files_done: int = 0
    chunks: int = 0
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
    stat: Stat
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Read:
    """`at`: when its reading began, for what was written in the same tick."""

    path: str
    reading: Reading
    at: float


class Indexer:
    """One at a time brings the index in step with the folders. `tokenizer` is the WordPiece file chunks are cut by."""

    def __init__(self, index: Index, tokenizer: Path, excluded: Path | None = None) -> None:
        self._catalog, self._store, self._embedder = index.catalog, index.store, index.embedder
        self._tokenizer = str(tokenizer)
        self._excluded = str(excluded) if excluded else None
        self._one_run, self._one_parser = anyio.Lock(), CapacityLimiter(1)
        self.progress: Progress | None = None
        self.unlisted: tuple[str, ...] = ()

    @property
    def pending(self) -> int:
        return self.progress.files - self.progress.files_done if self.progress else 0

    async def recover(self) -> None:
        """Deletes points that a crash left in the store without their document."""
        await self._settle()

    async def sync(self, paths: Collection[str] | None = None) -> Summary:
        """Looks at the roots (or at these paths in them) and makes the index say what they say.

        Raises EmbedderAway, EmbedderUnusable, StoreAway: what is recorded until then stays, the rest is found
        again by the next run.
        """
        async with self._one_run:
            began, now = time.monotonic(), datetime.now(UTC)
            self.progress = Progress()
            try:
                tally = await self._run(paths)
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
                seconds=round(time.monotonic() - began, 3),
            )

    async def _run(self, paths: Collection[str] | None) -> _Tally:
        roots = self._catalog.roots()
        if paths is None:
            found = await _in_thread(scan, roots, self._excluded)
        else:
            found = await _in_thread(look, paths, roots, self._excluded)
        self.unlisted = found.unlisted
        known = await _in_thread(self._catalog.known)
        seen = {_readable(path): stat for path, stat in found.files.items()}
        asked = known if paths is None else _among(known, paths)
        changed = [path for path, stat in sorted(seen.items()) if not _same(known.get(path), stat)]
        gone = [path for path in asked if path not in seen and not _beneath_any(path, found.unlisted)]
        still_failed = sum(known[path].state == "failed" for path in seen.keys() - set(changed))
        tally = _Tally(unchanged=len(seen) - len(changed) - still_failed, failed=still_failed, deleted=len(gone))
        assert self.progress is not None
        self.progress.files = len(changed)
        await self._absorb_all(changed, seen, known, tally, Counter(known[path].sha256 for path in gone))
        # Last, so that a renamed file finds its vectors still there.
        if gone:
            await _in_thread(self._catalog.forget, gone)
        await self._settle()
        if gone or tally.changed:
            await _in_thread(self._catalog.purge_vectors)
        return tally

    async def _absorb_all(
        self,
        changed: Sequence[str],
        seen: Mapping[str, Stat],
        known: Mapping[str, Known],
        tally: _Tally,
        gone_hashes: Counter[str],
    ) -> None:
        if not changed:
            return
        send, receive = anyio.create_memory_object_stream[_Read | _Failure](_GROUP)
        failure: EmbedderAway | EmbedderUnusable | StoreAway | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._read_all, changed, seen, send)
            try:
                await self._absorb(receive, known, tally, gone_hashes)
            except (EmbedderAway, EmbedderUnusable, StoreAway) as error:
                failure = error
                group.cancel_scope.cancel()
        if failure:
            raise failure

    async def _read_all(
        self, paths: Sequence[str], seen: Mapping[str, Stat], send: MemoryObjectSendStream[_Read | _Failure]
    ) -> None:
        async with send:
            for path in paths:
                try:
                    item = await self._read(path, seen[path])
                except FileNotFoundError:
                    item = None  # the next look finds it gone
                except Moved:
                    item = None  # it is being written; its own event brings us back
                if item is None:
                    self._done()
                    continue
                try:
                    await send.send(item)
                except anyio.BrokenResourceError:
                    return  # nobody absorbs any more, and who did says why

    async def _read(self, path: str, stat: Stat) -> _Read | _Failure:
        """In a child process: a parser that loops, swells or crashes costs its file only."""
        try:
            at = time.time()
            with anyio.fail_after(PARSE_LIMIT_S):
                reading = await anyio.to_process.run_sync(
                    read,
                    path,
                    self._tokenizer,
                    CHUNK_TOKENS,
                    OVERLAP_TOKENS,
                    MAX_FILE_BYTES,
                    cancellable=True,
                    limiter=self._one_parser,
                )
            return _Read(path, reading, at)
        except FileNotFoundError:
            if "\\udc" in path:
                return _Failure(stat, path, "its name is not valid UTF-8; rename it")
            raise
        except Unreadable as error:
            return _Failure(stat, path, str(error))
        except TimeoutError:
            return _Failure(stat, path, f"reading it took longer than {PARSE_LIMIT_S} s")
        except BrokenWorkerProcess:
            return _Failure(stat, path, "the parser crashed on it")

    async def _absorb(
        self,
        receive: MemoryObjectReceiveStream[_Read | _Failure],
        known: Mapping[str, Known],
        tally: _Tally,
        gone_hashes: Counter[str],
    ) -> None:
        waiting: list[Record] = []  # in the store, not yet flushed
        last = time.monotonic()
        async with receive:
            while group := await _next_group(receive):
                for item in group:
                    _count(item, known, tally, gone_hashes)
                await self._touch([item for item in group if _touched(item, known)])
                records = [self._record(item) for item in group if not _touched(item, known)]
                tally.embedded_chunks += await self._store_chunks(records)
                waiting += records
                if time.monotonic() - last > _RECORD_EVERY_S:
                    await self._commit(waiting)
                    waiting, last = [], time.monotonic()
        await self._commit(waiting)

    async def _touch(self, items: Sequence[_Read | _Failure]) -> None:
        stats = {item.path: (_stat(item.reading), item.at) for item in items if isinstance(item, _Read)}
        if stats:
            await _in_thread(self._catalog.touch, stats)
        for _ in stats:
            self._done()

    def _record(self, item: _Read | _Failure) -> Record:
        if isinstance(item, _Failure):
            return Record(item.path, item.stat, "", None, (), time.time(), item.reason)
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
                    key=vector_key(self._embedder.signature, chunk.text),
                )
            )
        return Record(item.path, _stat(reading), reading.sha256, reading.title, rows, item.at)

    async def _store_chunks(self, records: Sequence[Record]) -> int:
        """Embeds what is not known yet and upserts all; returns how many texts were embedded."""
        embedded = 0
        chunks = [(document_id(record.path), chunk) for record in records for chunk in record.chunks]
        for start in range(0, len(chunks), _GROUP):
            some = chunks[start : start + _GROUP]
            vectors = self._catalog.vectors({chunk.key for _, chunk in some})
            missing = {chunk.key: chunk.text for _, chunk in some if chunk.key not in vectors}
            if missing:
                vectors |= await self._embedded(missing)
                embedded += len(missing)
            self._catalog.announce([chunk.id for _, chunk in some])
            await self._store.upsert([_point(document, chunk, vectors[chunk.key]) for document, chunk in some])
            if self.progress:
                self.progress.chunks += len(some)
        return embedded

    async def _embedded(self, texts: Mapping[bytes, str]) -> dict[bytes, Vectors]:
        made = await self._embedder.documents(list(texts.values()))
        # As the catalog will give them back: the first index and a later one hold the same numbers.
        rounded = made.astype(np.float16).astype(np.float32)
        vectors = dict(zip(texts, rounded, strict=True))
        self._catalog.keep_vectors(vectors)
        return vectors

    async def _commit(self, records: Sequence[Record]) -> None:
        if not records:
            return
        await self._store.flush()
        await _in_thread(self._catalog.record, records, time.time())
        for _ in records:
            self._done()

    async def _settle(self) -> None:
        doubtful = await _in_thread(self._catalog.doubtful)
        if doubtful:
            await self._store.delete(doubtful)
            await self._store.flush()
        self._catalog.settled()

    def _done(self) -> None:
        if self.progress:
            self.progress.files_done += 1


async def _next_group(receive: MemoryObjectReceiveStream[_Read | _Failure]) -> list[_Read | _Failure]:
    """What has been read by now, up to a group's chunks; empty at the end."""
    group: list[_Read | _Failure] = []
    with suppress(anyio.EndOfStream, anyio.WouldBlock):
        group.append(await receive.receive())
        while sum(len(item.reading.chunks) for item in group if isinstance(item, _Read)) < _GROUP:
            group.append(receive.receive_nowait())
    return group


def _count(item: _Read | _Failure, known: Mapping[str, Known], tally: _Tally, gone_hashes: Counter[str]) -> None:
    if isinstance(item, _Failure):
        tally.failed += 1
        logger.warning("%r: not indexed: %s", item.path, item.reason)
    elif item.path not in known:
        tally.added += 1
        if gone_hashes[item.reading.sha256]:  # each file that went makes one of those that came a moved one
            gone_hashes[item.reading.sha256] -= 1
            tally.moved += 1
    elif known[item.path].sha256 == item.reading.sha256:
        tally.unchanged += 1
    else:
        tally.changed += 1


def _beneath_any(path: str, folders: Collection[str]) -> bool:
    return any(beneath(path, folder) for folder in folders)


def _readable(path: str) -> str:
    """A name that is not UTF-8 can be neither stored nor shown: its odd bytes are spelt out."""
    return path.encode(errors="backslashreplace").decode()


def _touched(item: _Read | _Failure, known: Mapping[str, Known]) -> bool:
    """The same content under a new time stamp."""
    return isinstance(item, _Read) and item.path in known and known[item.path].sha256 == item.reading.sha256


def _stat(reading: Reading) -> Stat:
    return Stat(reading.size, reading.mtime_ns, reading.ctime_ns, reading.inode)


def _same(known: Known | None, stat: Stat) -> bool:
    """Unchanged without reading. A file written in the tick in which it was read is read again."""
    if known is None or known.stat != stat:
        return False
    return known.read_at * 1e9 - stat.mtime_ns > _RACY_NS


def _among(known: Mapping[str, Known], paths: Collection[str]) -> list[str]:
    return [path for path in known if path in paths or any(str(parent) in paths for parent in Path(path).parents)]


def _point(document: int, chunk: ChunkRow, vector: Vectors) -> Point:
    sparse = lexical.document_vector(lexical.unpack(chunk.terms))
    return Point(chunk.id, vector, sparse, document)


async def _in_thread(function: Callable[..., _T], *args: object) -> _T:
    return await anyio.to_thread.run_sync(partial(function, *args))
