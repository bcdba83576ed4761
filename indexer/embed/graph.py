# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""BERT weights (safetensors) become one ONNX graph: tokens in, unit vector out; int8 by channel, or as they are.

Mean pooling and the norm are inside. int8: each linear layer is one `DynamicQuantizeMatMul` of onnxruntime, its weights
rounded by output channel, its input by batch: a cosine of 0.986 to fp32 (`benchmarks/embedding.py` has the speed).
"""

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.embed import EmbedderUnusable

VERSION = 3
_LARGE_BYTES = 1 << 20
_DTYPES: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


Precision = Literal["int8", "fp32"]


def write(folder: Path, target: Path, precision: Precision) -> None:
    """Writes `target`, the graph of the model in `folder`, and `target`.data, its large tensors: beside, then renamed.

    A tensor in a file of its own is mapped and not read: two sessions share it, and only the rows in use take memory.
    """
    import onnx

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as beside:
        model = build(folder, precision)
        graph, data = Path(beside, target.name), Path(beside, f"{target.name}.data")
        onnx.save(model, graph, save_as_external_data=True, location=data.name, size_threshold=_LARGE_BYTES)
        for made in (data, graph):  # the graph last: it says that all is there
            with made.open("rb") as file:
                os.fsync(file.fileno())
            made.replace(target.with_name(made.name))


def build(folder: Path, precision: Precision) -> Any:
    """The model: inputs `ids` and `mask` (batch, tokens) int64, output `vector` (batch, dimensions)."""
    from onnx import TensorProto, helper

    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != "bert":
        raise EmbedderUnusable(
            f"{folder}: expected the weights of a BERT-like model, found model_type {config.get('model_type')!r}; "
            "use such a model, or TANDEM_EMBED=ollama for others"
        )
    graph = _Graph(_tensors(folder / "model.safetensors"), config, precision)
    graph.output(graph.pooled(graph.encoded()))
    int64, float32 = TensorProto.INT64, TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(name, int64, ["batch", "tokens"]) for name in ("ids", "mask")]
    outputs = [helper.make_tensor_value_info("vector", float32, ["batch", config["hidden_size"]])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_graph(graph.nodes, "bert", inputs, outputs, graph.constants)
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The format: 8 bytes with the header's length, a JSON header, then the data."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    found: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _DTYPES:
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        found[name] = np.frombuffer(raw[begin:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


class _Graph:
    """Nodes and constants under construction; each method adds operators and names its result."""

    def __init__(self, weights: dict[str, NDArray[Any]], config: dict[str, Any], precision: Precision) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._config, self._precision = config, precision
        self._prefix = "" if "embeddings.word_embeddings.weight" in weights else "bert."
        self._weights = weights

    def weight(self, name: str) -> NDArray[np.float32]:
        return self._weights[self._prefix + name].astype(np.float32)

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def axes(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def linear(self, x: str, name: str, factor: float = 1) -> str:
        """`factor`: of the result, for nothing."""
        weight, bias = self.weight(f"{name}.weight").T * factor, self.weight(f"{name}.bias") * factor
        if self._precision == "fp32":
            return self.add("Add", self.add("MatMul", x, self.constant(weight)), self.constant(bias))
        scale = np.maximum(np.abs(weight).max(axis=0), 1e-12) / 127
        small = self.constant(np.round(weight / scale).astype(np.int8))
        scales = self.constant(scale.astype(np.float32))
        return self.add("DynamicQuantizeMatMul", x, small, scales, "", self.constant(bias), domain="com.microsoft")

    def norm(self, x: str, name: str) -> str:
        scale, bias = (self.constant(self.weight(f"{name}.{part}")) for part in ("weight", "bias"))
        epsilon = float(self._config.get("layer_norm_eps", 1e-12))
        return self.add("LayerNormalization", x, scale, bias, epsilon=epsilon, axis=-1)

    def encoded(self) -> str:
        """(batch, tokens, hidden) after the last layer."""
        words = self.constant(self.weight("embeddings.word_embeddings.weight"))
        # Added in advance: every token is of type 0.
        places = self.weight("embeddings.position_embeddings.weight")
        places = places + self.weight("embeddings.token_type_embeddings.weight")[0]
        length = self.add("Gather", self.add("Shape", "ids"), self.axes(1))
        place = self.add("Slice", self.constant(places), self.axes(0), length, self.axes(0))
        x = self.norm(self.add("Add", self.add("Gather", words, "ids"), place), "embeddings.LayerNorm")
        one, absent = self._masking()
        for layer in range(self._config["num_hidden_layers"]):
            x = self._layer(x, one, absent, f"encoder.layer.{layer}")
        return x

    def _masking(self) -> tuple[str, str]:
        """One more number a token for query and key, whose product keeps attention from absent tokens: adding the mask
        to each pair of tokens costs five times as much. (batch, heads, tokens, 1) and (batch, heads, 1, tokens)."""
        heads = self.axes(self._config["num_attention_heads"], 1)
        shape = self.add("Concat", self.add("Shape", "ids"), heads, axis=0)  # batch, tokens, heads, 1
        one = self.add("Expand", self.number(1), self.add("Gather", shape, self.axes(0, 2, 1, 3)))
        absent = self.add("Sub", self.add("Unsqueeze", self._mask(), self.axes(1, 2)), self.number(1))
        absent = self.add("Mul", absent, self.number(1e4))
        return one, self.add("Expand", absent, self.add("Gather", shape, self.axes(0, 2, 3, 1)))

    def _mask(self) -> str:
        from onnx import TensorProto

        return self.add("Cast", "mask", to=TensorProto.FLOAT)

    def _layer(self, x: str, one: str, absent: str, name: str) -> str:
        hidden, heads = self._config["hidden_size"], self._config["num_attention_heads"]
        size = hidden // heads

        def heads_of(part: str, order: list[int], factor: float = 1) -> str:
            flat = self.linear(x, f"{name}.attention.self.{part}", factor)
            return self.add("Transpose", self.add("Reshape", flat, self.axes(0, 0, heads, size)), perm=order)

        query = self.add("Concat", heads_of("query", [0, 2, 1, 3], size**-0.5), one, axis=3)
        key = self.add("Concat", heads_of("key", [0, 2, 3, 1]), absent, axis=2)
        shares = self.add("Softmax", self.add("MatMul", query, key), axis=-1)
        mixed = self.add("MatMul", shares, heads_of("value", [0, 2, 1, 3]))
        mixed = self.add("Reshape", self.add("Transpose", mixed, perm=[0, 2, 1, 3]), self.axes(0, 0, hidden))
        attended = self.linear(mixed, f"{name}.attention.output.dense")
        x = self.norm(self.add("Add", x, attended), f"{name}.attention.output.LayerNorm")
        wide = self._gelu(self.linear(x, f"{name}.intermediate.dense"))
        return self.norm(self.add("Add", x, self.linear(wide, f"{name}.output.dense")), f"{name}.output.LayerNorm")

    def _gelu(self, x: str) -> str:
        bell = self.add("Add", self.add("Erf", self.add("Mul", x, self.number(2**-0.5))), self.number(1))
        return self.add("Mul", self.add("Mul", x, self.number(0.5)), bell)

    def pooled(self, x: str) -> str:
        """Mean over the tokens that are there, then length 1."""
        mask = self.add("Unsqueeze", self._mask(), self.axes(2))
        total = self.add("ReduceSum", self.add("Mul", x, mask), self.axes(1), keepdims=0)
        count = self.add("ReduceSum", mask, self.axes(1), keepdims=0)
        mean = self.add("Div", total, self.add("Max", count, self.number(1e-9)))
        square = self.add("ReduceSum", self.add("Mul", mean, mean), self.axes(1), keepdims=1)
        return self.add("Div", mean, self.add("Sqrt", self.add("Max", square, self.number(1e-12))))

    def output(self, x: str) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [x], ["vector"]))
