# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Weights of BERT and its relatives (safetensors) become one ONNX graph: tokens in, unit vector out; int8 by channel,
or as they are.

Pooling and the norm are inside. int8: each linear layer is one `DynamicQuantizeMatMul` of onnxruntime, its weights
rounded by output channel, its input by batch: a cosine of 0.986 to fp32 (`benchmarks/embedding.py` has the speed).
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.embed import EmbedderUnusable, architectures, tensors
from indexer.embed.architectures import Architecture
from indexer.embed.way import Pooling

VERSION = 5
_LARGE_BYTES = 1 << 16
_FARTHEST = 128  # MPNet: tokens farther apart are all at one distance


Precision = Literal["int8", "fp32"]


def write(model: Any, target: Path) -> None:
    """Writes `target`, and `target`.data, the model's large tensors: beside, then renamed.

    A tensor in a file of its own is mapped and not read: processes share it, and only the rows in use take memory.
    """
    import onnx

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as beside:
        graph, data = Path(beside, target.name), Path(beside, f"{target.name}.data")
        onnx.save(model, graph, save_as_external_data=True, location=data.name, size_threshold=_LARGE_BYTES)
        # A small model has no large tensors. The graph last: it says that all is there.
        for made in (data, graph) if data.exists() else (graph,):
            with made.open("rb") as file:
                os.fsync(file.fileno())
            made.replace(target.with_name(made.name))


def build(folder: Path, precision: Precision, pooling: Pooling = "mean") -> Any:
    """The model: inputs `ids` and `mask` (batch, tokens) int64, padded at the end; output `vector` (batch, dimensions).

    Raises EmbedderUnusable where the model in `folder` is of another kind.
    """
    graph = opened(folder, precision)
    graph.output(graph.unit(graph.pooled(graph.encoded(), pooling)), "vector")
    return graph.model(("ids", "mask"), "vector", graph.architecture.hidden)


def opened(folder: Path, precision: Precision) -> "Graph":
    """Raises EmbedderUnusable."""
    architecture = architectures.read(folder)
    return Graph(tensors.read(folder / "model.safetensors"), architecture, precision)


class Graph:
    """Nodes and constants under construction; each method adds operators and names its result."""

    def __init__(self, weights: dict[str, NDArray[Any]], architecture: Architecture, precision: Precision) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.architecture, self._precision = architecture, precision
        self._root = "" if "embeddings.word_embeddings.weight" in weights else architecture.root
        self._weights = weights

    def model(self, inputs: Sequence[str], output: str, width: int) -> Any:
        from onnx import TensorProto, helper

        int64, float32 = TensorProto.INT64, TensorProto.FLOAT
        taken = [helper.make_tensor_value_info(name, int64, ["batch", "tokens"]) for name in inputs]
        given = [helper.make_tensor_value_info(output, float32, ["batch", width])]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        made = helper.make_graph(self.nodes, "bert", taken, given, self.constants)
        return helper.make_model(made, opset_imports=opsets, ir_version=9)

    def has(self, name: str) -> bool:
        return self._root + name in self._weights

    def weight(self, name: str) -> NDArray[np.float32]:
        """Raises EmbedderUnusable where there is none of this name, with the model's root or, as a head's, without."""
        for whole in (self._root + name, name):
            if whole in self._weights:
                return self._weights[whole].astype(np.float32)
        raise EmbedderUnusable(
            f"the weights of a {self.architecture.kind} were expected to have {self._root}{name}, which is missing: "
            "get the whole model.safetensors, or one that its config.json describes"
        )

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def axes(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        return self.add("Squeeze", self.axes(value))

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

    def _rows(self, name: str, numbers: str) -> str:
        """Of a table, which is most of a small model. For int8 it has half the bytes of its weights: a quarter of them
        cost a little of what is found (nDCG@10 .001 on COVID-QA)."""
        from onnx import TensorProto

        table = self.weight(name)
        if self._precision == "fp32":
            return self.add("Gather", self.constant(table), numbers)
        halves = self.add("Gather", self.constant(table.astype(np.float16)), numbers)
        return self.add("Cast", halves, to=TensorProto.FLOAT)

    def norm(self, x: str, name: str) -> str:
        scale, bias = (self.constant(self.weight(f"{name}.{part}")) for part in ("weight", "bias"))
        return self.add("LayerNormalization", x, scale, bias, epsilon=self.architecture.epsilon, axis=-1)

    def encoded(self, types: str | None = None) -> str:
        """(batch, tokens, hidden) after the last layer. `types`: of the tokens; without it each is of type 0."""
        words = self._rows("embeddings.word_embeddings.weight", "ids")
        places = self.weight("embeddings.position_embeddings.weight")[self.architecture.first :]
        if self.has("embeddings.token_type_embeddings.weight") and types is None:
            places = places + self.weight("embeddings.token_type_embeddings.weight")[0]
        length = self.add("Gather", self.add("Shape", "ids"), self.axes(1))
        place = self.add("Slice", self.constant(places), self.axes(0), length, self.axes(0))
        x = self.add("Add", words, place)
        if types is not None:
            kinds = self.constant(self.weight("embeddings.token_type_embeddings.weight"))
            x = self.add("Add", x, self.add("Gather", kinds, types))
        x = self.norm(x, "embeddings.LayerNorm")
        one, absent = self._masking()
        distant = self._distant(length) if self.architecture.distances else None
        for layer in range(self.architecture.layers):
            x = self._layer(x, one, absent, distant, self.architecture.names["layer"].format(layer))
        return x

    def _masking(self) -> tuple[str, str]:
        """One more number a token for query and key, whose product keeps attention from absent tokens: adding the mask
        to each pair of tokens costs five times as much. (batch, heads, tokens, 1) and (batch, heads, 1, tokens)."""
        heads = self.axes(self.architecture.heads, 1)
        shape = self.add("Concat", self.add("Shape", "ids"), heads, axis=0)  # batch, tokens, heads, 1
        one = self.add("Expand", self.number(1), self.add("Gather", shape, self.axes(0, 2, 1, 3)))
        absent = self.add("Sub", self.add("Unsqueeze", self._mask(), self.axes(1, 2)), self.number(1))
        absent = self.add("Mul", absent, self.number(1e4))
        return one, self.add("Expand", absent, self.add("Gather", shape, self.axes(0, 2, 3, 1)))

    def _mask(self) -> str:
        from onnx import TensorProto

        return self.add("Cast", "mask", to=TensorProto.FLOAT)

    def _distant(self, length: str) -> str:
        """(heads, tokens, tokens): how much more a token attends to another one at this distance."""
        most = len(self.weight("embeddings.position_embeddings.weight"))
        kinds = _kinds(np.arange(-most, most + 1), self.architecture.distances)
        table = self.constant(self.weight("encoder.relative_attention_bias.weight")[kinds].T)
        last = self.add("Squeeze", length)
        places = self.add("Range", self.scalar(0), last, self.scalar(1))
        rows, columns = (self.add("Unsqueeze", places, self.axes(axis)) for axis in (1, 0))
        distances = self.add("Add", self.add("Sub", columns, rows), self.axes(most))
        return self.add("Gather", table, distances, axis=1)

    def _layer(self, x: str, one: str, absent: str, distant: str | None, layer: str) -> str:
        hidden, heads = self.architecture.hidden, self.architecture.heads
        size = hidden // heads
        name = {part: f"{layer}.{own}" for part, own in self.architecture.names.items()}

        def heads_of(part: str, order: list[int], factor: float = 1) -> str:
            flat = self.linear(x, name[part], factor)
            return self.add("Transpose", self.add("Reshape", flat, self.axes(0, 0, heads, size)), perm=order)

        query = self.add("Concat", heads_of("query", [0, 2, 1, 3], size**-0.5), one, axis=3)
        key = self.add("Concat", heads_of("key", [0, 2, 3, 1]), absent, axis=2)
        near = self.add("MatMul", query, key)
        shares = self.add("Softmax", self.add("Add", near, distant) if distant else near, axis=-1)
        mixed = self.add("MatMul", shares, heads_of("value", [0, 2, 1, 3]))
        mixed = self.add("Reshape", self.add("Transpose", mixed, perm=[0, 2, 1, 3]), self.axes(0, 0, hidden))
        attended = self.linear(mixed, name["attended"])
        x = self.norm(self.add("Add", x, attended), name["attended_norm"])
        wide = self.linear(x, name["wide"])
        wide = self._gelu(wide) if self.architecture.activation == "gelu" else self.add("Relu", wide)
        return self.norm(self.add("Add", x, self.linear(wide, name["narrow"])), name["norm"])

    def _gelu(self, x: str) -> str:
        bell = self.add("Add", self.add("Erf", self.add("Mul", x, self.number(2**-0.5))), self.number(1))
        return self.add("Mul", self.add("Mul", x, self.number(0.5)), bell)

    def pooled(self, x: str, pooling: Pooling) -> str:
        """(batch, hidden): the mean of the tokens that are there, the first, or the last that is there."""
        if pooling == "cls":
            return self.add("Gather", x, self.scalar(0), axis=1)
        if pooling == "last":
            count = self.add("ReduceSum", "mask", self.axes(1), keepdims=1)
            last = self.add("Unsqueeze", self.add("Sub", count, self.axes(1)), self.axes(2))
            shape = self.add("Concat", self.add("Shape", last), self.axes(self.architecture.hidden), axis=0)
            wide = self.add("Expand", last, self.add("Gather", shape, self.axes(0, 1, 3)))
            return self.add("Squeeze", self.add("GatherElements", x, wide, axis=1), self.axes(1))
        mask = self.add("Unsqueeze", self._mask(), self.axes(2))
        total = self.add("ReduceSum", self.add("Mul", x, mask), self.axes(1), keepdims=0)
        count = self.add("ReduceSum", mask, self.axes(1), keepdims=0)
        return self.add("Div", total, self.add("Max", count, self.number(1e-9)))

    def unit(self, x: str) -> str:
        square = self.add("ReduceSum", self.add("Mul", x, x), self.axes(1), keepdims=1)
        return self.add("Div", x, self.add("Sqrt", self.add("Max", square, self.number(1e-12))))

    def output(self, x: str, name: str) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [x], [name]))


def _kinds(distances: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Which of `count` kinds each distance is, half of them for those before: near ones by themselves, far ones by
    the logarithm (T5, and MPNet after it)."""
    side, exact = count // 2, count // 4
    far = np.maximum(np.abs(distances), exact)
    log = exact + (np.log(far / exact) / np.log(_FARTHEST / exact) * (side - exact)).astype(np.int64)
    return np.where(np.abs(distances) < exact, np.abs(distances), np.minimum(log, side - 1)) + side * (distances > 0)
