"""Everything that one index needs, in this process: `bridge.service.Service` without a socket between."""

import hashlib
import json
import logging
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from bridge.answer import Limits, Route, answering
from bridge.folder import Folder
from bridge.progress import in_words
from bridge.service import (
    MAX_LIMIT,
    MAX_QUERY_CHARS,
    BadInput,
    DocumentRow,
    FailedFile,
    Part,
    Status,
    Unavailable,
)
from bridge.settings import Settings, openai_settings, worded
from indexer import chunk, lexical, parse, search
from indexer.catalog import Catalog
from indexer.embed import Embedder, EmbedderAway, EmbedderUnusable
from indexer.hits import Found, Summary
from indexer.pipeline import Indexer
from indexer.search import Index
from indexer.store import Store, StoreAway
from indexer.watch import Watch, watching
from inference_server.engines import Generate
from inference_server.worker import work
from observability.traces import Traces
from wire import QueueDown
from wire.memory import MemoryWire

logger = logging.getLogger("tandem")

_SLOTS = 8  # answers under way at once in this process
_FIRST_FILES_S = 10  # how long a search waits for an index that holds nothing yet
_RESCAN_S = 600
_RETRIES_S = (2, 5, 15, 60)
_INDEX_FAILS = (EmbedderAway, EmbedderUnusable, StoreAway)


@dataclass(slots=True)
class _Keeping:
    """What the daemon's own watching knows; a process that only answers has none."""

    watch: Watch | None = None
    problem: str | None = None
    begins: bool = False
    unwatched: list[str] = field(default_factory=list[str])


class Tandem:
    """Open with `opened`. Every method may be called at once by many."""

    def __init__(
        self, settings: Settings, index: Index, indexer: Indexer, routes: Sequence[Route], traces: Traces
    ) -> None:
        self._settings, self._index, self._routes, self._traces = settings, index, routes, traces
        self.indexer = indexer
        self.stopped = anyio.Event()
        self._keeping = _Keeping()
        self._dispatch = anyio.CapacityLimiter(settings.max_concurrent_per_process)
        self._limits = Limits(settings.rag_score_threshold, settings.result_timeout_sec)

    async def search(self, query: str, limit: int = 10, within: str | None = None, *, merge: bool = True) -> Found:
        _check(query, within)
        if not 1 <= limit <= MAX_LIMIT and merge:
            raise BadInput(f"limit was expected to be 1 to {MAX_LIMIT}, it is {limit}")
        async with self._dispatch:
            await self._first_files()
            try:
                return await search.search(self._index, query, limit, within=within, pending=self._pending, merge=merge)
            except search.BadGlob as error:
                raise BadInput(str(error)) from error
            except StoreAway as error:
                raise Unavailable(str(error)) from error

    def ask(
        self, question: str, within: str | None = None, session: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Part]]:
        _check(question, within)
        find = partial(self.search, limit=self._settings.rag_top_k, within=within)
        return answering(question, find, self._routes, self._limits, session)

    async def status(self) -> Status:
        catalog = self._index.catalog
        documents, chunks = catalog.counts()
        route, problems = self._routes[0], [problem for problem in (self._keeping.problem,) if problem]
        try:
            workers = await route.wire.workers()
        except QueueDown as error:
            workers, problems = 0, [*problems, str(error)]
        minutes = _RESCAN_S // 60
        problems += [
            f"{root} cannot be watched; it is looked at every {minutes} minutes" for root in self._keeping.unwatched
        ]
        problems += [
            f"{folder} cannot be listed now: its documents are kept as they were" for folder in self.indexer.unlisted
        ]
        problems += [f"traces: {self._traces.problem}"] if self._traces.problem else []
        return Status(
            documents=documents,
            chunks=chunks,
            pending=self._pending,
            failed=tuple(FailedFile(path, reason) for path, reason in catalog.failed()),
            as_of=catalog.meta("as_of"),
            embedding=self._index.embedder.signature,
            store=self._index.store.label,
            engine=route.label,
            workers=workers,
            roots=tuple(catalog.roots()),
            state="indexing" if self.indexer.progress else "idle",
            warnings=tuple(problems),
        )

    async def documents(self, within: str | None = None) -> Sequence[DocumentRow]:
        _check("any", within)
        try:
            chosen = None if within is None else set(await search.ids_within(self._index.catalog, within))
        except search.BadGlob as error:
            raise BadInput(str(error)) from error
        rows = [row for row in self._index.catalog.documents() if chosen is None or row.id in chosen]
        return [DocumentRow(row.path, row.sha256, row.chunks, _iso(row.indexed_at), row.state) for row in rows]

    async def index(self, folders: Sequence[str]) -> Summary:
        self.add(folders)
        try:
            return await self.indexer.sync()
        except _INDEX_FAILS as error:
            raise Unavailable(str(error)) from error

    def add(self, folders: Sequence[str]) -> None:
        """Raises BadInput, before anything is changed, where one is not a folder."""
        roots = [_folder(folder) for folder in folders]
        self._index.catalog.add_roots(roots)
        if self._keeping.watch:
            self._keeping.unwatched = self._keeping.watch.add(self._index.catalog.roots())

    async def stop(self) -> None:
        self.stopped.set()

    async def _first_files(self) -> None:
        """Who asks a new daemon at once means the files that it was given, not the nothing it has read of them yet."""
        catalog = self._index.catalog
        with anyio.move_on_after(_FIRST_FILES_S):
            # Its writers are threads, which tell nobody.
            while self._keeping.begins and catalog.meta("as_of") is None and not catalog.counts()[0]:  # noqa: ASYNC110
                await anyio.sleep(0.05)

    @property
    def _pending(self) -> int:
        watch = self._keeping.watch
        return self.indexer.pending + (watch.pending if watch else 0)

    async def keep_in_step(self) -> None:
        """The daemon's indexing: watches the roots, until cancelled. What fails is said in `status` and tried again."""
        catalog = self._index.catalog
        # Armed before the scan: what changes meanwhile is seen by one of the two.
        async with watching((), str(self._settings.data)) as watch:
            self._keeping.watch = watch
            self._keeping.begins = bool(catalog.roots())
            dirty: set[str] | None = None
            failures, rescan = 0, 0.0
            while True:
                if dirty is None:
                    self._keeping.unwatched = watch.add(catalog.roots())
                    rescan = anyio.current_time() + _RESCAN_S
                try:
                    _tell(await self.indexer.sync(dirty))
                except _INDEX_FAILS as error:
                    if not failures:
                        logger.warning("indexing waits: %s", error)
                    self._keeping.problem = f"indexing waits: {error}"
                except Exception as error:
                    # Whatever it was (a full disk, say): answers go on from what the index holds.
                    logger.exception("indexing failed; it is tried again")
                    self._keeping.problem = f"indexing failed and is tried again ({type(error).__name__}: {error})"
                else:
                    self._keeping.problem, failures, dirty = None, 0, None
                    # However busy the folders are, all of them are looked at from time to time.
                    with anyio.move_on_after(rescan - anyio.current_time()):
                        dirty = await watch.dirty()
                    continue
                self._keeping.begins = False
                await anyio.sleep(_RETRIES_S[min(failures, len(_RETRIES_S) - 1)])
                dirty, failures = None, failures + 1


@asynccontextmanager
async def opened(settings: Settings, traces: Traces) -> AsyncGenerator[Tandem]:
    """The caller holds the data folder's lock. Raises EmbedderAway, EmbedderUnusable, StoreAway or StoreUnusable."""
    folder = Folder(settings.data)
    async with AsyncExitStack() as stack:
        catalog = Catalog(folder.catalog)
        stack.callback(catalog.close)
        embedder, tokenizer = await _embedder(settings, _recorded(catalog), stack)
        store = await stack.enter_async_context(_store(settings, folder, catalog, embedder))
        index = Index(catalog, store, embedder)
        await _reconcile(index)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stopped = anyio.Event()
        routes = await _routes(settings, stack, tasks, stopped)
        indexer = Indexer(index, tokenizer, settings.data)
        await indexer.recover()
        try:
            yield Tandem(settings, index, indexer, routes, traces)
        finally:
            tasks.cancel_scope.cancel()


def _tell(done: Summary) -> None:
    if done.added or done.changed or done.moved or done.deleted:
        logger.info("indexed: %s", in_words(done))


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


def _recorded(catalog: Catalog) -> tuple[str, int] | None:
    """The index's (signature, dimensions); none while it holds nothing."""
    word = catalog.meta("embedding")
    if word is None or not any(True for _ in catalog.documents()):
        return None
    signature, dimensions = json.loads(word)
    return signature, dimensions


async def _embedder(
    settings: Settings, recorded: tuple[str, int] | None, stack: AsyncExitStack
) -> tuple[Embedder, Path]:
    """The embedder, and the WordPiece vocabulary by which chunks are measured whatever embeds them."""
    from indexer.embed import onnx, weights

    name = settings.embedding_model
    if settings.embed == "ollama":
        from indexer.embed.ollama import open_ollama

        embedder: Embedder = await stack.enter_async_context(open_ollama(settings.ollama_host, name, recorded))
        tokenizer = weights.tokenizer(settings.embed_model)
    else:
        cache = _cache_folder()
        try:
            loaded = await anyio.to_thread.run_sync(onnx.load, name, settings.embed_model, cache, settings.threads)
        except OSError as error:
            raise EmbedderUnusable(
                f"the embedding model could not be kept in {cache}: {error}; make that folder writable"
            ) from error
        embedder, tokenizer = loaded, loaded.tokenizer_file
    if recorded and recorded[0] != embedder.signature:
        raise EmbedderUnusable(
            f"the index in {settings.data} was made with {recorded[0]}, the settings now say {embedder.signature}; "
            "vectors of two models cannot be compared, and nothing was changed. Set EMBEDDING_MODEL and TANDEM_EMBED "
            "back, or use another folder with --data"
        )
    return embedder, tokenizer


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("tandem", appauthor=False) / "models"


def _store(
    settings: Settings, folder: Folder, catalog: Catalog, embedder: Embedder
) -> AbstractAsyncContextManager[Store]:
    if settings.qdrant:
        from indexer.store.server import open_server

        return open_server(settings.qdrant, settings.qdrant_api_key, settings.qdrant_collection, embedder.dimensions)
    from indexer.store.edge import open_edge

    if catalog.meta("versions") is None:
        # Points of a catalog that is lost: nobody knows them, and they would crowd out those that count.
        shutil.rmtree(folder.stores, ignore_errors=True)
    name = hashlib.blake2b(embedder.signature.encode(), digest_size=6).hexdigest()
    return open_edge(folder.stores / name, embedder.dimensions)


async def _reconcile(index: Index) -> None:
    """Finds what makes recorded documents untrue: another parser or chunker, or a store that lost its points."""
    catalog = index.catalog
    versions = f"parse {parse.VERSION}, chunk {chunk.VERSION}, lexical {lexical.VERSION}"
    known = catalog.meta("versions")
    _, chunks = catalog.counts()
    if known not in (None, versions) or await index.store.count() < chunks:
        logger.info("the index is built again from the vectors it has: %s", versions)
        catalog.rebuild()
    catalog.set_meta("versions", versions)
    catalog.set_meta("embedding", json.dumps([index.embedder.signature, index.embedder.dimensions]))


async def _routes(
    settings: Settings, stack: AsyncExitStack, tasks: anyio.abc.TaskGroup, stopped: anyio.Event
) -> list[Route]:
    """The configured engine first, the extractive one behind it unless the settings refuse that."""
    from inference_server.engines.extractive import extractive

    async def local(generate: Generate, label: str) -> Route:
        wire = MemoryWire()
        tasks.start_soon(partial(work, wire, generate, slots=_SLOTS, stopped=stopped))
        return Route(wire, label)

    last = await local(extractive, "extractive")
    if settings.engine == "extractive":
        return [last]
    if settings.engine == "redis":
        from wire.redis import RedisWire

        assert settings.redis_url is not None
        with worded():
            redis = RedisWire(
                settings.redis_url, settings.redis_stream_key, settings.redis_key, lease_s=settings.lease_s
            )
        first = Route(await stack.enter_async_context(redis), f"redis {settings.redis_stream_key}")
    else:
        from inference_server.engines.openai import openai_engine

        with worded():
            engine = await stack.enter_async_context(openai_engine(*openai_settings(settings)))
        first = await local(engine, f"openai {settings.model or ''}".strip())
    return [first] if settings.no_worker == "refuse" else [first, last]
