# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A small BERT or one of its relatives on onnxruntime, in this process: no torch, no server."""

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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

# One chunk, or some short texts. What is more leaves the processor's cache: eight chunks at once took a fifth more CPU.
_TOKENS = 256
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
        session = Session(found.file, 1, pad=int(config.get("pad_token_id") or 0), first=first_place(config))
        way = read(found.folder, name, asked, pooled=session.pooled)
        return OnnxEmbedder(name, found, _AS_IT_IS, way, session, threads, background)
    way = read(found.folder, name, asked)
    pooling = "" if way.pooling == "mean" else f"-{way.pooling}"
    path = cache / f"{found.sha256[:16]}-{precision}-{graph.VERSION}{pooling}.onnx"
    if not path.exists():
        graph.write(graph.build(found.folder, precision, way.pooling), path)
    return OnnxEmbedder(name, found, f"onnx-{precision}", way, Session(path, 1), threads, background)


class OnnxEmbedder:
    """One session for all: each of `threads` threads embeds a document by itself, and queries, on threads of their own,
    never wait behind documents.

    What it works in is up to 10 MB for each thread, kept until `rest`.
    """

    def __init__(
        self,
        name: str,
        found: weights.Weights,
        kind: str,
        way: Way,
        session: Session,
        threads: int,
        background: bool = False,
    ) -> None:
        self._tokenizer = tokenizer(found.tokenizer, way.max_tokens)
        # A chunk is a vector's whole text: what takes less of it at a time takes it in windows.
        self._windows = way.max_tokens < MAX_TOKENS
        # What these start, the tokenizer's threads among them, has their priority.
        self._threads = ThreadPoolExecutor(threads, "documents", _step_back if background else None)
        self._session, self._way, self._two_queries = session, way, CapacityLimiter(2)
        self.dimensions: int = session.vectors([[0]], way.pooling).shape[1]
        self.prefixes = way.prefixes
        self.weights = f"{name}@{found.sha256[:12]}:{self.dimensions}"
        self.signature = f"{kind}:{self.weights}{way.tag}"
        self.tokenizer_file = found.tokenizer

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        encoded = await anyio.to_thread.run_sync(self._threads.submit(self._encode, texts).result)
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        batches = _batches([sum(map(len, windows)) for windows in encoded])
        # All are handed over at once: no thread waits for the loop between two.
        running = [self._threads.submit(self._embedded, [encoded[i] for i in batch]) for batch in batches]
        try:
            for batch, future in zip(batches, running, strict=True):
                vectors[batch] = await anyio.to_thread.run_sync(future.result)
                if done:
                    for i in batch:
                        done(i, vectors[i : i + 1])
        finally:
            for future in running:
                future.cancel()  # the daemon ends between two
        return vectors

    async def query(self, text: str) -> Vectors:
        return (await anyio.to_thread.run_sync(self._one, text, limiter=self._two_queries))[0]

    async def rest(self) -> None:
        await anyio.to_thread.run_sync(self._session.rest)

    def _encode(self, texts: Sequence[str]) -> list[_Windows]:
        prefixed = [self.prefixes.document + text for text in texts]
        return [self._windows_of(encoding) for encoding in self._tokenizer.encode_batch(prefixed)]

    def _one(self, text: str) -> Vectors:
        # Not `encode_batch`: its threads are those of the documents, and of their priority.
        encoding = self._tokenizer.encode(self.prefixes.query + text)
        return self._embedded([self._windows_of(encoding)])

    def _windows_of(self, encoding: Any) -> _Windows:
        parts = [encoding, *encoding.overflowing] if self._windows else [encoding]
        return [part.ids for part in parts]

    def _embedded(self, encoded: Sequence[_Windows]) -> Vectors:
        rows = self._session.vectors([ids for windows in encoded for ids in windows], self._way.pooling)
        return rows if len(rows) == len(encoded) else _joined(rows, encoded)


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Texts of like length share a batch, as many as `_TOKENS` has room for. The longest first: threads end together,
    and the memory of the first serves all."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= _TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


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
