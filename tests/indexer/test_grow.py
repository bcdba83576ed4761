"""Another model, or another store: the new index grows beside the one that answers, and takes over whole."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from indexer.embed import EmbedderAway
from indexer.grow import Growth
from indexer.hits import Found
from indexer.pipeline import Indexer
from indexer.points import GROUP
from indexer.records import COMPLETE, Generation
from indexer.sandbox import Reader
from indexer.search import Index, search
from indexer.store import Store
from indexer.store.edge import open_edge
from indexer.store.server import open_server
from tests.indexer.conftest import Library
from tests.indexer.embedders import WordEmbedder

FILES = GROUP + 60  # more than one step


@asynccontextmanager
async def another_store(tmp_path: Path, kind: str, dimensions: int) -> AsyncIterator[Store]:
    if kind == "edge":
        async with open_edge(tmp_path / "other", dimensions) as store:
            yield store
    else:
        async with open_server(":memory:", None, f"other-{dimensions}", dimensions, alias="my_docs") as store:
            yield store


def begun(library: Library, store: Store, embedder: WordEmbedder) -> tuple[Indexer, Growth]:
    catalog = library.index.catalog
    grows = next((one for one in catalog.generations() if one.state == "grows"), None)
    grows = grows or catalog.begin_generation(embedder.signature, embedder.dimensions, "other", "grows")
    growth = Growth(Index(catalog, store, embedder), grows, grows.filled)
    return Indexer(library.index, library.indexer.read_file, growth=growth), growth


async def filled(library: Library) -> None:
    rng = random.Random(7)
    for n in range(FILES):
        words = " ".join(f"word{rng.randrange(400)}" for _ in range(12))
        library.write(f"{n:04}.txt", f"Lantern number{n} hangs in the barn, {words}.")
    await library.sync()


def in_short(found: Found) -> list[tuple[str, float]]:
    return [(hit.path, round(hit.score, 3)) for hit in found.hits]


async def to_the_end(indexer: Indexer) -> int:
    embedded = 0
    while (step := await indexer.grow()) is not None:
        embedded += step
    return embedded


def answering(library: Library) -> Generation:
    (one,) = [one for one in library.index.catalog.generations() if one.state == "answers"]
    return one


@pytest.mark.parametrize("kind", ["edge", "server"])
async def test_another_model_embeds_each_chunk_once_and_then_answers(
    library: Library, tmp_path: Path, kind: str
) -> None:
    await filled(library)
    other = WordEmbedder("words:96", 96)
    async with another_store(tmp_path, kind, 96) as store:
        indexer, _ = begun(library, store, other)
        assert await to_the_end(indexer) == FILES
        assert indexer.growth is None
        assert (answering(library).signature, answering(library).filled) == ("words:96", COMPLETE)
        found = await search(indexer.index, "number7", 1)
        assert Path(found.hits[0].path).name == "0007.txt"
        assert len(other.embedded) == len(set(other.embedded)) == FILES


@pytest.mark.parametrize("kind", ["edge", "server"])
async def test_another_store_gets_the_vectors_that_there_are_and_finds_the_same_there_and_back(
    library: Library, tmp_path: Path, kind: str
) -> None:
    await filled(library)
    queries = [f"number{n} lantern word{n} word{n + 9}" for n in range(0, FILES, 20)]
    before = [in_short(await library.find(query, 10)) for query in queries]
    count = len(library.embedder.embedded)
    async with another_store(tmp_path, kind, 64) as there:
        indexer, _ = begun(library, there, library.embedder)
        await to_the_end(indexer)
        assert [in_short(await search(indexer.index, query, 10)) for query in queries] == before
        # And back, into a store that is new again.
        async with open_edge(tmp_path / "back", 64) as back:
            second, _ = begun(replace(library, index=indexer.index, indexer=indexer), back, library.embedder)
            await to_the_end(second)
            assert [in_short(await search(second.index, query, 10)) for query in queries] == before
    assert len(library.embedder.embedded) == count


async def test_searches_meanwhile_are_all_answered_by_one_model_alone(library: Library, tmp_path: Path) -> None:
    await filled(library)
    other = WordEmbedder("words:96", 96)
    answered: set[str] = set()
    async with another_store(tmp_path, "edge", 96) as store, anyio.create_task_group() as tasks:
        indexer, _ = begun(library, store, other)

        async def asking() -> None:
            while True:
                index = indexer.index
                found = await search(index, "number7 lantern", 5)
                assert Path(found.hits[0].path).name == "0007.txt"
                assert not found.degraded
                hit, asked = found.hits[0], await index.embedder.query("number7 lantern")
                (made,) = await index.embedder.documents([hit.text])
                assert hit.dense_score == pytest.approx(float(made @ asked), abs=1e-3)
                answered.add(index.embedder.signature)
                await anyio.lowlevel.checkpoint()

        tasks.start_soon(asking)
        await to_the_end(indexer)
        with anyio.fail_after(30):
            while "words:96" not in answered:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert answered == {"words:64", "words:96"}


async def test_what_is_killed_half_way_goes_on_and_embeds_no_chunk_twice(library: Library, tmp_path: Path) -> None:
    await filled(library)
    other = WordEmbedder("words:96", 96)
    async with another_store(tmp_path, "edge", 96) as store:
        first, _ = begun(library, store, other)
        assert await first.grow() == GROUP
        # As after a kill: nothing but the catalog and the store remembers.
        second, growth = begun(library, store, other)
        assert growth.left == FILES - GROUP
        assert await to_the_end(second) == FILES - GROUP
    assert len(other.embedded) == len(set(other.embedded)) == FILES


async def test_a_model_that_goes_away_half_way_leaves_the_former_one_answering(
    library: Library, tmp_path: Path
) -> None:
    await filled(library)
    other = WordEmbedder("words:96", 96)
    async with another_store(tmp_path, "edge", 96) as store:
        indexer, _ = begun(library, store, other)
        await indexer.grow()
        other.away = True
        with pytest.raises(EmbedderAway):
            await indexer.grow()
        assert (await search(indexer.index, "number7", 1)).degraded == ()
        other.away = False
        await to_the_end(indexer)
        assert len(other.embedded) == FILES


async def test_changes_meanwhile_reach_both(library: Library, tmp_path: Path) -> None:
    await filled(library)
    other = WordEmbedder("words:96", 96)
    async with another_store(tmp_path, "edge", 96) as store:
        indexer, _ = begun(library, store, other)
        await indexer.grow()
        library.write("0007.txt", "A zeppelin flies over the hall.", old=False)
        (library.folder / "0008.txt").unlink()
        summary = await indexer.sync()
        assert (summary.changed, summary.deleted, summary.embedded_chunks) == (1, 1, 2)
        assert Path((await search(indexer.index, "zeppelin", 1)).hits[0].path).name == "0007.txt"
        await to_the_end(indexer)
        assert Path((await search(indexer.index, "zeppelin", 1)).hits[0].path).name == "0007.txt"
        assert await store.count() == library.index.catalog.counts()[1] == FILES - 1


async def test_a_store_that_lost_its_points_is_filled_again_without_reading_or_embedding(
    library: Library, tmp_path: Path, reader: Reader
) -> None:
    await filled(library)
    count = len(library.embedder.embedded)
    async with open_edge(tmp_path / "empty", 64) as store:
        index = Index(library.index.catalog, store, library.embedder)
        indexer = Indexer(index, reader.read, growth=Growth(index, answering(library), -1))
        assert await to_the_end(indexer) == 0
        assert Path((await search(indexer.index, "number7", 1)).hits[0].path).name == "0007.txt"
        assert (await indexer.sync()).unchanged == FILES
    assert len(library.embedder.embedded) == count
