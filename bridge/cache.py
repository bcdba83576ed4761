"""An answer is given again only where asking again could not tell anything else.

An entry is reused when all of this holds, and in doubt it is not:

- Its question was asked of the same: filters, engine, prompt, passages asked for, the model of the vectors (`Scope`).
- Its question's vector is near enough, and `likeness` finds no difference between the two questions.
- Every passage that it cites is among those found **now**, unchanged: the same text at the same place of the same
  file. (Or it is part of one found now, in a file that is the same byte for byte: neighbours are merged differently.)
- Nothing found now was out of its sight: a passage that its own search did not find stands in a file which was
  recorded before that search began. So a file that is new, or was edited, since then and matters to this question
  makes the answer anew; one that mattered too little to be found would not have been read for a new answer either.
- The best passage found now stands in a file that its search found too.

Why the other passages may differ: they were all there when the entry was made, the question is the same, and the
sentences of the answer rest on passages that this question finds as well. What the fifth place holds is chance.

An edit, a deletion and a better file are seen twice: at the next question, by the passages; and by `purge`, which
removes every entry that was given a passage of a file that is gone or changed, its text included.
"""

import hashlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import anyio
import anyio.to_thread
import msgspec
import numpy as np

from bridge import cache_rows
from bridge.cache_rows import Entry, Rows, evidence
from bridge.likeness import difference
from bridge.service import Answer, CacheEntry, CacheStats
from bridge.standing import moved_on, why_not
from indexer.bm25 import Sparse
from indexer.embed import Vectors
from indexer.filters import Filters
from indexer.hits import Hit
from indexer.store import Point, Store, StoreAway, StoreUnusable

logger = logging.getLogger("tandem")

NEAREST = 8  # entries that are looked at for one question
_BATCH = 256
_NO_WORDS = Sparse(np.zeros(0, np.uint32), np.zeros(0, np.float32))

OpenStore = Callable[[str, int], AbstractAsyncContextManager[Store]]
# The files among these that are indexed now: path -> (sha256, when they were recorded in seconds since the epoch).
Recorded = Callable[[Sequence[str]], Mapping[str, tuple[str, float]]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an answer depends on besides its question and its passages. `prompt`: a hash of the rules that the model is
    given; `model`: the signature of the embedder that made the question's vector."""

    filters: Filters
    engine: str
    prompt: str
    model: str
    top_k: int

    @property
    def key(self) -> int:
        return _number(msgspec.json.encode([self.filters, self.engine, self.prompt, self.model, self.top_k]))


@dataclass(frozen=True, slots=True)
class Reused:
    """`answer` as it was kept: its freshness, timings and request are those of then."""

    answer: Answer
    question: str
    similarity: float


Miss = Literal["nothing found", "nothing near", "another question", "passages moved on", "unfit", "off"]
Decided = Literal["reused", Miss]


@dataclass(frozen=True, slots=True)
class Missed:
    """Why no entry could be used, in words, and of which kind that is."""

    reason: str
    kind: Miss = "off"


Decision = Reused | Missed


@asynccontextmanager
async def open_cache(
    file: Path,
    open_store: OpenStore,
    recorded: Recorded,
    *,
    name: str,
    dimensions: int,
    signature: str,
    ttl_s: float,
    most: int,
    threshold: float,
) -> AsyncGenerator["Cache"]:
    """`file` is its SQLite file; `name` the collection's, to which the model's is added. Never fails for a store that
    is away: `stats().problem` then says so, and every question is a miss. With `ttl_s` or `most` 0 it is off, and what
    was kept is removed."""
    if not ttl_s or not most:
        await anyio.to_thread.run_sync(cache_rows.remove, file)
        yield Cache(None, None, recorded, signature, dimensions, ttl_s, most, threshold, "the cache is switched off")
        return
    async with AsyncExitStack() as stack:
        rows, store, problem = None, None, None
        try:
            rows = await anyio.to_thread.run_sync(Rows, file)
            stack.callback(rows.close)
            rows.remove(rows.others(signature))
            store = await _filled(rows, partial(open_store, f"{name}-{_short(signature)}", dimensions), stack)
        except (StoreAway, StoreUnusable, sqlite3.Error, OSError) as error:
            problem = f"answers are not kept: {error}"
            logger.warning("%s", problem)
        cache = Cache(rows, store, recorded, signature, dimensions, ttl_s, most, threshold, problem)
        await cache.purge()
        yield cache


class Cache:
    """Open with `open_cache`. Every method may be called at once by many, and none of them fails for the cache's own
    sake."""

    def __init__(
        self,
        rows: Rows | None,
        store: Store | None,
        recorded: Recorded,
        signature: str,
        dimensions: int,
        ttl_s: float,
        most: int,
        threshold: float,
        problem: str | None = None,
    ) -> None:
        self._rows, self._store, self._recorded = rows, store, recorded
        self._signature, self._dimensions = signature, dimensions
        self._ttl_s, self._most, self._threshold = ttl_s, most, threshold
        self._problem = problem
        self._counts: Counter[str] = Counter()

    async def find(self, question: str, vector: Vectors | None, hits: Sequence[Hit], scope: Scope) -> Decision:
        """`vector`: of `question`, by the scope's model; `hits`: the passages that an answer would be made from now."""
        decision = await self._guarded(self._find(question, vector, hits, scope))
        decision = decision or Missed(self._problem or "the cache could not be read")
        self._counts["reused" if isinstance(decision, Reused) else "missed"] += 1
        return decision

    async def keep(
        self,
        question: str,
        vector: Vectors | None,
        hits: Sequence[Hit],
        scope: Scope,
        answer: Answer,
        *,
        asked_at: float,
    ) -> str | None:
        """Keeps an answer made from `hits` (in the order of its citations' numbers) to a question whose search began at
        `asked_at`, seconds since the epoch. Returns why it was not kept, in words; none where it was."""
        reason = why_not(answer, hits) or self._unfit(vector, scope)
        if reason:
            return reason
        assert vector is not None
        cited = {one.n for one in answer.citations}
        entry = Entry(
            id=_number(f"{scope.key}\n{' '.join(question.split())}".encode(errors="replace")),
            signature=self._signature,
            scope=scope.key,
            question=question,
            vector=vector.astype(np.float32),
            engine=answer.engine,
            answer=msgspec.json.encode(answer),
            asked_at=asked_at,
            evidence=tuple(evidence(hit, n in cited) for n, hit in enumerate(hits, 1)),
            used=time.time(),
        )
        kept = await self._guarded(self._keep(entry))
        return None if kept else (self._problem or "the cache could not be written")

    async def purge(self, paths: Collection[str] | None = None) -> int:
        """Removes the entries that were given a passage of one of these files (of any file, without `paths`) which is
        gone or another one now. How many. To be called after files were deleted, edited or forgotten."""
        return await self._guarded(self._purge(paths)) or 0

    async def entries(self) -> list[CacheEntry]:
        """The last used first."""
        found = await self._guarded(self._in_thread(Rows.all)) or []
        return [
            CacheEntry(
                one.question,
                one.engine,
                tuple(dict.fromkeys(passage.path for passage in one.evidence if passage.cited)),
                one.asked_at,
                one.used,
                one.uses,
            )
            for one in found
        ]

    async def clear(self) -> int:
        """Removes all entries; how many there were."""
        ids = [one.id for one in await self._guarded(self._in_thread(Rows.all)) or []]
        return await self._guarded(self._drop(ids)) or 0

    async def stats(self) -> CacheStats:
        entries = await self._guarded(self._in_thread(Rows.count)) or 0
        size, uses = await self._guarded(self._in_thread(Rows.size)) or (0, 0)
        return CacheStats(
            entries=int(entries),
            most=self._most,
            bytes=size,
            uses=uses,
            reused=self._counts["reused"],
            missed=self._counts["missed"],
            ttl_s=self._ttl_s,
            threshold=self._threshold,
            problem=self._problem,
        )

    async def _find(self, question: str, vector: Vectors | None, hits: Sequence[Hit], scope: Scope) -> Decision:
        if reason := self._unfit(vector, scope):
            return Missed(reason)
        if not hits:
            return Missed("no passage was found", "nothing found")
        assert self._store is not None and vector is not None
        await self._expire()
        found = (await self._store.search(vector, _NO_WORDS, NEAREST, [scope.key])).dense
        entries = await self._in_thread(Rows.get, [id_ for id_, _ in found])
        if lost := [id_ for id_, _ in found if id_ not in entries]:
            await self._store.delete(lost)  # a purge that the store did not hear of
        # The store ranks by coarse vectors.
        near = sorted(((float(one.vector @ vector), one) for one in entries.values()), key=lambda pair: -pair[0])
        if not near or near[0][0] < self._threshold:
            nearest = f" (the nearest has {near[0][0]:.3f})" if near else ""
            return Missed(f"no entry over {self._threshold:g}{nearest}", "nothing near")
        recorded = self._recorded(list({hit.path for hit in hits}))
        missed: list[Missed] = []
        for similarity, entry in near:
            if similarity < self._threshold or entry.scope != scope.key:
                continue
            if unlike := difference(entry.question, question):
                missed.append(Missed(unlike, "another question"))
            elif moved := moved_on(entry, hits, recorded):
                missed.append(Missed(moved, "passages moved on"))
            else:
                await self._in_thread(Rows.use, entry.id, time.time())
                return Reused(msgspec.json.decode(entry.answer, type=Answer), entry.question, similarity)
        return missed[0] if missed else Missed("no entry of this scope", "nothing near")

    async def _keep(self, entry: Entry) -> bool:
        assert self._store is not None
        await self._in_thread(Rows.put, entry)
        await self._store.upsert([_point(entry)])
        # A file that went while the answer was made: whoever purged then found nothing of it.
        await self._purge({one.path for one in entry.evidence})
        if (over := int(await self._in_thread(Rows.count)) - self._most) > 0:
            await self._drop(await self._in_thread(Rows.least_used, over))
        return True

    async def _purge(self, paths: Collection[str] | None) -> int:
        looked = list(paths) if paths is not None else await self._in_thread(Rows.paths)
        recorded: dict[str, tuple[str, float]] = {}
        for start in range(0, len(looked), _BATCH):
            recorded |= self._recorded(looked[start : start + _BATCH])
        return await self._drop(await self._in_thread(Rows.outdated, looked, recorded))

    async def _expire(self) -> None:
        """Entries of the future come from a clock that was set back since: what is newer than they are cannot be
        told any more."""
        now = time.time()
        await self._drop(await self._in_thread(Rows.outside, now - self._ttl_s, now + 1))

    async def _drop(self, ids: Sequence[int]) -> int:
        if ids:  # first the text of answers, then what leads to it
            await self._in_thread(Rows.remove, ids)
            if self._store is not None:
                await self._store.delete(ids)
                await self._store.flush()
        return len(ids)

    def _unfit(self, vector: Vectors | None, scope: Scope) -> str | None:
        if self._store is None:
            return self._problem
        if vector is None:
            return "the question has no vector"
        if scope.model != self._signature or len(vector) != self._dimensions:
            return "another model embeds the questions now"
        return None

    async def _in_thread(self, call: Callable[..., _T], *args: object) -> _T:
        if self._rows is None:
            raise StoreAway("the cache is switched off")
        return await anyio.to_thread.run_sync(partial(call, self._rows, *args))

    async def _guarded(self, work: Awaitable[_T]) -> _T | None:
        """An answer does not fail because it cannot be kept or looked up."""
        try:
            return await work
        except Exception as error:  # noqa: BLE001 (an entry of another version, a damaged page: all of it is a miss)
            if self._rows is not None:
                logger.warning("the cache: %s: %s", type(error).__name__, error)
            return None


async def _filled(rows: Rows, opened: Callable[[], AbstractAsyncContextManager[Store]], stack: AsyncExitStack) -> Store:
    """The store with a point for each entry, as after a crash between the two it may not be."""
    store = await stack.enter_async_context(opened())
    await store.publish()
    entries = await anyio.to_thread.run_sync(rows.all)
    if await store.count() == len(entries):
        return store
    await store.destroy()
    store = await stack.enter_async_context(opened())
    for start in range(0, len(entries), _BATCH):
        await store.upsert([_point(entry) for entry in entries[start : start + _BATCH]])
    await store.flush()
    return store


def _point(entry: Entry) -> Point:
    return Point(entry.id, entry.vector, _NO_WORDS, entry.scope)


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1


def _short(signature: str) -> str:
    return hashlib.blake2b(signature.encode(), digest_size=6).hexdigest()
