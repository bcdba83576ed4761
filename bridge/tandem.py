"""Everything that one index needs, in this process: `bridge.service.Service` without a socket between."""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from bridge import metrics
from bridge.answer import Limits, Route
from bridge.cache import Cache, CacheEntry, CacheStats
from bridge.caching import opened_cache
from bridge.changes import Changes
from bridge.citing import NO_FOLDER
from bridge.counts import Counts
from bridge.documents import assembled
from bridge.folder import Folder
from bridge.homing import homing
from bridge.judge import Judge, Judged
from bridge.keeping import INDEX_FAILS, Keeping, retire
from bridge.opening import open_index
from bridge.progress import now
from bridge.questions import Questions
from bridge.rating import rating
from bridge.reranking import opened_reranker
from bridge.reusing import Reusing
from bridge.routes import engine_of, open_routes
from bridge.service import (
    MAX_LIMIT,
    MAX_QUERY_CHARS,
    READ_TOKENS,
    BadInput,
    Changed,
    Document,
    DocumentRow,
    Excerpt,
    FailedFile,
    Growing,
    NotFound,
    Place,
    Readable,
    Reader,
    Status,
    Unavailable,
)
from bridge.settings import Settings
from bridge.shelf import excerpt, readable
from indexer import scan, search
from indexer.catalog import Catalog
from indexer.filters import EVERYTHING, BadFilter, Filters
from indexer.hits import Found, Freshness, Summary
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS, Indexer, Interrupted
from indexer.rerank.reranker import Reranker
from indexer.sandbox import LIMITS, reading
from indexer.search import Index, Looked
from indexer.store import StoreAway
from inference_server.prompt import PROMPT_VERSION
from observability.evaluating import judged
from observability.traces import Off, Traces
from wire import QueueDown

logger = logging.getLogger("tandem")

_SESSION_CHARS = 200
_WHOLE = 1 << 31  # a document has fewer chunks
_FIRST_FILES_S = 10  # a search waits so long for an index that holds nothing yet; a new daemon's, for a small folder


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
        self.problem = problem
        self.indexer = indexer
        indexer.changed = self._tell_changed
        self._changes = Changes()
        self.stopped = anyio.Event()
        self._whole_until = time.monotonic() + _FIRST_FILES_S
        self.keeping = Keeping(catalog, indexer, poll_all=settings.poll == "all")
        self._dispatch = anyio.CapacityLimiter(settings.max_concurrent_per_process)
        self._cache, self._reranker = cache, reranker
        limits, top_k = Limits(settings.rag_score_threshold, settings.result_timeout_sec), settings.rag_top_k
        reusing = Reusing(cache, partial(engine_of, settings, routes[0]), PROMPT_VERSION, top_k) if cache else None
        self._counts = Counts()
        # Who asks once and leaves does not stay for a verdict.
        judges = background and settings.judge and settings.engine != "extractive"
        tell, wanted = self._judged, self._wants_verdicts
        self._judge = Judge(tasks, routes[0].wire, settings.judge, wanted, tell) if judges else None
        self.questions = Questions(tasks, self._look, routes, limits, top_k, reusing, self._counts.ended, self._judge)

    async def search(
        self,
        query: str,
        limit: int = 10,
        filters: Filters = EVERYTHING,
        explain: bool = False,
        *,
        merge: bool = True,
    ) -> Found:
        looked = await self._look(query, limit=limit, filters=filters, merge=merge, mark=merge, explain=explain)
        return looked.found

    async def _look(
        self,
        query: str,
        *,
        limit: int,
        filters: Filters,
        merge: bool = True,
        mark: bool = False,
        explain: bool = False,
    ) -> Looked:
        _check(query, filters.within)
        if not 1 <= limit <= MAX_LIMIT and merge:
            raise BadInput(f"limit was expected to be 1 to {MAX_LIMIT}, it is {limit}")
        began = time.perf_counter()
        async with self._dispatch:
            await self._first_files()
            try:
                index = self.indexer.index
                show = partial(search.look, merge=merge, mark=mark, explain=explain, reranker=self._reranker)
                looked = await show(index, query, limit, filters=filters, pending=self._pending)
            except BadFilter as error:
                raise BadInput(str(error)) from error
            except StoreAway as error:
                self._counts.not_searched()
                raise Unavailable(str(error)) from error
        if told := self._why_less(looked.found, index):
            found = replace(looked.found, degraded=(*looked.found.degraded, told))
            looked = replace(looked, found=found)
        self._counts.searched(looked, time.perf_counter() - began)
        return looked

    def _why_less(self, found: Found, index: Index) -> str | None:
        growth = self.indexer.growth
        if growth and growth.index is index:
            return f"the store is being filled again: {growth.left} chunks cannot be found yet"
        return None if found.hits or self._catalog.roots() else NO_FOLDER

    async def begin(self, question: str, filters: Filters = EVERYTHING, session: str | None = None) -> str:
        _check(question, filters.within)
        if session is not None:
            _check_session(session)
        return self.questions.begin(question, filters, session)

    def follow(
        self, request: str, after: Place = (0, 0), grace_s: float | None = None
    ) -> AbstractAsyncContextManager[Reader]:
        return self.questions.follow(request, after, grace_s)

    async def cancel(self, request: str) -> bool:
        return await self.questions.cancel(request)

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
        freshness = Freshness(self._catalog.meta("as_of"), self._pending)
        # Words are looked for in all of a document.
        return await anyio.to_thread.run_sync(excerpt, self._catalog, uri, around, max_tokens, whole, freshness)

    async def readable(
        self, after: str = "", limit: int = 100, prefix: str = "", containing: str = ""
    ) -> Sequence[Readable]:
        return await anyio.to_thread.run_sync(readable, self._catalog, after, limit, prefix, containing)

    def hearing(self, hear: Callable[[Changed], None]) -> AbstractContextManager[None]:
        return self._changes.hearing(hear)

    async def _tell_changed(self, paths: Collection[str], listing: Collection[str]) -> None:
        if self._cache:
            await self._cache.purge(paths)
        self._changes.tell(Changed(frozenset(paths), frozenset(listing)))

    async def status(self) -> Status:
        catalog, index = self._catalog, self.indexer.index
        documents, chunks = catalog.counts()
        try:
            workers, problem = await self._routes[0].wire.workers(), None
        except QueueDown as error:
            workers, problem = 0, str(error)
        return Status(
            documents=documents,
            chunks=chunks,
            pending=self._pending,
            failed=tuple(FailedFile(path, reason) for path, reason in catalog.failed()),
            as_of=catalog.meta("as_of"),
            embedding=index.embedder.signature,
            store=index.store.label,
            engine=self._routes[0].label,
            workers=workers,
            roots=tuple(catalog.roots()),
            state="paused" if self.keeping.paused else "indexing" if self.indexer.progress else "idle",
            warnings=tuple(filter(None, [*self._warnings(), problem])),
            left_out=tuple(FailedFile(path, reason) for path, reason in catalog.left_out()),
            forgotten=tuple(catalog.forgotten()),
            progress=now(run) if (run := self.indexer.progress) and run.files else None,
            growing=self._growing(),
            traces_url=f"{at}/redirects/traces/{{trace_id}}" if (at := self._traces.shown_at) else None,
        )

    async def metrics(self) -> bytes:
        """As Prometheus reads them."""
        catalog = self._catalog
        failed, as_of = len(catalog.failed()), catalog.meta("as_of")
        index = metrics.Index(*catalog.counts(), pending=self._pending, failed=failed, as_of=as_of)
        told = [*self._counts.lines(), *metrics.of_traces(self._traces, on=not isinstance(self._traces, Off))]
        async with metrics.offices(self._settings) as offices:
            return await metrics.page(index, offices, told)

    def _warnings(self) -> Iterator[str | None]:
        catalog = self._catalog
        yield self.problem
        yield self.keeping.problem
        if reason := catalog.meta("held"):
            yield (
                f"deletions are held back: {reason}. If the files are gone for good: tandem index --accept-deletions; "
                "if a disk is away, connect it"
            )
        if self.keeping.watch:
            for folder, reason in self.keeping.watch.polled.items():
                yield f"{folder} is looked at every few seconds instead of watched: {reason}"
        for folder in self.indexer.unlisted:
            yield f"{folder} cannot be listed now: its documents are kept as they were"
        for path in sorted(self.indexer.restless):
            yield f"{path} kept changing while it was read: it is read again when it is quiet"
        for path, reason in catalog.partly():
            yield f"{path}: {reason}"
        yield f"traces: {self._traces.problem}" if self._traces.problem else None

        yield self._judges_nothing()

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

    def _growing(self) -> Growing | None:
        growth = self.indexer.growth
        if not growth:
            return None
        return Growing(growth.index.embedder.signature, growth.index.store.label, growth.left)

    async def documents(self, within: str | None = None) -> Sequence[DocumentRow]:
        _check("any", within)
        try:
            choices = self.indexer.index.choices
            chosen = None if within is None else set(await choices.documents(self._catalog, Filters(within)))
        except BadFilter as error:
            raise BadInput(str(error)) from error
        waiting = set(self.indexer.waiting)
        rows: list[DocumentRow] = []
        for row in self._catalog.documents():
            state = "pending" if row.path in waiting else row.state
            waiting.discard(row.path)
            if chosen is None or row.id in chosen:
                rows.append(DocumentRow(row.path, row.sha256, row.chunks, _iso(row.indexed_at), state))
        if chosen is None:
            rows += [DocumentRow(path, "", 0, None, "pending") for path in sorted(waiting)]
        return rows

    async def index(self, folders: Sequence[str], accept_deletions: bool = False) -> Summary:
        self._require_unpaused()
        await self.add(folders)
        return await self._synced(accept_deletions)

    async def reindex(self, path: str | None = None) -> Summary:
        self._require_unpaused()
        if path is None:
            self._catalog.make_stale()
        elif not any(self._catalog.make_stale(place) for place in _places(path)):
            raise BadInput(f"{path} holds no document of this index; `tandem ls` lists them")
        return await self._synced()

    async def forget(self, path: str) -> int:
        roots = self._catalog.roots()
        place = next((one for one in _places(path) if _meets(one, roots)), None)
        if place is None:
            raise BadInput(f"{path} lies in none of the index's folders ({', '.join(roots) or 'there are none'})")
        self.keeping.interrupt()  # it may have listed what is forgotten now
        gone = await self.indexer.forget(place)
        await self.keeping.look_again()
        return gone

    def _require_unpaused(self) -> None:
        if since := self.keeping.paused:
            raise BadInput(f"indexing is paused since {since}; nothing was changed. `tandem resume` lets it go on")

    async def pause(self) -> None:
        self.keeping.pause(_iso(time.time()))

    async def resume(self) -> None:
        self.keeping.resume()

    async def grown(self) -> int:
        """Lets the index that the settings ask for grow to its end, where they ask for another than there is.
        Returns how many texts were embedded."""
        embedded, before = 0, self.indexer.index
        try:
            while (step := await self.indexer.grow()) is not None:
                embedded += step
        except INDEX_FAILS as error:
            raise Unavailable(str(error)) from error
        if self.indexer.index is not before:
            await retire(self._catalog, before)
        await self.indexer.purge()
        return embedded

    async def filled(self) -> None:
        """A store that lost its points, or never had any, is filled before anybody searches in it."""
        growth = self.indexer.growth
        if growth and growth.index is self.indexer.index:
            try:
                await self.grown()
            except Unavailable as error:
                self.problem = f"the store could not be filled: {error}"

    async def _synced(self, accept_deletions: bool = False) -> Summary:
        try:
            done = await self.indexer.sync(accept_deletions=accept_deletions)
        except (*INDEX_FAILS, Interrupted) as error:
            raise Unavailable(str(error)) from error
        if self.keeping.watch:  # the daemon lets it grow, and tidies, when nothing else is to be done
            return done
        began = time.monotonic()
        grown = await self.grown()
        seconds = round(done.seconds + time.monotonic() - began, 3)
        return replace(done, embedded_chunks=done.embedded_chunks + grown, seconds=seconds)

    async def add(self, folders: Sequence[str]) -> None:
        """Takes in again what was forgotten. Raises BadInput, before anything is changed, where one is not a folder."""
        forgotten = self._catalog.forgotten()
        again = {place for folder in folders for place in _places(folder) if place in forgotten}
        roots = [_folder(folder) for folder in folders if again.isdisjoint(_places(folder))]
        for root in roots:
            if above := next((one for one in forgotten if scan.beneath(root, one)), None):
                raise BadInput(f"{root} lies in {above}, which was forgotten: `tandem index {above}` takes it in again")
        for place in again:
            self._catalog.take_in(place)
        self._catalog.add_roots(roots)
        await self.keeping.look_again()

    async def stop(self, if_idle: bool = False) -> bool:
        """Indexing under way is no reason to stay: what is recorded stays recorded, and the next daemon goes on."""
        if if_idle and (self._dispatch.borrowed_tokens or self.questions.are_open):
            return False
        self.stopped.set()
        return True

    async def _first_files(self) -> None:
        """Who asks a new daemon at once means the files that it was given, not the nothing it has read of them yet."""
        catalog = self._catalog
        with anyio.move_on_after(_FIRST_FILES_S):
            # Its writers are threads, which tell nobody.
            while self.keeping.begins and catalog.meta("as_of") is None:
                if catalog.counts()[0] and time.monotonic() > self._whole_until:
                    return
                await anyio.sleep(0.05)

    @property
    def _pending(self) -> int:
        watch = self.keeping.watch
        return self.indexer.pending + (watch.pending if watch else 0)


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


def _check_session(session: str) -> None:
    if not session.isprintable() or not 0 < len(session) <= _SESSION_CHARS:
        raise BadInput(
            f"`session` was expected to be an id of 1 to {_SESSION_CHARS} printable characters; it has {len(session)}"
        )


def _check(text: str, within: str | None) -> None:
    if not text.strip():
        raise BadInput("the query is empty; expected a question or some words to look for")
    if len(text) > MAX_QUERY_CHARS:
        raise BadInput(f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARS:,} are taken")
    if within is not None and (not within.strip() or len(within) > MAX_QUERY_CHARS):
        raise BadInput("`in` was expected to be a glob such as docs/*.md or a folder; it is empty or too long")
    try:
        (text + (within or "")).encode()
    except UnicodeEncodeError as error:
        raise BadInput("the query was expected to be Unicode text; it holds half a surrogate pair") from error


def _places(path: str) -> list[str]:
    """As it was named, and as folders are resolved when they are added. Raises BadInput."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the name of {path!r} was expected to be UTF-8; rename it") from error
    return list(dict.fromkeys((path, str(Path(path).resolve()))))


def _meets(path: str, roots: Sequence[str]) -> bool:
    return any(scan.beneath(path, root) or scan.beneath(root, path) for root in roots)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _folder(folder: str) -> str:
    path = Path(folder).resolve()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the name of {path!r} was expected to be UTF-8; rename the folder") from error
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BadInput(f"{folder} was expected to be a folder, but it {what}; nothing was changed")
    return str(path)
