# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Token numbers become vectors on onnxruntime: by our own graph, or by one that came with the model.

ids, mask                                                    -> vector              our own: pooled, of length 1
input_ids, attention_mask, token_type_ids, position_ids      -> sentence_embedding  taken as it is
(whichever of these it asks for)                             -> last_hidden_state   pooled here
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.embed import EmbedderUnusable, Vectors
from indexer.embed.way import Pooling

_OUTPUTS = ("vector", "score", "sentence_embedding", "last_hidden_state", "token_embeddings", "logits")
_INPUTS = ("ids", "mask", "types", "input_ids", "attention_mask", "token_type_ids", "position_ids")
_NUMBERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

Tokens = Sequence[int]


class Session:
    """`pad`: the padding token's number; `first`: the place of the first token, where the graph asks for places."""

    def __init__(self, file: Path, threads: int, pad: int = 0, first: int = 0) -> None:
        self._session, self._pad, self._first = _opened(file, threads), pad, first
        self._types = {one.name: one.type for one in self._session.get_inputs()}
        if strange := [name for name, kind in self._types.items() if name not in _INPUTS or kind not in _NUMBERS]:
            raise EmbedderUnusable(
                f"{file} was expected to take some of {', '.join(_INPUTS[3:])} as whole numbers, "
                f"it asks for {', '.join(strange)}; export the model for feature extraction"
            )
        shapes: dict[str, list[Any]] = {one.name: one.shape for one in self._session.get_outputs()}
        self._output = next((name for name in _OUTPUTS if name in shapes), next(iter(shapes)))
        self.shape = shapes[self._output]
        self.own = "ids" in self._types

    @property
    def pooled(self) -> bool:
        return len(self.shape) == 2

    def vectors(self, encoded: Sequence[Tokens], pooling: Pooling = "graph") -> Vectors:
        """(texts, dimensions), each of length 1."""
        found, mask = self.run(encoded)
        if self.own:
            return found
        rows = found if self.pooled else _pooled(found, mask, pooling)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def run(
        self, encoded: Sequence[Tokens], types: Sequence[Tokens] | None = None, options: Any = None
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """The output, and the mask."""
        ids, mask = _padded(encoded, self._pad), _padded([[1] * len(tokens) for tokens in encoded], 0)
        feeds = self._feeds(ids, mask, types)
        return self._session.run([self._output], feeds, options)[0].astype(np.float32, copy=False), mask

    def rest(self) -> None:
        """Gives back the memory that it has worked in. The next run takes it again: after each batch that would cost a
        tenth more CPU."""
        options = _onnxruntime().RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.run([[self._pad]], options=options)

    def _feeds(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], types: Sequence[Tokens] | None
    ) -> dict[str, NDArray[Any]]:
        kinds = _padded(types, 0) if types else np.zeros_like(ids)
        places = np.broadcast_to(np.arange(ids.shape[1]) + self._first, ids.shape)
        given = dict(zip(_INPUTS, (ids, mask, kinds, ids, mask, kinds, places), strict=True))
        return {name: given[name].astype(_NUMBERS[kind], copy=False) for name, kind in self._types.items()}


def _padded(rows: Sequence[Tokens], pad: int) -> NDArray[np.int64]:
    filled = np.full((len(rows), max(map(len, rows))), pad, np.int64)
    for row, tokens in enumerate(rows):
        filled[row, : len(tokens)] = tokens
    return filled


def _pooled(tokens: Vectors, mask: NDArray[np.int64], pooling: Pooling) -> Vectors:
    if pooling == "cls":
        return tokens[:, 0]
    if pooling == "last":
        return tokens[np.arange(len(tokens)), mask.sum(axis=1) - 1]
    there = mask[:, :, None].astype(np.float32)
    return (tokens * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1e-9)


def _onnxruntime() -> Any:
    # Its builds tell Microsoft what is run, and keep a number for the device, unless this is said before they are
    # loaded: onnxruntime's Privacy.md.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


def _opened(graph: Path, threads: int) -> Any:
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it plans for each shape on its own: 110 MB more, and no faster
    # A thread that spins while it waits takes a core from the rest of the laptop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(graph),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers={"SkipLayerNormFusion"},  # four times as slow as the two operators that it joins
        )
    except Exception as error:  # onnxruntime's own errors have no common kind but this
        raise EmbedderUnusable(
            f"{graph} was expected to be a graph that onnxruntime runs: {error}; get or make it again"
        ) from error
