# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A small BERT or one of its relatives on onnxruntime, in this process: no torch, no server."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from indexer.embed import Done, EmbedderUnusable, Vectors, graph, weights
from indexer.embed.graph import Precision
from indexer.embed.prefixes import NOTHING_ASKED, Asked
from indexer.embed.sessions import Session
from indexer.embed.way import MAX_TOKENS, Way, first_place, read

_BATCH = 8  # more gains nothing on a CPU
_NICE = 10
_AS_IT_IS = "onnx-file"

_Windows = list[list[int]]
"""A text's token numbers: one window of them, or more where the model takes less than a chunk at a time."""


def load(
    name: str,
    folder: Path | None,
    cache: Path,
    threads: int,
    precision: Precision = "int8",
    background: bool = False,
    asked: Asked = NOTHING_ASKED,
) -> "OnnxEmbedder":
    """Opens the model; the first time it is built from the weights into `cache` (about 1 s). A model that came as a
    graph runs as it is, whatever `precision` says.

    `background`: documents are embedded at a low CPU priority (on Linux), queries never.
    Raises EmbedderUnusable with the remedy where there are no weights, OSError where `cache` cannot be written.
    """
    found = weights.remembered(name, folder, cache)
    if found.is_graph:
        config = found.config
        open_session = partial(Session, found.file, pad=int(config.get("pad_token_id") or 0), first=first_place(config))
        queries = open_session(1)
        way = read(found.folder, name, asked, pooled=queries.pooled)
        return OnnxEmbedder(name, found, _AS_IT_IS, way, open_session, queries, threads, background)
    way = read(found.folder, name, asked)
    pooling = "" if way.pooling == "mean" else f"-{way.pooling}"
    path = cache / f"{found.sha256[:16]}-{precision}-{graph.VERSION}{pooling}.onnx"
    if not path.exists():
        graph.write(graph.build(found.folder, precision, way.pooling), path)
    open_session = partial(Session, path)
    return OnnxEmbedder(name, found, f"onnx-{precision}", way, open_session, open_session(1), threads, background)


class OnnxEmbedder:
    """Two sessions over one file: documents use all `threads`, queries one and never wait behind documents.

    That of the documents is open from the first of them until `rest`: 30 MB, and 0.1 s of CPU to open it.
    """

    def __init__(
        self,
        name: str,
        found: weights.Weights,
        kind: str,
        way: Way,
        open_session: Callable[[int], Session],
        queries: Session,
        threads: int,
        background: bool = False,
    ) -> None:
        self._tokenizer = tokenizer(found.tokenizer, way.max_tokens)
        # A chunk is a vector's whole text: what takes less of it at a time takes it in windows.
        self._windows = way.max_tokens < MAX_TOKENS
        # The one thread of documents: what it starts, the session's other threads among them, has its priority.
        self._thread = ThreadPoolExecutor(1, "documents", _step_back if background else None)
        self._open, self._threads, self._way = open_session, threads, way
        self._documents: Session | None = None  # that thread's alone
        self._queries, self._two_queries = queries, CapacityLimiter(2)
        self.dimensions: int = queries.vectors([[0]], way.pooling).shape[1]
        self.prefixes = way.prefixes
        self.weights = f"{name}@{found.sha256[:12]}:{self.dimensions}"
        self.signature = f"{kind}:{self.weights}{way.tag}"
        self.tokenizer_file = found.tokenizer

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        encoded = await anyio.to_thread.run_sync(self._thread.submit(self._encode, texts).result)
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        # Texts of like length share a batch: up to half the tokens of a mixed one are padding.
        order = sorted(range(len(encoded)), key=lambda i: sum(map(len, encoded[i])))
        batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        # All are handed over at once: the thread does not wait for the loop between two.
        running = [
            self._thread.submit(self._batch, [encoded[i] for i in batch], batch is batches[-1]) for batch in batches
        ]
        try:
            for batch, future in zip(batches, running, strict=True):
                vectors[batch] = await anyio.to_thread.run_sync(future.result)
                if done:
                    for i in batch:
                        done(i, vectors[i : i + 1])
        finally:
            for future in running:
                future.cancel()  # a batch takes a third of a second: the daemon ends between two
        return vectors

    async def query(self, text: str) -> Vectors:
        return (await anyio.to_thread.run_sync(self._one, text, limiter=self._two_queries))[0]

    async def rest(self) -> None:
        await anyio.to_thread.run_sync(self._thread.submit(self._close).result)

    def _batch(self, encoded: Sequence[_Windows], last: bool) -> Vectors:
        if self._documents is None:
            self._documents = self._open(self._threads)
        return self._embedded(self._documents, encoded, last)

    def _close(self) -> None:
        self._documents = None

    def _encode(self, texts: Sequence[str]) -> list[_Windows]:
        prefixed = [self.prefixes.document + text for text in texts]
        return [self._windows_of(encoding) for encoding in self._tokenizer.encode_batch(prefixed)]

    def _one(self, text: str) -> Vectors:
        # Not `encode_batch`: its threads are those of the documents, and of their priority.
        encoding = self._tokenizer.encode(self.prefixes.query + text)
        return self._embedded(self._queries, [self._windows_of(encoding)])

    def _windows_of(self, encoding: Any) -> _Windows:
        parts = [encoding, *encoding.overflowing] if self._windows else [encoding]
        return [part.ids for part in parts]

    def _embedded(self, session: Session, encoded: Sequence[_Windows], last: bool = False) -> Vectors:
        rows = session.vectors([ids for windows in encoded for ids in windows], self._way.pooling, last)
        return rows if len(rows) == len(encoded) else _joined(rows, encoded)


def _joined(rows: Vectors, encoded: Sequence[_Windows]) -> Vectors:
    """A text's vector is the mean of its windows', each as heavy as it is long."""
    lengths = np.array([len(ids) for windows in encoded for ids in windows], np.float32)
    starts = np.cumsum([0, *(len(windows) for windows in encoded[:-1])])
    sums = np.add.reduceat(rows * lengths[:, None], starts)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def tokenizer(file: Path, most: int) -> Any:
    """It gives up to `most` tokens of a text. Raises EmbedderUnusable."""
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing more special
        raise EmbedderUnusable(f"{file} was expected to be a tokenizer: {error}; get it again") from error
    found.enable_truncation(most)  # the file may say another number
    found.no_padding()
    return found


def _step_back() -> None:
    """On Linux niceness is a thread's own, and inherited by those it starts; elsewhere it is the whole process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))
