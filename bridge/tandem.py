"""Everything that one index needs, in this process: `bridge.service.Service` without a socket between."""

from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from bridge import metrics
from bridge.answer import Limits, Route
from bridge.cache import Cache, CacheEntry, CacheStats
from bridge.caching import opened_cache
from bridge.changes import Changes
from bridge.contents import Contents
from bridge.counts import Counts
from bridge.documents import assembled
from bridge.folder import Folder
from bridge.homing import homing
from bridge.judge import Judge, Judged
from bridge.keeping import Keeping
from bridge.looking import Looking
from bridge.opening import open_index
from bridge.questions import Questions
from bridge.rating import rating
from bridge.reranking import opened_reranker
from bridge.reusing import Reusing
from bridge.routes import engine_of, open_routes
from bridge.service import READ_TOKENS, Changed, Document, Excerpt, NotFound, Readable, Status, Unavailable
from bridge.settings import Settings
from bridge.shelf import excerpt, readable
from bridge.status import status_of, warnings_of
from indexer.catalog import Catalog
from indexer.hits import Freshness
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS, Indexer
from indexer.rerank.reranker import Reranker
from indexer.sandbox import LIMITS, reading
from inference_server.prompt import PROMPT_VERSION
from observability.evaluating import judged
from observability.traces import Off, Traces

_WHOLE = 1 << 31  # a document has fewer chunks


class Tandem:
    """Open with `opened`. Every method may be called at once by many."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        indexer: Indexer,
        routes: Sequence[Route],
        traces: Traces,
        tasks: anyio.abc.TaskGroup,
        problem: str | None = None,
        cache: Cache | None = None,
        reranker: Reranker | None = None,
        background: bool = False,
    ) -> None:
        self._settings, self._catalog, self._routes, self._traces = settings, catalog, routes, traces
        self._cache = cache
        self.problem = problem
        self.indexer = indexer
        indexer.changed = self._tell_changed
        self._changes = Changes()
        self.hearing = self._changes.hearing
        self.stopped = anyio.Event()

        self.keeping = Keeping(catalog, indexer, poll_all=settings.poll == "all")
        self.grown = self.keeping.grown
        contents = Contents(catalog, indexer, self.keeping)
        self.documents, self.add, self.index = contents.documents, contents.add, contents.index
        self.reindex, self.forget = contents.reindex, contents.forget
        self.pause, self.resume = contents.pause, contents.resume

        self._counts = Counts()
        most = settings.max_concurrent_per_process
        self._looking = Looking(catalog, indexer, self.keeping, self._counts, reranker, most)
        self.search = self._looking.search
        limits, top_k = Limits(settings.rag_score_threshold, settings.result_timeout_sec), settings.rag_top_k
        reusing = Reusing(cache, partial(engine_of, settings, routes[0]), PROMPT_VERSION, top_k) if cache else None
        # Who asks once and leaves does not stay for a verdict.
        judges = background and settings.judge and settings.engine != "extractive"
        tell, wanted = self._judged, self._wants_verdicts
        self._judge = Judge(tasks, routes[0].wire, settings.judge, wanted, tell) if judges else None
        look, ended = self._looking.look, self._counts.ended
        self.questions = Questions(tasks, look, routes, limits, top_k, reusing, ended, self._judge)
        self.begin, self.follow, self.cancel = self.questions.begin, self.questions.follow, self.questions.cancel

    async def rate(self, trace_id: str, up: bool, comment: str | None = None) -> None:
        said = rating(trace_id, up, comment)
        if reason := self._traces.annotations_problem:
            raise Unavailable(f"the rating was not taken: {reason}")
        self._traces.annotate(said)
        self._counts.rated(up)

    async def cache_entries(self) -> Sequence[CacheEntry]:
        return await self._cache.entries() if self._cache else ()

    async def clear_cache(self) -> int:
        return await self._cache.clear() if self._cache else 0

    async def cache_stats(self) -> CacheStats:
        assert self._cache
        return await self._cache.stats()

    async def document(self, document: str) -> Document:
        number = int(document) if document.isdecimal() and document.isascii() and len(document) < 20 else -1
        chunks = self._catalog.neighbours(number, 0, _WHOLE) if number < 1 << 63 else []
        if not chunks:
            raise NotFound(f"no document {document[:64]!r} is in the index: search again")
        return assembled(document, chunks)

    async def read(
        self, uri: str, around: str | None = None, max_tokens: int = READ_TOKENS, whole: bool = False
    ) -> Excerpt:
        freshness = Freshness(self._catalog.meta("as_of"), self.keeping.pending)
        # Words are looked for in all of a document.
        return await anyio.to_thread.run_sync(excerpt, self._catalog, uri, around, max_tokens, whole, freshness)

    async def readable(
        self, after: str = "", limit: int = 100, prefix: str = "", containing: str = ""
    ) -> Sequence[Readable]:
        return await anyio.to_thread.run_sync(readable, self._catalog, after, limit, prefix, containing)

    async def _tell_changed(self, paths: Collection[str], listing: Collection[str]) -> None:
        if self._cache:
            await self._cache.purge(paths)
        self._changes.tell(Changed(frozenset(paths), frozenset(listing)))

    async def status(self) -> Status:
        route, traces_at = self._routes[0], self._traces.shown_at
        return await status_of(self._catalog, self.indexer, self.keeping, route, self._warnings(), traces_at)

    async def metrics(self) -> bytes:
        """As Prometheus reads them."""
        catalog = self._catalog
        failed, as_of = len(catalog.failed()), catalog.meta("as_of")
        index = metrics.Index(*catalog.counts(), pending=self.keeping.pending, failed=failed, as_of=as_of)
        told = [*self._counts.lines(), *metrics.of_traces(self._traces, on=not isinstance(self._traces, Off))]
        async with metrics.offices(self._settings) as offices:
            return await metrics.page(index, offices, told)

    def _warnings(self) -> Iterator[str]:
        if self.problem:
            yield self.problem
        yield from warnings_of(self._catalog, self.indexer, self.keeping)
        if self._traces.problem:
            yield f"traces: {self._traces.problem}"
        if reason := self._judges_nothing():
            yield reason

    def _judges_nothing(self) -> str | None:
        settings, traces = self._settings, self._traces
        if not settings.judge:
            return None
        if settings.engine == "extractive":
            return "TANDEM_JUDGE judges nothing: the extractive engine has no model; set TANDEM_ENGINE, or unset it"
        if not traces.problem and (reason := traces.annotations_problem):
            return f"TANDEM_JUDGE judges nothing: {reason}"
        return self._judge.problem if self._judge else None

    def _wants_verdicts(self) -> bool:
        return not self.stopped.is_set() and self._traces.annotations_problem is None

    def _judged(self, one: Judged) -> None:
        for annotation in judged(one.retrieved, one.verdict.helpful, one.checked, one.verdict.supported):
            self._traces.annotate(annotation)

    async def filled(self) -> None:
        """A store that lost its points, or never had any, is filled before anybody searches in it."""
        growth = self.indexer.growth
        if growth and growth.index is self.indexer.index:
            try:
                await self.grown()
            except Unavailable as error:
                self.problem = f"the store could not be filled: {error}"

    async def stop(self, if_idle: bool = False) -> bool:
        """Indexing under way is no reason to stay: what is recorded stays recorded, and the next daemon goes on."""
        if if_idle and (self._looking.is_at_work or self.questions.are_open):
            return False
        self.stopped.set()
        return True


@asynccontextmanager
async def opened(settings: Settings, traces: Traces, *, background: bool = False) -> AsyncGenerator[Tandem]:
    """The caller holds the data folder's lock. `background`: indexing leaves the processor to others.

    Raises EmbedderAway, EmbedderUnusable, StoreAway or StoreUnusable."""
    folder = Folder(settings.data)
    async with AsyncExitStack() as stack:
        catalog = Catalog(folder.catalog)
        stack.callback(catalog.close)
        home = await stack.enter_async_context(homing(traces))
        parts = await open_index(settings, folder, catalog, stack, home, background)
        reranker = await opened_reranker(settings, stack)
        limits = msgspec.structs.replace(LIMITS, file_bytes=settings.max_file_mb << 20)
        reader = await stack.enter_async_context(
            reading(parts.tokenizer, size=CHUNK_TOKENS, overlap=OVERLAP_TOKENS, limits=limits, background=background)
        )
        indexer = Indexer(parts.index, reader.read, settings.data, parts.growth)
        cache = await stack.enter_async_context(opened_cache(settings, folder, catalog, parts.index.embedder))
        stack.callback(indexer.leave)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stopped = anyio.Event()
        routes = await open_routes(settings, stack, tasks, stopped, home)
        await indexer.recover()
        try:
            tandem = Tandem(
                settings, catalog, indexer, routes, traces, tasks, parts.problem, cache, reranker, background
            )
            stack.callback(tandem.questions.leave)
            yield tandem
        finally:
            await home.leave()
            tasks.cancel_scope.cancel()
