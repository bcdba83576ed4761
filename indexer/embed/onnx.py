# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A small BERT on onnxruntime, in this process: no torch, no server."""

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter

from indexer.embed import Done, Vectors, weights
from indexer.embed.graph import Precision

MAX_TOKENS = 256
_BATCH = 8  # more gains nothing on a CPU
_NICE = 10
_RACY_NS = 2_000_000_000  # what changed just now may have changed after it was hashed


def load(
    name: str,
    folder: Path | None,
    cache: Path,
    threads: int,
    precision: Precision = "int8",
    background: bool = False,
) -> "OnnxEmbedder":
    """Opens the model; the first time it is built from the weights into `cache` (about 1 s).

    `background`: documents are embedded at a low CPU priority (on Linux), queries never.
    Raises EmbedderUnusable with the remedy where there are no weights, OSError where `cache` cannot be written.
    """
    from indexer.embed import graph

    found = _found(name, folder, cache)
    path = cache / f"{found.sha256[:16]}-{precision}-{graph.VERSION}.onnx"
    if not path.exists():
        graph.write(found.folder, path, precision)
    return OnnxEmbedder(name, found, path, threads, precision, background)


class OnnxEmbedder:
    """Two sessions over one file: documents use all `threads`, queries one and never wait behind documents.

    That of the documents is open from the first of them until `rest`: 30 MB, and 0.1 s of CPU to open it.
    """

    def __init__(
        self,
        name: str,
        found: weights.Weights,
        graph: Path,
        threads: int,
        precision: Precision = "int8",
        background: bool = False,
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(found.tokenizer))
        self._tokenizer.enable_truncation(MAX_TOKENS)  # the file says 128
        self._tokenizer.no_padding()
        # The one thread of documents: what it starts, the session's other threads among them, has its priority.
        self._thread = ThreadPoolExecutor(1, "documents", _step_back if background else None)
        self._graph, self._threads = graph, threads
        self._documents: Any = None  # that thread's alone
        self._queries, self._two_queries = _session(graph, 1), CapacityLimiter(2)
        self.dimensions: int = self._queries.get_outputs()[0].shape[1]
        self.signature = f"onnx-{precision}:{name}@{found.sha256[:12]}:{self.dimensions}"
        self.tokenizer_file = found.tokenizer

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        encoded = await anyio.to_thread.run_sync(self._thread.submit(self._encode, list(texts)).result)
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        # Texts of like length share a batch: up to half the tokens of a mixed one are padding.
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
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

    def _batch(self, encoded: Sequence[Sequence[int]], last: bool) -> Vectors:
        if self._documents is None:
            self._documents = _session(self._graph, self._threads)
        return _run(self._documents, encoded, last)

    def _close(self) -> None:
        self._documents = None

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]

    def _one(self, text: str) -> Vectors:
        # Not `encode_batch`: its threads are those of the documents, and of their priority.
        return _run(self._queries, [self._tokenizer.encode(text).ids])


def _run(session: Any, encoded: Sequence[Sequence[int]], last: bool = False) -> Vectors:
    """`last`: gives back the memory it worked in, up to 100 MB; after each batch that would cost a tenth more CPU."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    if last:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    ids = np.zeros((len(encoded), max(map(len, encoded))), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return session.run(["vector"], {"ids": ids, "mask": mask}, options)[0]


def _session(graph: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # it plans for each shape on its own: 110 MB more, and no faster
    # A thread that spins while it waits takes a core from the rest of the laptop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        str(graph),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers={"SkipLayerNormFusion"},  # four times as slow as the two operators that it joins
    )


def _step_back() -> None:
    """On Linux niceness is a thread's own, and inherited by those it starts; elsewhere it is the whole process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, thread)))


def _found(name: str, folder: Path | None, cache: Path) -> weights.Weights:
    """As `weights.find`, whose hash is believed as long as the file is the one that was hashed: 90 MB are 0.3 s of CPU
    at each start."""
    asked = json.dumps([name, str(folder.resolve()) if folder else None])
    record = cache / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.weights.json"
    try:
        place, sha256, *seen = json.loads(record.read_text())
        if seen == _identity(Path(place)) and weights.PINNED.get(name, sha256) == sha256:
            return weights.Weights(Path(place), sha256)
    except (OSError, ValueError, TypeError):
        pass  # never recorded, or not as we do; or the weights have gone
    found = weights.find(name, folder)
    seen = _identity(found.folder)
    if time.time_ns() - seen[2] > _RACY_NS:
        with suppress(OSError):  # a cache that can only be read serves too
            cache.mkdir(parents=True, exist_ok=True)
            beside = record.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps([str(found.folder), found.sha256, *seen]))
            beside.replace(record)
    return found


def _identity(folder: Path) -> list[int]:
    """Raises OSError where a file is missing."""
    for name in weights.FILES:
        (folder / name).stat()
    at = (folder / "model.safetensors").stat()
    return [at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino]
