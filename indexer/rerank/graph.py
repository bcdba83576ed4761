"""Weights of a cross-encoder (BERT and its relatives, with the head of a classifier) become one ONNX graph."""

from pathlib import Path
from typing import Any

from indexer.embed import EmbedderUnusable
from indexer.embed.graph import Graph, Precision, opened

VERSION = 1

# model_type -> the linear layers over the first token, and what stands between them. The last gives the score.
_HEADS = {
    "bert": ("pooler.dense", "Tanh", "classifier"),
    "distilbert": ("pre_classifier", "Relu", "classifier"),
}
_HEAD = ("classifier.dense", "Tanh", "classifier.out_proj")


def build(folder: Path, precision: Precision) -> Any:
    """Inputs `ids`, `mask` and, where the model tells query and text apart by it, `types` (batch, tokens) int64; output
    `score` (batch, 1), as the model was trained: the order is the same with a sigmoid and without.

    Raises EmbedderUnusable where the model is of another kind.
    """
    graph = opened(folder, precision)
    paired = graph.architecture.kind == "bert"
    first = graph.pooled(graph.encoded("types" if paired else None), "cls")
    graph.output(_score(graph, first, folder), "score")
    return graph.model(("ids", "mask", "types") if paired else ("ids", "mask"), "score", 1)


def _score(graph: Graph, first: str, folder: Path) -> str:
    inner, between, last = _HEADS.get(graph.architecture.kind, _HEAD)
    labels = len(graph.weight(f"{last}.weight"))
    if labels != 1:
        raise EmbedderUnusable(
            f"{folder}: expected a cross-encoder with one score, found a classifier with {labels} labels; "
            "use a model that was trained for reranking"
        )
    return graph.linear(graph.add(between, graph.linear(first, inner)), last)
