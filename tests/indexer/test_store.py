"""One behaviour over both store adapters."""

import sys
from pathlib import Path

import numpy as np
import pytest

from indexer import bm25, lexical
from indexer.bm25 import Sparse
from indexer.store import Point, Store, StoreUnusable
from indexer.store.edge import open_edge
from indexer.store.server import open_server
from tests.fake_qdrant import fake_qdrant


def unit(*places: int) -> np.ndarray:
    vector = np.zeros(64, np.float32)
    vector[list(places)] = 1
    return vector / np.linalg.norm(vector)


def words(text: str) -> Sparse:
    return bm25.document_vector(lexical.terms(text))


def asked(text: str) -> Sparse:
    return bm25.query_vector(lexical.asked(text))


NOTHING = asked("")


async def test_each_side_ranks_by_its_own_measure(store: Store) -> None:
    await store.upsert(
        [
            Point(1, unit(0), words("the boiler pressure"), 10),
            Point(2, unit(0, 1), words("the garden gate"), 10),
            Point(3, unit(5), words("boiler boiler manual"), 20),
        ]
    )
    found = await store.search(unit(0), asked("boiler"), 10)
    assert [id_ for id_, _ in found.dense][:2] == [1, 2]
    assert found.dense[0][1] == pytest.approx(1, abs=0.02)
    assert [id_ for id_, _ in found.lexical] == [3, 1]


async def test_a_point_is_found_as_soon_as_it_is_written(store: Store) -> None:
    await store.upsert([Point(7, unit(3), words("a lantern"), 1)])
    assert (await store.search(unit(3), asked("lantern"), 5)).lexical[0][0] == 7


async def test_writing_a_point_again_replaces_it(store: Store) -> None:
    await store.upsert([Point(7, unit(3), words("lantern"), 1)])
    await store.upsert([Point(7, unit(4), words("candle"), 1)])
    found = await store.search(unit(4), asked("lantern"), 5)
    assert await store.count() == 1
    assert found.lexical == ()
    assert found.dense[0] == (7, pytest.approx(1, abs=0.02))


async def test_deleted_points_are_gone_and_unknown_ids_are_no_error(store: Store) -> None:
    await store.upsert([Point(n, unit(n), words("lantern"), 1) for n in (1, 2, 3)])
    await store.delete([1, 3, 999])
    await store.flush()
    assert await store.count() == 1
    assert [id_ for id_, _ in (await store.search(unit(1), asked("lantern"), 5)).lexical] == [2]


async def test_a_filter_keeps_only_the_documents_named(store: Store) -> None:
    await store.upsert([Point(n, unit(0), words("lantern"), n // 10) for n in (11, 12, 21, 31)])
    found = await store.search(unit(0), asked("lantern"), 10, [1, 3])
    assert {id_ for id_, _ in found.dense} == {id_ for id_, _ in found.lexical} == {11, 12, 31}


async def test_without_a_query_vector_the_lexical_side_answers_alone(store: Store) -> None:
    await store.upsert([Point(1, unit(0), words("lantern"), 1)])
    found = await store.search(None, asked("lantern"), 10)
    assert (found.dense, [id_ for id_, _ in found.lexical]) == ((), [1])


async def test_a_query_of_stop_words_only_leaves_the_dense_side(store: Store) -> None:
    await store.upsert([Point(1, unit(0), words("lantern"), 1)])
    found = await store.search(unit(0), asked("where is it"), 10)
    assert (len(found.dense), found.lexical) == (1, ())
    assert await store.search(None, NOTHING, 10) == type(found)((), ())


async def test_more_points_than_one_batch_and_ids_of_63_bits(store: Store) -> None:
    top = 2**63 - 1
    await store.upsert([Point(top - n, unit(n % 64), words(f"number{n}"), 1) for n in range(600)])
    assert await store.count() == 600
    assert (await store.search(None, asked("number599"), 5)).lexical[0][0] == top - 599
    await store.delete([top - n for n in range(600)])
    assert await store.count() == 0


async def test_rare_words_weigh_more_than_common_ones(store: Store) -> None:
    await store.upsert([Point(n, unit(n), words("pump"), 1) for n in range(20)])
    await store.upsert([Point(50, unit(50), words("gasket"), 1)])
    found = await store.search(None, asked("pump gasket"), 3)
    assert found.lexical[0][0] == 50


async def test_the_embedded_store_keeps_what_was_flushed(tmp_path) -> None:
    async with open_edge(tmp_path / "store", 64) as store:
        await store.upsert([Point(1, unit(0), words("lantern"), 1)])
    async with open_edge(tmp_path / "store", 64) as store:
        assert (await store.search(unit(0), asked("lantern"), 5)).lexical[0][0] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_small_embedded_store_takes_little_memory(tmp_path: Path) -> None:
    async with open_edge(tmp_path / "store", 64) as store:
        await store.upsert([Point(n, unit(n % 64), words(f"lantern {n}"), 1) for n in range(500)])
    before_mb = _mapped_mb()
    async with open_edge(tmp_path / "store", 64) as store:
        assert len((await store.search(unit(0), asked("lantern"), 5)).dense) == 5
        assert _mapped_mb() < before_mb + 16  # a file for vectors has 32, however few are in it


def _mapped_mb() -> float:
    return int(Path("/proc/self/status").read_text().split("RssFile:")[1].split()[0]) / 1024


async def test_other_dimensions_are_refused_and_nothing_is_changed(tmp_path) -> None:
    async with open_edge(tmp_path / "store", 64) as store:
        await store.upsert([Point(1, unit(0), words("lantern"), 1)])
    with pytest.raises(StoreUnusable, match="nothing was changed"):
        async with open_edge(tmp_path / "store", 32):
            pass
    async with open_edge(tmp_path / "store", 64) as store:
        assert await store.count() == 1


async def test_a_damaged_folder_is_named_with_what_to_do(tmp_path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "segments").write_text("not a folder of segments")
    with pytest.raises(StoreUnusable, match="--data"):
        async with open_edge(tmp_path / "store", 64):
            pass


async def test_a_qdrant_server_that_is_away_is_named_with_what_to_do(port: int) -> None:
    from indexer.store import StoreAway

    with pytest.raises(StoreAway, match=rf"127.0.0.1:{port}.*QDRANT_URL"):
        async with open_server(f"http://127.0.0.1:{port}", None, "my_docs", 64):
            pass


async def test_a_new_collection_has_the_shards_and_replicas_that_were_asked_for_and_an_old_one_its_own() -> None:
    async with fake_qdrant() as server:
        async with open_server(server.url, None, "my_docs", 64, shards=6, replicas=2):
            pass
        async with open_server(server.url, None, "my_docs", 64, shards=3):
            pass
    asked = server.made["my_docs"]
    assert (asked["shard_number"], asked["replication_factor"]) == (6, 2)
