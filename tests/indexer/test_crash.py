"""Killed at any step of a run, the index has told no lie, and the next start makes it whole.

The store of these tests keeps in mind what a kill would take: all that was not flushed. The kill is an exception out
of one of the store's calls, after which catalog and flushed points are all that is left.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from indexer.bm25 import Sparse
from indexer.catalog import Catalog
from indexer.embed import Vectors
from indexer.pipeline import Indexer
from indexer.records import COMPLETE, document_id
from indexer.sandbox import Reader
from indexer.search import Index
from indexer.store import Point, Rankings, StoreAway
from tests.indexer.embedders import WordEmbedder

SIGNATURE = WordEmbedder().signature


class MortalStore:
    """Dies at its `dies_at`-th call; `revived` gives what a disk would have."""

    label = "mortal"

    def __init__(self, points: dict[int, Point], dies_at: int) -> None:
        self.flushed, self.points = dict(points), dict(points)
        self._dies_at, self.calls = dies_at, 0

    def revived(self, all_of_it: bool) -> "MortalStore":
        """What was written and not flushed may be lost, or may not."""
        return MortalStore(self.points if all_of_it else self.flushed, 10**9)

    def _step(self) -> None:
        self.calls += 1
        if self.calls == self._dies_at:
            raise StoreAway("killed")

    async def upsert(self, points: Sequence[Point]) -> None:
        self._step()
        self.points |= {point.id: point for point in points}

    async def delete(self, ids: Sequence[int]) -> None:
        self._step()
        for id_ in ids:
            self.points.pop(id_, None)

    async def flush(self) -> None:
        self._step()
        self.flushed = dict(self.points)

    async def search(
        self, dense: Vectors | None, sparse: Sparse, limit: int, documents: Sequence[int] | None = None
    ) -> Rankings:
        raise AssertionError("nothing is searched here")

    async def count(self) -> int:
        return len(self.points)

    async def tidy(self) -> None:
        pass

    async def publish(self) -> None:
        pass

    async def destroy(self) -> None:
        raise AssertionError("nothing is destroyed here")


def chunk_ids(catalog: Catalog) -> set[int]:
    return {id_ for _, path, _ in catalog.files() for id_ in _ids(catalog, path)}


def _ids(catalog: Catalog, path: str) -> list[int]:
    return [one.chunk.id for one in catalog.neighbours(document_id(path), 0, 10**9)]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(" ".join(f"{text} {n} stands in the yard." for n in range(60)))


async def a_life(catalog: Catalog, store: MortalStore, reader: Reader) -> None:
    indexer = Indexer(Index(catalog, store, WordEmbedder()), reader.read)
    await indexer.recover()
    await indexer.sync()
    await indexer.purge()


@pytest.mark.parametrize("all_of_it", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 8))
async def test_a_kill_at_any_step_leaves_no_document_without_its_points_and_no_point_for_ever(
    tmp_path: Path, dies_at: int, all_of_it: bool, reader: Reader
) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    catalog.add_roots([str(folder)])
    catalog.begin_generation(SIGNATURE, 64, "embedded", "answers", COMPLETE)
    for name in ("a.txt", "b.txt"):
        write(folder, name, f"The lantern of {name}")
    first = MortalStore({}, 10**9)
    await a_life(catalog, first, reader)

    write(folder, "a.txt", "The candle")  # replaced
    (folder / "b.txt").unlink()  # deleted
    write(folder, "c.txt", "The torch")  # new
    dying = MortalStore(first.flushed, dies_at)
    try:
        await a_life(catalog, dying, reader)
        died = False
    except StoreAway:
        died = True
    # What search would show after the kill has its points on disk.
    assert chunk_ids(catalog) <= set(dying.flushed)

    (folder / "c.txt").unlink()  # whatever the dead run had written of it
    last = dying.revived(all_of_it)
    await a_life(catalog, last, reader)
    assert chunk_ids(catalog) == set(last.flushed)
    assert {Path(path).name for _, path, _ in catalog.files()} == {"a.txt"}
    assert died == (dies_at <= dying.calls)
    assert died or dies_at > 4, "the steps to die at have become fewer"
    catalog.close()


async def test_vectors_that_no_file_uses_any_more_are_dropped(tmp_path: Path, reader: Reader) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    catalog.add_roots([str(folder)])
    catalog.begin_generation(SIGNATURE, 64, "embedded", "answers", COMPLETE)
    write(folder, "a.txt", "The lantern")
    store = MortalStore({}, 10**9)
    await a_life(catalog, store, reader)
    keys = [one.chunk.key for _, path, _ in catalog.files() for one in catalog.neighbours(document_id(path), 0, 10**9)]
    assert len(catalog.vectors(SIGNATURE, keys)) == len(set(keys)) > 0
    (folder / "a.txt").unlink()
    await a_life(catalog, store, reader)
    assert catalog.vectors(SIGNATURE, keys) == {}
    catalog.close()
