"""An index in a temporary folder, over each store adapter, with an embedder that counts."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexer.catalog import Catalog
from indexer.embed.weights import tokenizer
from indexer.filters import Filters
from indexer.hits import Found, Summary
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS, Indexer
from indexer.records import COMPLETE
from indexer.sandbox import Reader, reading
from indexer.search import Index, search
from indexer.store import Store
from indexer.store.edge import open_edge
from indexer.store.server import open_server
from tests.indexer.embedders import WordEmbedder


@dataclass
class Library:
    """A folder of documents and its index."""

    folder: Path
    index: Index
    indexer: Indexer
    embedder: WordEmbedder

    def write(self, name: str, text: str | bytes, old: bool = True) -> Path:
        """`old`: the file was last changed an hour ago, so that its time stamp can be trusted."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if old:
            before = path.stat().st_mtime - 3600
            os.utime(path, (before, before))
        return path

    async def sync(self) -> Summary:
        return await self.indexer.sync()

    def points(self) -> set[int]:
        """The ids of all chunks that the catalog shows."""
        return {chunk.id for _, chunk in self.index.catalog.unfilled(-1, 10**9)}

    async def find(self, query: str, limit: int = 5, within: str | None = None) -> Found:
        return await search(self.index, query, limit, filters=Filters(within))

    async def names(self, query: str, within: str | None = None) -> list[str]:
        """Of every file that was found, copies too."""
        hits = (await self.find(query, within=within)).hits
        return [Path(path).name for hit in hits for path in (hit.path, *hit.also_in)]


@pytest.fixture(scope="session")
async def reader() -> AsyncIterator[Reader]:
    """All tests share one event loop and one parsing child: its start takes a while."""
    async with reading(tokenizer(None), size=CHUNK_TOKENS, overlap=OVERLAP_TOKENS) as reader:
        yield reader


@pytest.fixture(params=["edge", "server"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, reader: Reader) -> AsyncIterator[Store]:
    """An empty store of 64 dimensions, through each adapter; the server's over the client's own in-memory mode,
    or a real one where QDRANT_URL is set."""
    if request.param == "edge":
        async with open_edge(tmp_path / "store", 64) as store:
            yield store
    else:
        url = os.environ.get("QDRANT_URL", ":memory:")
        async with open_server(url, os.environ.get("QDRANT_API_KEY"), f"test-{tmp_path.name}", 64) as store:
            yield store


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    yield catalog
    catalog.close()


@pytest.fixture
async def library(tmp_path: Path, store: Store, catalog: Catalog, reader: Reader) -> Library:
    folder = tmp_path / "documents"
    folder.mkdir()
    embedder = WordEmbedder()
    index = Index(catalog, store, embedder)
    catalog.add_roots([str(folder)])
    catalog.begin_generation(embedder.signature, embedder.dimensions, "embedded", "answers", COMPLETE)
    return Library(folder, index, Indexer(index, reader.read), embedder)
