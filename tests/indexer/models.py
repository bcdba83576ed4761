"""Small models with random weights as a hub has them, and what they compute, in numpy and one text at a time."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

Array = NDArray[np.float32]

HIDDEN, HEADS, LAYERS, WIDE, PLACES = 48, 4, 2, 96, 80
WORDS = "the kiln is fired on mondays and cools slowly in a yard behind house query passage : one two three".split()
_SPECIAL = {"roberta": ["<s>", "<pad>", "</s>", "<unk>"], "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]}


class Model:
    """A folder of the kind that config.json's model_type names: bert, roberta, xlm-roberta, mpnet, distilbert."""

    def __init__(self, folder: Path, kind: str = "bert", root: str = "", head: bool = False, seed: int = 7) -> None:
        self.folder, self.kind, self.root = folder, kind, root
        self.like = "roberta" if kind in ("roberta", "xlm-roberta", "mpnet") else "bert"
        self.first = 2 if self.like == "roberta" else 0
        self.random = np.random.default_rng(seed)
        self.weights: dict[str, Array] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = _tokenizer(kind, self.like)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        self._make()
        if head:
            self._make_head()
        self.config: dict[str, Any] = {
            "model_type": kind,
            "pad_token_id": 1 if self.first else 0,
            "max_position_embeddings": PLACES + self.first,
            **(
                {"dim": HIDDEN, "n_heads": HEADS, "n_layers": LAYERS, "activation": "gelu"}
                if kind == "distilbert"
                else {
                    "hidden_size": HIDDEN,
                    "num_attention_heads": HEADS,
                    "num_hidden_layers": LAYERS,
                    "hidden_act": "gelu",
                    "layer_norm_eps": 1e-5,
                }
            ),
        }
        self.write("config.json", self.config)
        self.save()

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        (self.folder / name).write_text(json.dumps(content))

    def pools(self, mode: str, **more: Any) -> None:
        modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
        types = [{"path": path, "type": f"sentence_transformers.models.{name}"} for path, name in modules]
        self.write("modules.json", types)
        asked = {
            f"pooling_mode_{name}": name == mode for name in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
        }
        self.write("1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, **asked, **more})

    def save(self, dtype: str = "F32") -> None:
        write_safetensors(self.folder / "model.safetensors", self.weights, dtype)

    def ids(self, text: str, pair: str | None = None) -> tuple[list[int], list[int]]:
        encoding = self.tokenizer.encode(text, pair)
        return encoding.ids, encoding.type_ids

    def tokens(self, ids: Sequence[int], types: Sequence[int] | None = None) -> Array:
        """(tokens, HIDDEN) after the last layer."""
        names = _names(self.kind)
        x = self._w("embeddings.word_embeddings.weight")[ids]
        x = x + self._w("embeddings.position_embeddings.weight")[self.first : self.first + len(ids)]
        if self.kind not in ("distilbert", "mpnet"):
            x = x + self._w("embeddings.token_type_embeddings.weight")[types or [0] * len(ids)]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = names["layer"].format(layer)
            attended = self._linear(self._attended(x, at, names), f"{at}.{names['attended']}")
            x = self._norm(x + attended, f"{at}.{names['attended_norm']}")
            wide = _gelu(self._linear(x, f"{at}.{names['wide']}"))
            x = self._norm(x + self._linear(wide, f"{at}.{names['narrow']}"), f"{at}.{names['norm']}")
        return x

    def vector(self, text: str, pooling: str = "mean") -> Array:
        return self.pooled(self.ids(text)[0], pooling)

    def pooled(self, ids: Sequence[int], pooling: str = "mean") -> Array:
        tokens = self.tokens(ids)
        found = {"mean": tokens.mean(axis=0), "cls": tokens[0], "last": tokens[-1]}[pooling]
        return found / np.linalg.norm(found)

    def score(self, query: str, text: str) -> float:
        """Of the cross-encoder that `head` made."""
        ids, types = self.ids(query, text)
        first = self.tokens(ids, types)[0]
        w = self.weights
        if self.kind == "bert":
            first = np.tanh(self._linear(first, "pooler.dense"))
            return float((first @ w["classifier.weight"].T + w["classifier.bias"])[0])
        if self.kind == "distilbert":
            first = np.maximum(first @ w["pre_classifier.weight"].T + w["pre_classifier.bias"], 0)
            return float((first @ w["classifier.weight"].T + w["classifier.bias"])[0])
        first = np.tanh(first @ w["classifier.dense.weight"].T + w["classifier.dense.bias"])
        return float((first @ w["classifier.out_proj.weight"].T + w["classifier.out_proj.bias"])[0])

    def _attended(self, x: Array, at: str, names: Mapping[str, str]) -> Array:
        q, k, v = (self._linear(x, f"{at}.{names[part]}") for part in ("query", "key", "value"))
        size, mixed = HIDDEN // HEADS, np.zeros_like(x)
        for head in range(HEADS):
            own = slice(head * size, (head + 1) * size)
            near = q[:, own] @ k[:, own].T / math.sqrt(size)
            if self.kind == "mpnet":
                bias = self._w("encoder.relative_attention_bias.weight")[:, head]
                near = near + np.array([[bias[_bucket(j - i)] for j in range(len(x))] for i in range(len(x))])
            shares = np.exp(near - near.max(axis=1, keepdims=True))
            mixed[:, own] = shares / shares.sum(axis=1, keepdims=True) @ v[:, own]
        return mixed

    def _w(self, name: str) -> Array:
        return self.weights[self.root + name]

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self._w(f"{name}.weight").T + self._w(f"{name}.bias")

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        epsilon = 1e-12 if self.kind == "distilbert" else 1e-5
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return centred / spread * self._w(f"{name}.weight") + self._w(f"{name}.bias")

    def _make(self) -> None:
        names, vocabulary = _names(self.kind), self.tokenizer.get_vocab_size()
        self._add("embeddings.word_embeddings.weight", vocabulary, HIDDEN)
        self._add("embeddings.position_embeddings.weight", PLACES + self.first, HIDDEN)
        if self.kind not in ("distilbert", "mpnet"):
            self._add("embeddings.token_type_embeddings.weight", 2 if self.kind == "bert" else 1, HIDDEN)
        if self.kind == "mpnet":
            self._add("encoder.relative_attention_bias.weight", 32, HEADS)
        self._add_norm("embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = names["layer"].format(layer)
            for part in ("query", "key", "value", "attended"):
                self._add_linear(f"{at}.{names[part]}", HIDDEN, HIDDEN)
            self._add_linear(f"{at}.{names['wide']}", WIDE, HIDDEN)
            self._add_linear(f"{at}.{names['narrow']}", HIDDEN, WIDE)
            self._add_norm(f"{at}.{names['attended_norm']}")
            self._add_norm(f"{at}.{names['norm']}")

    def _make_head(self) -> None:
        if self.kind == "bert":
            self._add_linear("pooler.dense", HIDDEN, HIDDEN)
        root, self.root = self.root, ""
        if self.kind in ("bert", "distilbert"):
            self._add_linear("classifier", 1, HIDDEN)
        if self.kind == "distilbert":
            self._add_linear("pre_classifier", HIDDEN, HIDDEN)
        if self.like == "roberta":
            self._add_linear("classifier.dense", HIDDEN, HIDDEN)
            self._add_linear("classifier.out_proj", 1, HIDDEN)
        self.root = root

    def _add(self, name: str, *shape: int, about: float = 0, spread: float = 1) -> None:
        self.weights[self.root + name] = self.random.normal(about, spread, shape).astype(np.float32)

    def _add_linear(self, name: str, out: int, into: int) -> None:
        self._add(f"{name}.weight", out, into, spread=into**-0.5)
        self._add(f"{name}.bias", out, spread=0.2)

    def _add_norm(self, name: str) -> None:
        self._add(f"{name}.weight", HIDDEN, about=1, spread=0.2)
        self._add(f"{name}.bias", HIDDEN, spread=0.2)


def write_safetensors(path: Path, weights: Mapping[str, Array], dtype: str = "F32") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in weights.items():
        raw = _as(value, dtype)
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + data)


def write_graph(
    folder: Path, name: str = "model.onnx", asks: Sequence[str] = (), gives: str = "last_hidden_state"
) -> Array:
    """A foreign graph: a token's vector is its word's, and that of whatever else it asks for. Returns the words'
    vectors. `gives` sentence_embedding: that of the first token; logits: the sum of the tokens' first numbers."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    words = np.random.default_rng(3).normal(size=(200, HIDDEN)).astype(np.float32)
    inputs = ["input_ids", "attention_mask", *asks]
    nodes = [helper.make_node("Gather", ["words", "input_ids"], ["x0"])]
    for n, extra in enumerate(asks):
        nodes += [
            helper.make_node("Gather", ["words", extra], [f"y{n}"]),
            helper.make_node("Add", [f"x{n}", f"y{n}"], [f"x{n + 1}"]),
        ]
    last, shape = f"x{len(asks)}", ["batch", "tokens", HIDDEN]
    if gives == "sentence_embedding":
        nodes.append(helper.make_node("Gather", [last, "zero"], [gives], axis=1))
        shape = ["batch", HIDDEN]
    elif gives == "logits":
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["there"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["there", "two"], ["column"]),
            helper.make_node("Mul", [last, "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "one"], ["sums"], keepdims=0),
            helper.make_node("Slice", ["sums", "start", "one", "one"], [gives]),
        ]
        shape = ["batch", 1]
    else:
        nodes.append(helper.make_node("Identity", [last], [gives]))
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(one, TensorProto.INT64, ["batch", "tokens"]) for one in inputs],
        [helper.make_tensor_value_info(gives, TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(words, "words"),
            numpy_helper.from_array(np.array(0), "zero"),
            *(numpy_helper.from_array(np.array([n]), name) for n, name in enumerate(("start", "one", "two"))),
        ],
    )
    (folder / name).parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / name)
    return words


def _as(value: Array, dtype: str) -> bytes:
    if dtype == "BF16":
        return (value.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return value.astype({"F32": np.float32, "F16": np.float16}[dtype]).tobytes()


def _names(kind: str) -> Mapping[str, str]:
    if kind == "distilbert":
        parts = "attention.q_lin attention.k_lin attention.v_lin attention.out_lin sa_layer_norm ffn.lin1 ffn.lin2"
        layer, norm = "transformer.layer.{}", "output_layer_norm"
    elif kind == "mpnet":
        parts = "attention.attn.q attention.attn.k attention.attn.v attention.attn.o attention.LayerNorm"
        parts, layer, norm = f"{parts} intermediate.dense output.dense", "encoder.layer.{}", "output.LayerNorm"
    else:
        parts = "attention.self.query attention.self.key attention.self.value attention.output.dense"
        parts += " attention.output.LayerNorm intermediate.dense output.dense"
        layer, norm = "encoder.layer.{}", "output.LayerNorm"
    roles = ("query", "key", "value", "attended", "attended_norm", "wide", "narrow")
    return dict(zip(roles, parts.split(), strict=True)) | {"layer": layer, "norm": norm}


def _bucket(distance: int) -> int:
    """MPNet's, as its authors' code has it: 32 kinds of distance, far ones by their logarithm up to 128."""
    start = 16 if distance > 0 else 0
    far = abs(distance)
    if far < 8:
        return start + far
    return start + min(15, 8 + int(math.log(far / 8) / math.log(128 / 8) * 8))


def _gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def _tokenizer(kind: str, like: str) -> Tokenizer:
    special = _SPECIAL[like]
    if kind == "xlm-roberta":
        pieces = [(f"▁{word}", -1.0 - n / 50) for n, word in enumerate(WORDS)]
        letters = [(letter, -9.0) for letter in "▁abcdefghijklmnopqrstuvwxyz:"]
        tokenizer = Tokenizer(models.Unigram([(one, 0.0) for one in special] + pieces + letters, unk_id=3))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    else:
        letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
        words = {word: n for n, word in enumerate([*special, *WORDS, *"abcdefghijklmnopqrstuvwxyz", *letters])}
        words = {word: n for n, word in enumerate(dict.fromkeys(words))}
        tokenizer = Tokenizer(models.WordPiece(words, unk_token=special[3 if like == "roberta" else 1]))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    begin, end = ("<s>", "</s>") if like == "roberta" else ("[CLS]", "[SEP]")
    second = f"{end} $B {end}" if like == "roberta" else f"$B:1 {end}:1"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {second}",
        special_tokens=[(one, tokenizer.token_to_id(one)) for one in (begin, end)],
    )
    return tokenizer
