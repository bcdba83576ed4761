"""The embedder of the default install: real weights, int8, no torch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from platformdirs import user_cache_path

from indexer.embed import EmbedderUnusable, graph, onnx, weights

NAME = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def embedder() -> onnx.OnnxEmbedder:
    return onnx.load(NAME, None, user_cache_path("tandem", appauthor=False) / "models", 2)


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
    for n, text in enumerate(texts):
        assert together[n] @ await embedder.query(text) > 0.99


async def test_the_small_graph_stays_close_to_the_full_one(embedder: onnx.OnnxEmbedder, tmp_path: Path) -> None:
    import onnx as vendor

    found = weights.find(NAME, None)
    vendor.save(graph.build(found.folder), tmp_path / "fp32.onnx")
    full = onnx.OnnxEmbedder(NAME, found, tmp_path / "fp32.onnx", 2)
    text = "Keep the boiler at 1.5 bar and look at the gauge on Mondays."
    assert await embedder.query(text) @ await full.query(text) > 0.97


def test_the_signature_names_model_digest_and_dimensions(embedder: onnx.OnnxEmbedder) -> None:
    assert embedder.signature == f"onnx-int8:{NAME}@53aa51172d14:384"


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
        graph.build(tmp_path)
