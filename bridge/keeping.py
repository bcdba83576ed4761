"""The daemon's indexing: watches the folders, keeps the index in step, lets a new one grow in between."""

import logging
import sys
import time
from contextlib import suppress

import anyio
import anyio.abc

from bridge.progress import in_words
from bridge.service import Unavailable
from indexer.catalog import Catalog
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.hits import Summary
from indexer.pipeline import Indexer, Interrupted
from indexer.sandbox import NoReader
from indexer.search import Index
from indexer.store import StoreAway
from indexer.watch import Watch, watching

logger = logging.getLogger("tandem")

RESCAN_S = 600
INDEX_FAILS = (EmbedderAway, EmbedderUnusable, NoReader, StoreAway)
_RETRIES_S = (2, 5, 15, 60)
_QUIET_S = 10  # without a change, until what no file uses is dropped, and memory that no search needs is given back
_LOOK_UP_S = 30  # how often a clock is looked at for a sleep of the whole machine
_SLEPT_S = 5
_RETIRE_S = 60  # longer than any search that still reads the former index


class Keeping:
    """`run` it in a task; the rest may be called meanwhile, or without. What fails is said in `problem` and tried
    again."""

    def __init__(self, catalog: Catalog, indexer: Indexer, poll_all: bool = False) -> None:
        self._catalog, self._indexer, self._poll_all = catalog, indexer, poll_all
        self.watch: Watch | None = None
        self.problem: str | None = None
        self.begins = False  # the first run is under way: who searches means what it will find
        self._resumed = anyio.Event()
        self._under_way: anyio.CancelScope | None = None
        self._tasks: anyio.abc.TaskGroup
        self._grown_chunks = 0

    @property
    def pending(self) -> int:
        """Files that changed and are not in step yet."""
        return self._indexer.pending + (self.watch.pending if self.watch else 0)

    @property
    def paused(self) -> str | None:
        """Since when."""
        return self._catalog.meta("paused")

    def pause(self, since: str) -> None:
        """What the run under way has recorded stays."""
        self._catalog.set_meta("paused", since)
        self.interrupt()

    def interrupt(self) -> None:
        """Ends the run under way, whoever began it; the next one looks at everything."""
        self._indexer.interrupt()
        if self._under_way:
            self._under_way.cancel()

    def resume(self) -> None:
        self._catalog.set_meta("paused", None)
        self._resumed.set()

    async def look_again(self) -> None:
        """The roots, or what is forgotten in them, have changed."""
        if self.watch:
            await self.watch.watch(self._catalog.roots(), self._indexer.excluded)

    async def grown(self) -> int:
        """Lets the index that the settings ask for grow to its end, where they ask for another than there is.
        Returns how many texts were embedded. Raises Unavailable."""
        embedded, before = 0, self._indexer.index
        try:
            while (step := await self._indexer.grow()) is not None:
                embedded += step
        except INDEX_FAILS as error:
            raise Unavailable(str(error)) from error
        if self._indexer.index is not before:
            await retire(self._catalog, before)
        await self._indexer.purge()
        return embedded

    async def run(self) -> None:
        """Until cancelled."""
        # Armed before the scan: what changes meanwhile is seen by one of the two.
        async with (
            watching(poll_all=self._poll_all) as self.watch,
            anyio.create_task_group() as self._tasks,
        ):
            self.begins = bool(self._catalog.roots()) and not self.paused
            dirty: set[str] | None = None
            failures, rescan = 0, 0.0
            while True:
                if self.paused:
                    self.begins, dirty = False, None
                    await self._until_resumed()
                looked, dirty = dirty, None
                try:
                    with anyio.CancelScope() as self._under_way:
                        if looked is None:
                            await self.look_again()
                            rescan = anyio.current_time() + RESCAN_S
                        _tell(await self._indexer.sync(looked))
                        self.problem, failures = None, 0
                        if self._indexer.unsure:  # a folder's two names may come apart
                            continue
                        dirty = await self._next(self.watch, rescan)
                    continue
                except Interrupted:
                    continue
                except INDEX_FAILS as error:
                    if not failures:
                        logger.warning("indexing waits: %s", error)
                    self.problem = f"indexing waits: {error}"
                except Exception as error:
                    # Whatever it was: answers go on from what the index holds.
                    logger.exception("indexing failed; it is tried again")
                    self.problem = f"indexing failed and is tried again ({type(error).__name__}: {error})"
                self.begins = False
                await anyio.sleep(_RETRIES_S[min(failures, len(_RETRIES_S) - 1)])
                failures += 1

    async def _next(self, watch: Watch, rescan: float) -> set[str] | None:
        """What to look at next: these paths, or everything. Until then the index grows, or is tidied."""
        asleep = _asleep_s()
        while self._indexer.growth and not watch.pending and anyio.current_time() < rescan:
            try:
                await self._grow()
            except INDEX_FAILS as error:
                self.problem = f"the index that grows waits: {error}"
                rescan = min(rescan, anyio.current_time() + _RETRIES_S[-1])
                break
        with anyio.move_on_after(_QUIET_S):
            return await watch.dirty()
        with suppress(*INDEX_FAILS):  # it is only tidying
            await self._indexer.purge()
        # However busy or quiet the folders are, all of them are looked at from time to time; and after a sleep of the
        # machine, through which a disk may have come or gone without an event.
        while (left_s := rescan - anyio.current_time()) > 0 and _asleep_s() - asleep < _SLEPT_S:
            await self._indexer.rest()  # here, as others may ask for a run too
            with anyio.move_on_after(min(left_s, _LOOK_UP_S)):
                return await watch.dirty()
        return None

    async def _grow(self) -> None:
        before = self._indexer.index
        if (embedded := await self._indexer.grow()) is not None:
            self._grown_chunks += embedded
        elif self._indexer.index is not before:
            signature = self._indexer.index.embedder.signature
            logger.info("the index of %s now answers; %d chunks embedded for it", signature, self._grown_chunks)
            self._tasks.start_soon(self._retire, before)

    async def _retire(self, former: Index) -> None:
        await anyio.sleep(_RETIRE_S)
        try:
            await retire(self._catalog, former)
        except Exception:
            # Nothing hangs on it but room on the disk.
            logger.exception("what is left of a former index is removed at the next start")

    async def _until_resumed(self) -> None:
        while self.paused:
            self._resumed = anyio.Event()
            await self._resumed.wait()


async def retire(catalog: Catalog, former: Index) -> None:
    """Removes a store that answers no more, and the vectors of its model."""
    try:
        await former.store.destroy()
    except StoreAway as error:
        logger.warning("what is left of a former index is removed at the next start: %s", error)
        return
    for one in catalog.generations():
        if one.state == "retired":
            catalog.drop_generation(one.id)


def _tell(done: Summary) -> None:
    if done.added or done.changed or done.moved or done.deleted:
        logger.info("indexed: %s", in_words(done))


def _asleep_s() -> float:
    """How long the machine has slept since it was started: one clock goes on meanwhile, the other stands still."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.time() - time.monotonic()
