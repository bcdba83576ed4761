# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A small BERT on onnxruntime, in this process: no torch, no server."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from indexer.embed import Vectors, weights

MAX_TOKENS = 256
_BATCH = 8  # more gains nothing on a CPU


class OnnxEmbedder:
    """Two sessions over one file: documents use all `threads`, queries one and never wait behind documents."""

    def __init__(self, name: str, found: weights.Weights, graph: Path, threads: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(found.tokenizer))
        self._tokenizer.enable_truncation(MAX_TOKENS)  # the file says 128
        self._tokenizer.no_padding()
        self._documents, self._queries = _session(graph, threads), _session(graph, 1)
        self._one_batch, self._two_queries = CapacityLimiter(1), CapacityLimiter(2)
        self.dimensions: int = self._queries.get_outputs()[0].shape[1]
        self.signature = f"onnx-int8:{name}@{found.sha256[:12]}:{self.dimensions}"
        self.tokenizer_file = found.tokenizer

    async def documents(self, texts: Sequence[str]) -> Vectors:
        run = partial(self._run, self._documents, list(texts))
        return await anyio.to_thread.run_sync(run, limiter=self._one_batch)

    async def query(self, text: str) -> Vectors:
        vectors = await anyio.to_thread.run_sync(self._run, self._queries, [text], limiter=self._two_queries)
        return vectors[0]

    def _run(self, session: Any, texts: list[str]) -> Vectors:
        encoded = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        # Texts of like length share a batch: up to half the tokens of a mixed one are padding.
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        for start in range(0, len(order), _BATCH):
            anyio.from_thread.check_cancelled()  # a batch takes a third of a second: the daemon ends between two
            rows = order[start : start + _BATCH]
            ids = np.zeros((len(rows), max(len(encoded[i]) for i in rows)), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(rows):
                ids[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1
            vectors[rows] = session.run(["vector"], {"ids": ids, "mask": mask})[0]
        return vectors


def _session(graph: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins while it waits takes a core from the rest of the laptop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def load(name: str, folder: Path | None, cache: Path, threads: int) -> OnnxEmbedder:
    """Opens the model; the first time it is built from the weights into `cache` (about 5 s).

    Raises EmbedderUnusable with the remedy where there are no weights.
    """
    from indexer.embed import graph

    found = weights.find(name, folder)
    path = cache / f"{found.sha256[:16]}-int8-{graph.VERSION}.onnx"
    if not path.exists():
        graph.quantized(found.folder, path)
    return OnnxEmbedder(name, found, path, threads)
