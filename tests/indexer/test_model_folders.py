"""Any folder with a model like BERT, as a hub has it: its vectors are those that its authors' code would make."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexer.chunk import chunk
from indexer.embed import EmbedderUnusable, graph, onnx, prefixes, way
from indexer.embed.prefixes import Asked, Prefixes
from indexer.offsets import offsets
from indexer.parse import parse
from tests.indexer.models import HIDDEN, PLACES, Model, write_graph, write_safetensors

SHORT, LONG = "the kiln is fired on mondays", "a yard behind the house cools slowly in one two three " * 4
KINDS = ("bert", "roberta", "xlm-roberta", "mpnet", "distilbert")


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., onnx.OnnxEmbedder]:
    def load(
        folder: Path, name: str = "tiny", precision: graph.Precision = "fp32", asked: Asked = prefixes.NOTHING_ASKED
    ):
        return onnx.load(name, folder, tmp_path / "cache", 1, precision, asked=asked)

    return load


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(found, expected, atol=2e-5))


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token", "lasttoken"])
@pytest.mark.parametrize("kind", KINDS)
async def test_each_relative_of_bert_gives_its_own_vectors_with_each_pooling(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder], kind: str, pooling: str
) -> None:
    model = Model(tmp_path / kind, kind)
    model.pools(pooling)
    embedder = opened(model.folder)
    vectors = await embedder.documents([SHORT, LONG])
    plain = pooling.removesuffix("_tokens").removesuffix("_token").removesuffix("token")
    assert near(vectors[0], model.vector(SHORT, plain))
    assert near(vectors[1], model.vector(LONG, plain))
    assert near(await embedder.query(SHORT), model.vector(SHORT, plain))
    assert embedder.dimensions == HIDDEN


@pytest.mark.parametrize(("kind", "root"), [("bert", "bert."), ("xlm-roberta", "roberta."), ("mpnet", "mpnet.")])
async def test_weights_that_were_saved_with_a_head_are_found_below_their_models_name(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder], kind: str, root: str
) -> None:
    model = Model(tmp_path / kind, kind, root)
    assert near(await opened(model.folder).query(SHORT), model.vector(SHORT))


@pytest.mark.parametrize(("dtype", "least"), [("F16", 0.99999), ("BF16", 0.999)])
async def test_weights_of_half_precision_are_read(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder], dtype: str, least: float
) -> None:
    model = Model(tmp_path / "half")
    model.save(dtype)
    assert await opened(model.folder).query(SHORT) @ model.vector(SHORT) > least


async def test_eight_bits_stay_close(tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]) -> None:
    model = Model(tmp_path / "small", "mpnet")
    embedder = opened(model.folder, precision="int8")
    assert 0.99999 > await embedder.query(SHORT) @ model.vector(SHORT) > 0.99
    assert embedder.signature.startswith("onnx-int8:tiny@")


@pytest.mark.parametrize("name", ["model.onnx", "onnx/model.onnx"])
@pytest.mark.parametrize("asks", [(), ("token_type_ids",), ("position_ids", "token_type_ids")])
async def test_a_model_that_came_as_a_graph_is_given_what_it_asks_for_and_pooled_here(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder], asks: tuple[str, ...], name: str
) -> None:
    model = Model(tmp_path / "foreign")
    (model.folder / "model.safetensors").unlink()
    model.write("config.json", {"model_type": "modernbert", "max_position_embeddings": 80})
    words = write_graph(model.folder, name, asks)
    extra = words[0] if "token_type_ids" in asks else 0
    embedder = opened(model.folder)
    found = await embedder.documents([SHORT, LONG])
    for text, vector in zip((SHORT, LONG), found, strict=True):
        ids, _ = model.ids(text)
        expected = (words[ids] + extra + (words[: len(ids)] if "position_ids" in asks else 0)).mean(axis=0)
        assert near(vector, expected / np.linalg.norm(expected))
    assert embedder.signature.startswith("onnx-file:tiny@")
    assert embedder.signature.endswith(f":{HIDDEN}:mean-{PLACES}")


async def test_a_graph_that_gives_one_vector_a_text_is_believed_whatever_modules_say(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]
) -> None:
    model = Model(tmp_path / "whole")
    (model.folder / "model.safetensors").unlink()
    model.write("modules.json", [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])
    words = write_graph(model.folder, gives="sentence_embedding")
    first = words[model.ids(SHORT)[0][0]]
    embedder = opened(model.folder)
    assert near(await embedder.query(SHORT), first / np.linalg.norm(first))
    assert ":graph-" in embedder.signature


async def test_of_weights_and_a_graph_we_make_our_own_graph_where_we_can(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]
) -> None:
    model = Model(tmp_path / "both")
    write_graph(model.folder)
    assert opened(model.folder).signature.startswith("onnx-fp32:")
    model.write("config.json", model.config | {"model_type": "nomic_bert"})
    assert opened(model.folder).signature.startswith("onnx-file:")


async def test_a_model_gets_the_words_before_a_text_that_its_folder_its_family_or_the_user_names(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]
) -> None:
    model = Model(tmp_path / "e5")
    by_family = opened(model.folder, name="intfloat/e5-tiny")
    assert near(await by_family.query(SHORT), model.vector(f"query: {SHORT}"))
    assert near((await by_family.documents([SHORT]))[0], model.vector(f"passage: {SHORT}"))
    model.write("config_sentence_transformers.json", {"prompts": {"query": "one ", "document": "two "}})
    by_folder = opened(model.folder, name="intfloat/e5-tiny")
    assert near(await by_folder.query(SHORT), model.vector(f"one {SHORT}"))
    asked = opened(model.folder, name="intfloat/e5-tiny", asked=Asked(query="three "))
    assert near(await asked.query(SHORT), model.vector(f"three {SHORT}"))
    assert near((await asked.documents([SHORT]))[0], model.vector(f"two {SHORT}"))
    model.write("config_sentence_transformers.json", {"prompts": {"query": "", "document": ""}})
    again = opened(model.folder, name="intfloat/e5-tiny")
    assert again.signature == by_family.signature
    assert len({by_family.signature, by_folder.signature, asked.signature}) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all-MiniLM-L6-v2", Prefixes()),
        ("intfloat/multilingual-e5-small", Prefixes("passage: ", "query: ")),
        ("nomic-embed-text:v1.5", Prefixes("search_document: ", "search_query: ")),
        ("BAAI/bge-m3", Prefixes()),
        ("BAAI/bge-small-en-v1.5", Prefixes("", "Represent this sentence for searching relevant passages: ")),
        ("thenlper/gte-small", Prefixes()),
    ],
)
def test_a_familys_words_are_known_by_the_name_wherever_the_model_runs(name: str, expected: Prefixes) -> None:
    assert prefixes.of(name) == expected


async def test_another_way_to_make_vectors_is_another_signature_and_the_usual_one_has_none(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]
) -> None:
    model = Model(tmp_path / "one")
    usual = opened(model.folder).signature
    assert usual.endswith(f":{HIDDEN}:mean-{PLACES}")
    model.write("sentence_bert_config.json", {"max_seq_length": 32})
    shorter = opened(model.folder).signature
    model.pools("cls_token")
    first = opened(model.folder).signature
    worded = opened(model.folder, asked=Asked("one ", "")).signature
    assert len({usual, shorter, first, worded}) == 4
    assert (shorter[-8:], first[-7:]) == (":mean-32", ":cls-32")
    assert way.Way().tag == ""


async def test_a_model_that_takes_less_than_a_chunk_takes_it_in_windows_and_misses_nothing(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]
) -> None:
    model = Model(tmp_path / "short")
    model.write("sentence_bert_config.json", {"max_seq_length": 12})
    embedder = opened(model.folder)
    vectors = await embedder.documents([SHORT, LONG, SHORT])
    inner = model.ids(LONG)[0][1:-1]
    windows = [[2, *inner[at : at + 10], 3] for at in range(0, len(inner), 10)]
    assert len(windows) > 4
    expected = sum(len(one) * model.pooled(one) for one in windows)
    assert near(vectors[1], expected / np.linalg.norm(expected))
    assert near(vectors[0], model.vector(SHORT))
    assert near(vectors[2], model.vector(SHORT))
    assert near(await embedder.query(LONG), vectors[1])


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_chunks_are_measured_by_the_models_own_tokenizer(tmp_path: Path, kind: str) -> None:
    model = Model(tmp_path / kind, kind)
    document = parse(Path("notes.txt"), (LONG * 20).encode())
    for one in chunk(document, offsets(str(model.folder / "tokenizer.json")), size=40, overlap=5):
        assert 0 < len(model.tokenizer.encode(one.text, add_special_tokens=False).ids) <= 41


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"config.json": {"model_type": "llama"}}, r"BERT-like.*'llama'.*model\.onnx.*ollama"),
        ({"config.json": {"model_type": "bert", "position_embedding_type": "relative_key"}}, "absolute.*relative_key"),
        ({"config.json": {"model_type": "bert", "hidden_act": "gelu_new"}}, "gelu or relu, found 'gelu_new'"),
        ({"modules.json": [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]}, "found Dense"),
        (
            {
                "modules.json": [{"path": "p", "type": "sentence_transformers.models.Pooling"}],
                "p/config.json": {"pooling_mode_max_tokens": True},
            },
            "mean, cls and last token, found pooling_mode_max_tokens",
        ),
        ({"modules.json": {"a": 1}}, "JSON list"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder], files: dict[str, object], told: str
) -> None:
    model = Model(tmp_path / "odd")
    for name, content in files.items():
        model.write(name, content)
    with pytest.raises(EmbedderUnusable, match=told):
        opened(model.folder)


def test_pooling_without_the_prefix_goes_with_no_prefix_only(
    tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]
) -> None:
    model = Model(tmp_path / "apart")
    model.pools("mean_tokens", include_prompt=False)
    assert opened(model.folder).prefixes == Prefixes()
    with pytest.raises(EmbedderUnusable, match=r"include_prompt: false.*TANDEM_EMBED_QUERY_PREFIX"):
        opened(model.folder, asked=Asked(query="one "))


def test_files_that_are_damaged_are_named(tmp_path: Path, opened: Callable[..., onnx.OnnxEmbedder]) -> None:
    model = Model(tmp_path / "damaged")
    some = {name: value for name, value in model.weights.items() if "layer.1" not in name}
    write_safetensors(model.folder / "model.safetensors", some)
    with pytest.raises(EmbedderUnusable, match=r"encoder\.layer\.1\.attention\.self\.query.*missing"):
        opened(model.folder)
    (model.folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(EmbedderUnusable, match=r"model\.safetensors was expected to hold weights"):
        opened(model.folder)
    (model.folder / "model.safetensors").unlink()
    (model.folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(EmbedderUnusable, match=r"model\.onnx was expected to be a graph"):
        opened(model.folder)
    write_graph(model.folder, asks=("pixel_values",))
    with pytest.raises(EmbedderUnusable, match="it asks for pixel_values"):
        opened(model.folder)
    write_graph(model.folder)
    (model.folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EmbedderUnusable, match=r"tokenizer\.json was expected to be a tokenizer"):
        opened(model.folder)
