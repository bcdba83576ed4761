"""The settings become an index that answers, and where they ask for another model or store than it was made with,
a second one that grows beside it and takes its place once it is whole.
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import anyio.to_thread
import numpy as np

from bridge.folder import Folder
from bridge.homing import Homing
from bridge.settings import Settings
from indexer import chunk, lexical, parse
from indexer.catalog import Catalog
from indexer.embed import Done, Embedder, EmbedderAway, EmbedderUnusable, TextsRefused, Vectors
from indexer.embed.prefixes import NOTHING_ASKED, Asked
from indexer.grow import Growth
from indexer.records import COMPLETE, Generation
from indexer.search import Index
from indexer.store import Store, StoreAway, StoreUnusable

if TYPE_CHECKING:
    from indexer.embed.onnx import OnnxEmbedder

logger = logging.getLogger("tandem")

_EMBEDDED = "embedded"
_NOT_NOW = (EmbedderAway, EmbedderUnusable, StoreAway, StoreUnusable)


@dataclass(frozen=True, slots=True)
class Opened:
    """`problem`: why what the settings ask for cannot be built now, while the index as it was goes on answering."""

    index: Index
    growth: Growth | None
    tokenizer: Path
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    embedder: Embedder
    tokenizer: Path
    place: str


async def open_index(
    settings: Settings,
    folder: Folder,
    catalog: Catalog,
    stack: AsyncExitStack,
    homing: Homing,
    background: bool = False,
) -> Opened:
    """The parts close with `stack`. What spans tell of batches embedded elsewhere comes by `homing`; `background`:
    indexing leaves the processor to others.

    Raises EmbedderAway, EmbedderUnusable, StoreAway or StoreUnusable where nothing can answer.
    """
    parts = _Parts(settings, folder, catalog, stack, homing, background)
    answers = next((one for one in catalog.generations() if one.state == "answers"), None)
    try:
        wanted = await parts.wanted(answers)
        if answers is None or _fits(answers, wanted):
            opened = await parts.as_wanted(answers, wanted)
        else:
            opened = await parts.beside(answers, wanted)
    except _NOT_NOW as error:
        if answers is None or (answers.place == _place(settings) and _same_model(settings, answers)):
            raise
        try:
            opened = await parts.as_it_was(answers, str(error))
        except _NOT_NOW as former:
            raise type(error)(f"{error}; nor can the index as it was be had: {former}") from error
    catalog.retire_all_but({one.id for one in parts.open})
    await parts.remove_retired()
    _mark_stale(catalog)
    return opened


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: Settings
    folder: Folder
    catalog: Catalog
    stack: AsyncExitStack
    homing: Homing
    background: bool
    open: list[Generation] = field(default_factory=list[Generation])
    """Those that this process keeps in step."""

    async def wanted(self, answers: Generation | None) -> _Wanted:
        recorded = None
        if answers and _same_model(self.settings, answers):
            recorded = (answers.signature, answers.dimensions)
        embedder, tokenizer = await self._embedder(recorded)
        return _Wanted(embedder, tokenizer, _place(self.settings))

    async def as_wanted(self, answers: Generation | None, wanted: _Wanted) -> Opened:
        """The usual case: one generation. Where its store has lost points it is filled again."""
        new = False
        if answers is None:
            _, chunks = self.catalog.counts()
            # Whatever lies there is of a catalog that is lost, or of another one.
            shutil.rmtree(self.folder.stores, ignore_errors=True)
            answers = self._begin(wanted, "answers", -1 if chunks else COMPLETE)
            new = True
        store = await self._opened(answers)
        if new:
            await store.publish()
        index = Index(self.catalog, store, wanted.embedder)
        filled = answers.filled
        if filled == COMPLETE and await store.count() < self.catalog.counts()[1]:
            logger.info("the store at %s has lost points: it is filled again from the catalog", store.label)
            filled = -1
            self.catalog.set_filled(answers.id, filled)
        return Opened(index, Growth(index, answers, filled) if filled < COMPLETE else None, wanted.tokenizer)

    async def beside(self, answers: Generation, wanted: _Wanted) -> Opened:
        """Another model or store: what was goes on answering while the new one grows."""
        begun = [one for one in self.catalog.generations() if one.state == "grows" and _fits(one, wanted)]
        grows = begun[0] if begun else self._begin(wanted, "grows", -1)
        store = await self._opened(grows)
        growing = Index(self.catalog, store, wanted.embedder)
        growth = Growth(growing, grows, grows.filled)
        try:
            old_store = await self._opened(answers)
        except (StoreAway, StoreUnusable) as error:
            # Nothing is lost: texts and vectors are in the catalog.
            logger.warning("%s; the index is built again in %s", error, store.label)
            self.catalog.let_answer(grows.id, grows.filled)
            return Opened(growing, growth, wanted.tokenizer)
        return Opened(Index(self.catalog, old_store, await self._former(answers)), growth, wanted.tokenizer)

    async def as_it_was(self, answers: Generation, problem: str) -> Opened:
        from indexer.embed import weights

        store = await self._opened(answers)
        index = Index(self.catalog, store, await self._former(answers))
        return Opened(index, None, weights.tokenizer(self.settings.embed_model), problem)

    async def remove_retired(self) -> None:
        for one in self.catalog.generations():
            if one.state != "retired":
                continue
            try:
                await self._discard(one)
            except (StoreAway, OSError) as error:
                logger.warning("what is left of a former index could not be removed, which is tried again: %s", error)
            else:
                self.catalog.drop_generation(one.id)

    async def _opened(self, generation: Generation) -> Store:
        store = await self.stack.enter_async_context(self._store(generation))
        self.open.append(generation)
        return store

    def _begin(self, wanted: _Wanted, state: Literal["answers", "grows"], filled: int) -> Generation:
        made_by = wanted.embedder
        return self.catalog.begin_generation(made_by.signature, made_by.dimensions, wanted.place, state, filled)

    def _store(self, generation: Generation) -> AbstractAsyncContextManager[Store]:
        if generation.place == _EMBEDDED:
            from indexer.store.edge import open_edge

            return open_edge(self._folder_of(generation), generation.dimensions)
        from indexer.store.server import open_server

        url, name = generation.place.split(" ", 1)
        return open_server(
            url,
            self.settings.qdrant_api_key,
            self._collection_of(generation),
            generation.dimensions,
            alias=name,
            quantization=self.settings.quantization,
            shards=self.settings.shard_number,
            replicas=self.settings.replication_factor,
        )

    async def _discard(self, generation: Generation) -> None:
        if generation.place == _EMBEDDED:
            shutil.rmtree(self._folder_of(generation), ignore_errors=True)
            return
        from indexer.store.server import discard

        url, _ = generation.place.split(" ", 1)
        await discard(url, self.settings.qdrant_api_key, self._collection_of(generation))

    # Each generation has a place of its own: what is removed is never what another one fills.

    def _folder_of(self, generation: Generation) -> Path:
        return self.folder.stores / f"{generation.id}-{_short(generation.signature)}"

    def _collection_of(self, generation: Generation) -> str:
        name = generation.place.split(" ", 1)[1]
        return f"{name}-{self._index_name()}-{generation.id}-{_short(generation.signature)}"

    def _index_name(self) -> str:
        """Two data folders may share a server and a QDRANT_COLLECTION: each has collections of its own."""
        name = self.catalog.meta("name")
        if name is None:
            name = uuid4().hex[:8]
            self.catalog.set_meta("name", name)
        return name

    async def _former(self, answers: Generation) -> Embedder:
        """The model that made the index: to embed queries with until the new index is whole."""
        kind, _, rest = answers.signature.partition(":")
        name = rest.rpartition("@")[0]
        try:
            recorded = (answers.signature, answers.dimensions)
            for asked in dict.fromkeys((self._asked, NOTHING_ASKED)):  # prefixes may be what is new
                if kind == "ollama":
                    embedder: Embedder = await self._ollama(name, recorded, asked)
                elif kind == "remote":
                    embedder = await self._remote(name, recorded, asked)
                else:
                    embedder, _ = await self._onnx(name, kind.removeprefix("onnx-"), asked)
                if embedder.signature == answers.signature:
                    return embedder
        except (EmbedderAway, EmbedderUnusable) as error:
            return Absent(answers.signature, answers.dimensions, str(error))
        return Absent(answers.signature, answers.dimensions, f"{answers.signature} is not to be had any more")

    async def _embedder(self, recorded: tuple[str, int] | None) -> tuple[Embedder, Path]:
        """The embedder, and the WordPiece vocabulary by which chunks are measured whatever embeds them."""
        from indexer.embed import weights

        if self.settings.embed == "ollama":
            embedder = await self._ollama(self.settings.embedding_model, recorded, self._asked)
            return embedder, weights.tokenizer(self.settings.embed_model)
        if self.settings.embed == "remote":
            embedder = await self._remote(self.settings.embedding_model, recorded, self._asked)
            return embedder, weights.tokenizer(self.settings.embed_model)
        return await self._onnx(self.settings.embedding_model, self.settings.embed_precision, self._asked)

    @property
    def _asked(self) -> Asked:
        return Asked(self.settings.embed_document_prefix, self.settings.embed_query_prefix)

    async def _ollama(self, name: str, recorded: tuple[str, int] | None, asked: Asked) -> Embedder:
        from indexer.embed.ollama import open_ollama

        opened = open_ollama(self.settings.ollama_host, name, recorded, asked=asked)
        return await self.stack.enter_async_context(opened)

    async def _remote(self, name: str, recorded: tuple[str, int] | None, asked: Asked) -> Embedder:
        from bridge.remote_embedding import embedding_workers, has_twin
        from indexer.embed.remote import open_remote

        ask = await self.stack.enter_async_context(embedding_workers(self.settings, self.homing.over))
        twin = (await self._onnx(name, "fp32", asked))[0] if has_twin(name, self.settings) else None
        return await open_remote(ask, name, twin, recorded, asked)

    async def _onnx(self, name: str, precision: str, asked: Asked) -> tuple["OnnxEmbedder", Path]:
        from indexer.embed import onnx

        cache = models_folder()
        load = partial(
            onnx.load,
            name,
            self.settings.embed_model,
            cache,
            self.settings.threads,
            precision="fp32" if precision == "fp32" else "int8",
            background=self.background,
            asked=asked,
        )
        try:
            loaded = await anyio.to_thread.run_sync(load)
        except OSError as error:
            raise EmbedderUnusable(
                f"the embedding model could not be kept in {cache}: {error}; make that folder writable"
            ) from error
        return loaded, loaded.tokenizer_file


class Absent:
    """A model that is not to be had any more: its index is searched by words only until another has been built."""

    def __init__(self, signature: str, dimensions: int, reason: str) -> None:
        self.signature, self.dimensions, self._reason = signature, dimensions, reason

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        nothing = np.zeros((len(texts), self.dimensions), np.float32)
        raise TextsRefused(dict.fromkeys(range(len(texts)), self._reason), nothing)

    async def query(self, text: str) -> Vectors:
        raise EmbedderAway(f"the model that made this index is not to be had: {self._reason}")


def _fits(generation: Generation, wanted: _Wanted) -> bool:
    return (generation.signature, generation.place) == (wanted.embedder.signature, wanted.place)


def _place(settings: Settings) -> str:
    return f"{settings.qdrant} {settings.qdrant_collection}" if settings.qdrant else _EMBEDDED


def _same_model(settings: Settings, generation: Generation) -> bool:
    # What workers make with weights that this machine has too is what it would make itself.
    kinds = {"ollama": ["ollama"], "remote": ["remote", "onnx-fp32", "onnx-file"]}.get(
        settings.embed, [f"onnx-{settings.embed_precision}", "onnx-file"]
    )
    return generation.signature.startswith(tuple(f"{kind}:{settings.embedding_model}@" for kind in kinds))


def _short(signature: str) -> str:
    return hashlib.blake2b(signature.encode(), digest_size=6).hexdigest()


def _mark_stale(catalog: Catalog) -> None:
    """Another parser, chunker or lexical analyser: documents are read again, their vectors are kept."""
    versions = f"parse {parse.VERSION}, chunk {chunk.VERSION}, lexical {lexical.VERSION}"
    known = catalog.meta("versions")
    if known not in (None, versions):
        logger.info("the documents are read again, with the vectors they have: %s", versions)
        catalog.make_stale()
    if known != versions:
        catalog.set_meta("versions", versions)


def models_folder() -> Path:
    """Where the graphs made from weights are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("tandem", appauthor=False) / "models"
