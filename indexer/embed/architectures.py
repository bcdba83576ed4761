"""BERT and its relatives, as one: what their config.json and their tensors are called.

bert                              roberta, xlm-roberta, camembert     counted from behind the padding token
distilbert                        mpnet                               and a bias for each distance of two tokens
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from indexer.embed import EmbedderUnusable
from indexer.embed.way import first_place

Activation = Literal["gelu", "relu"]

_BERT = {
    "layer": "encoder.layer.{}",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}
_MPNET = _BERT | {
    "query": "attention.attn.q",
    "key": "attention.attn.k",
    "value": "attention.attn.v",
    "attended": "attention.attn.o",
    "attended_norm": "attention.LayerNorm",
}
_DISTILBERT = {
    "layer": "transformer.layer.{}",
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attended": "attention.out_lin",
    "attended_norm": "sa_layer_norm",
    "wide": "ffn.lin1",
    "narrow": "ffn.lin2",
    "norm": "output_layer_norm",
}
# model_type -> (what its tensors' names begin with where there is a head too, the parts' names)
_FAMILIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "bert": ("bert.", _BERT),
    "roberta": ("roberta.", _BERT),
    "xlm-roberta": ("roberta.", _BERT),
    "camembert": ("roberta.", _BERT),
    "mpnet": ("mpnet.", _MPNET),
    "distilbert": ("distilbert.", _DISTILBERT),
}
_ACTIVATIONS: Mapping[str, Activation] = {"gelu": "gelu", "relu": "relu"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """`names`: part -> what its tensors are called. `first`: the place of the first token."""

    kind: str
    root: str
    names: Mapping[str, str]
    hidden: int
    heads: int
    layers: int
    epsilon: float
    activation: Activation
    first: int
    distances: int  # by how many kinds of distance two tokens attend to each other; 0: by none


def read(folder: Path) -> Architecture:
    """Raises EmbedderUnusable where the model in `folder` is none of these."""
    config: Mapping[str, Any] = json.loads((folder / "config.json").read_text())
    kind = str(config.get("model_type"))
    if kind not in _FAMILIES:
        raise EmbedderUnusable(
            f"{folder}: expected the weights of a BERT-like model ({', '.join(_FAMILIES)}), found model_type {kind!r}; "
            "use such a model, a folder with its model.onnx, or TANDEM_EMBED=ollama for others"
        )
    root, names = _FAMILIES[kind]
    activation = str(config.get("hidden_act") or config.get("activation") or "gelu")
    _expect(folder, activation, _ACTIVATIONS)
    _expect(folder, str(config.get("position_embedding_type") or "absolute"), ("absolute",))
    return Architecture(
        kind,
        root,
        names,
        int(config.get("hidden_size") or config["dim"]),
        int(config.get("num_attention_heads") or config["n_heads"]),
        int(config.get("num_hidden_layers") or config["n_layers"]),
        float(config.get("layer_norm_eps", 1e-12)),
        _ACTIVATIONS[activation],
        first_place(config),
        int(config.get("relative_attention_num_buckets", 32)) if kind == "mpnet" else 0,
    )


def fits(folder: Path) -> bool:
    try:
        read(folder)
    except (EmbedderUnusable, OSError, ValueError, KeyError):
        return False
    return True


def _expect(folder: Path, word: str, known: Collection[str]) -> None:
    if word not in known:
        raise EmbedderUnusable(
            f"{folder / 'config.json'}: expected {' or '.join(known)}, found {word!r}, which our graph does not have; "
            "use a folder with the model's model.onnx"
        )
