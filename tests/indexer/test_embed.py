"""The embedder of the default install: real weights, int8, no torch."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import anyio
import numpy as np
import pytest
from platformdirs import user_cache_path

from indexer import heap
from indexer.embed import EmbedderUnusable, Vectors, graph, onnx, weights

NAME = "all-MiniLM-L6-v2"


CACHE = user_cache_path("tandem", appauthor=False) / "models"


@pytest.fixture(scope="module")
def embedder() -> onnx.OnnxEmbedder:
    return onnx.load(NAME, None, CACHE, 2)


async def test_vectors_have_length_one_and_meaning(embedder: onnx.OnnxEmbedder) -> None:
    cat, kitten, physics = await embedder.documents(
        ["A cat sits on the mat.", "The kitten rests on a rug.", "Lattice quantum chromodynamics."]
    )
    assert np.allclose(np.linalg.norm([cat, kitten, physics], axis=1), 1, atol=1e-4)
    assert cat @ kitten > 0.5 > 0.2 > cat @ physics


async def test_a_text_has_the_same_vector_whatever_is_embedded_beside_it(embedder: onnx.OnnxEmbedder) -> None:
    texts = ["A short one.", "A much longer sentence about boilers, gaskets and the pressure in the pipes." * 3]
    together = await embedder.documents(texts * 9)
    assert together.shape == (18, embedder.dimensions)
    alone = [await embedder.query(text) for text in texts]
    # With int8 the scale of a layer is that of its whole batch: not the same number, but the same place.
    assert all(row @ alone[n % 2] > 0.97 for n, row in enumerate(together))


async def test_a_chunks_vector_does_not_hang_on_the_chunks_beside_it(embedder: onnx.OnnxEmbedder) -> None:
    chunk, *others = [f"Kiln {n} cools slowly, and {10 * n} jars wait in the yard. " * 20 for n in range(8)]
    together = await embedder.documents([*others, chunk])
    assert np.array_equal(together[-1:], await embedder.documents([chunk]))


def test_what_embeds_keeps_no_account_of_itself_and_tells_nobody(embedder: onnx.OnnxEmbedder, tmp_path: Path) -> None:
    code = f"""
import anyio, os
from pathlib import Path
from indexer.embed import onnx
model = onnx.load({NAME!r}, None, Path({str(CACHE)!r}), 1)
anyio.run(model.query, "kiln")
"""
    kept = {name: os.environ[name] for name in ("PATH", "TANDEM_EMBED_MODEL", "LD_LIBRARY_PATH") if name in os.environ}
    subprocess.run([sys.executable, "-c", code], env=kept | {"HOME": str(tmp_path)}, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_the_small_graph_stays_close_to_the_full_one_and_has_another_signature(
    embedder: onnx.OnnxEmbedder, tmp_path: Path
) -> None:
    full = onnx.load(NAME, None, tmp_path, 2, "fp32")
    assert full.signature == f"onnx-fp32:{NAME}@53aa51172d14:384"
    assert embedder.signature == f"onnx-int8:{NAME}@53aa51172d14:384"
    text = "Keep the boiler at 1.5 bar and look at the gauge on Mondays."
    assert 0.9999 > await embedder.query(text) @ await full.query(text) > 0.97


async def test_each_vector_is_handed_out_as_soon_as_it_is_there(embedder: onnx.OnnxEmbedder) -> None:
    texts = [f"Kiln {n}. " + "It cools slowly. " * (n % 7) for n in range(30)]
    kept, after = dict[int, Vectors](), list[int]()

    def keep(start: int, rows: Vectors) -> None:
        assert len(rows) == 1
        assert start not in kept
        kept[start] = rows[0].copy()
        after.append(len(kept))

    vectors = await embedder.documents(texts, keep)
    assert sorted(kept) == list(range(30))
    assert all((vectors[n] == row).all() for n, row in kept.items())
    assert (await embedder.documents([])).shape == (0, embedder.dimensions)


async def test_what_is_given_up_ends_with_the_batch_under_way(embedder: onnx.OnnxEmbedder) -> None:
    done: list[int] = []
    with anyio.CancelScope() as scope:
        await embedder.documents(
            ["A long text about kilns. " * 60] * 800, lambda n, _: (done.append(n), scope.cancel())
        )
    assert scope.cancelled_caught
    assert len(done) == 1
    start = time.monotonic()
    await embedder.documents(["One more."])
    assert time.monotonic() - start < 5  # all of them take half a minute


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_an_embedder_at_rest_holds_less_memory_answers_queries_and_embeds_again() -> None:
    embedder = onnx.load(NAME, None, CACHE, 2)
    long = ["The kilns are in the yard. " * 40] * 8
    before, *_ = await embedder.documents(long)
    heap.trim()
    awake_mb = _own_mb()
    await embedder.rest()
    heap.trim()
    assert _own_mb() < awake_mb - 8
    assert await embedder.query("Where are the kilns?") @ before > 0.5
    again, *_ = await embedder.documents(long)
    assert np.array_equal(again, before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_what_it_works_in_grows_by_little_for_each_thread() -> None:
    embedder = onnx.load(NAME, None, CACHE, 2)
    heap.trim()
    before_mb = _own_mb()
    await embedder.documents(["The kilns are in the yard. " * 60] * 16)
    assert _own_mb() < before_mb + 40  # eight texts of this length at once are 76


def test_memory_that_is_free_goes_back_to_the_system() -> None:
    kept = [bytes(1000) for _ in range(100_000)][::1000]  # one block in a thousand holds the others' pages
    before_mb = _own_mb()
    heap.trim()
    assert _own_mb() < before_mb - 50
    assert len(kept) == 100


def _own_mb() -> float:
    """What this process shares with no file."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is a thread's own on Linux only")
async def test_in_the_background_documents_step_back_and_queries_do_not() -> None:
    before = _niceness()
    embedder = onnx.load(NAME, None, CACHE, 2, background=True)
    await embedder.query("Where are the kilns?")
    await embedder.documents(["The kilns are in the yard. " * 60] * 4)
    low = [thread for thread, nice in _niceness().items() if thread not in before and nice == 10]
    assert len(low) >= 2  # one for each of the two that embed
    own = threading.get_native_id()
    spent = _cpu_ticks()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(embedder.documents, ["A text about kilns and their yards. " * 30] * 24)
        await embedder.query("Where are the kilns? " * 40)
    worked = {thread for thread, ticks in _cpu_ticks().items() if ticks - spent.get(thread, 0) >= 20}
    assert worked
    assert {_niceness()[thread] for thread in worked - {own}} == {10}
    asking = {one.native_id for one in threading.enumerate() if "AnyIO worker" in one.name}
    assert asking
    assert {_niceness()[thread] for thread in {own, *asking} if thread} == {before[own]}


def test_weights_are_hashed_once_and_again_when_they_are_other_ones(tmp_path: Path) -> None:
    real, folder, cache = weights.find(NAME, None).folder, tmp_path / "weights", tmp_path / "cache"
    folder.mkdir()
    for file in weights.FILES:
        (folder / file).symlink_to(real / file)

    def signature() -> str:
        return onnx.load("my-minilm", folder, cache, 1, "fp32").signature

    assert signature() == "onnx-fp32:my-minilm@53aa51172d14:384"
    (record,) = cache.glob("*.weights.json")
    record.write_text(record.read_text().replace("53aa51172d14", "000000000000"))
    assert signature() == "onnx-fp32:my-minilm@000000000000:384"  # it was believed
    (folder / "model.safetensors").unlink()
    shutil.copy(real / "model.safetensors", folder)
    assert signature() == "onnx-fp32:my-minilm@53aa51172d14:384"
    (folder / "config.json").unlink()
    with pytest.raises(EmbedderUnusable, match=r"missing: config\.json"):
        signature()


def _niceness() -> dict[int, int]:
    return {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in _threads()}


def _threads() -> list[int]:
    return [int(thread.name) for thread in Path("/proc/self/task").iterdir()]


def _cpu_ticks() -> dict[int, int]:
    """Hundredths of a second that each thread has worked."""
    ticks: dict[int, int] = {}
    for thread in _threads():
        user, system = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[11:13]
        ticks[thread] = int(user) + int(system)
    return ticks


def test_a_folder_without_weights_is_told_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnusable) as told:
        weights.find(NAME, tmp_path)
    for way in ("make install", "TANDEM_EMBED_MODEL", "huggingface.co", "model.safetensors"):
        assert way in str(told.value)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    found = weights.find(NAME, None).folder
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(found / name, tmp_path / name)
    data = bytearray((found / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(EmbedderUnusable, match=r"53aa51172d14.*damaged"):
        weights.find(NAME, tmp_path)


def test_a_model_of_another_kind_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(EmbedderUnusable, match=r"BERT-like.*'llama'.*ollama"):
        graph.build(tmp_path, "int8")
