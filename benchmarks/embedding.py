"""The model alone at int8, fp32 and bf16: chunks a CPU second, the time of a query, how near each comes to fp32, and
how many of fp32's ten nearest chunks it finds.

The best of many short runs that take turns, for other work on the machine disturbs each one. onnxruntime multiplies no
bf16 on a CPU: what stands for it are fp32's sums over weights that bf16 holds: they tell its quality, not its speed.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from benchmarks import real_files
from indexer.chunk import chunk
from indexer.embed import Vectors, onnx, weights
from indexer.embed.onnx import OnnxEmbedder
from indexer.embed.queries import Queries
from indexer.offsets import offsets
from indexer.parse import parse

NAME, THREADS, ROUNDS, TEXTS, QUERY_WORDS, NEAREST = "all-MiniLM-L6-v2", 2, 8, 128, 10, 10
FULL = "fp32"


async def main() -> None:
    measure = offsets(str(weights.tokenizer(None)))
    texts: list[str] = []
    for file in real_files.find(200):
        texts += [found.text for found in chunk(parse(file.path, file.path.read_bytes()), measure)]
    long = sorted(texts, key=len)[len(texts) // 2 :][:TEXTS]
    queries = [" ".join(text.split()[:QUERY_WORDS]) for text in long]
    with tempfile.TemporaryDirectory() as cache:
        load = partial(onnx.load, cache=Path(cache), threads=THREADS)
        made = {
            "int8": load(NAME, None),
            FULL: load(NAME, None, precision=FULL),
            "bf16": load("bf16", _rounded(Path(cache, "bf16")), precision=FULL),
        }
        vectors = {kind: await one.documents(long) for kind, one in made.items()}
        asked = {kind: np.stack([await one.query(text) for text in queries]) for kind, one in made.items()}
        rates, times = await _turns(made, long, queries)
        again = await _repeated(made["int8"], queries)
    full = _nearest(asked[FULL], vectors[FULL])
    result: dict[str, Any] = {
        kind: {
            "chunks_per_cpu_second": rates[kind],
            "query_ms": times[kind],
            "cosine_to_fp32": _cosines(vectors[kind], vectors[FULL]),
            "of_fp32s_nearest_10": round(float((_nearest(asked[kind], vectors[kind]) & full).sum() / full.sum()), 3),
        }
        for kind in made
    }
    print(json.dumps(result | {"repeated_query_ms": again}))


def _rounded(folder: Path) -> Path:
    """The model with each weight as near as bf16 comes to it, in a folder of its own."""
    real = weights.find(NAME, None).folder
    folder.mkdir()
    for name in weights.FILES:
        shutil.copy(real / name, folder)
    raw = (real / weights.FILES[0]).read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    numbers = (np.frombuffer(raw, np.uint32, offset=begin) + 0x8000) & 0xFFFF0000
    (folder / weights.FILES[0]).write_bytes(raw[:begin] + numbers.astype(np.uint32).tobytes())
    return folder


async def _turns(
    made: dict[str, OnnxEmbedder], texts: Sequence[str], queries: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    rates, times = dict.fromkeys(made, 0.0), {kind: list[float]() for kind in made}
    cpu = dict.fromkeys(made, 1e9)
    for _ in range(ROUNDS):
        for kind, one in made.items():
            start = time.process_time()
            await one.documents(texts)
            rates[kind] = max(rates[kind], round(len(texts) / (time.process_time() - start), 1))
            start = time.process_time()
            for query in queries:
                began = time.perf_counter()
                await one.query(query)
                times[kind].append(time.perf_counter() - began)
            cpu[kind] = min(cpu[kind], (time.process_time() - start) / len(queries))
    told = {kind: {"p50": _ms(statistics.median(took)), "cpu": _ms(cpu[kind])} for kind, took in times.items()}
    return rates, told


async def _repeated(one: OnnxEmbedder, queries: Sequence[str]) -> float:
    """The median of a query that was asked before, in ms."""
    known, took = Queries(), list[float]()
    for _ in range(2):
        took.clear()
        for query in queries:
            began = time.perf_counter()
            await known.vector(one, query)
            took.append(time.perf_counter() - began)
    return _ms(statistics.median(took))


def _cosines(found: Vectors, full: Vectors) -> dict[str, float]:
    cosines = (found * full).sum(axis=1)
    return {"mean": round(float(cosines.mean()), 4), "least": round(float(cosines.min()), 4)}


def _nearest(queries: Vectors, vectors: Vectors) -> np.ndarray:
    """(queries, texts): whether a text is among the query's nearest."""
    scores = queries @ vectors.T
    return scores >= np.sort(scores, axis=1)[:, [-NEAREST]]


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


if __name__ == "__main__":
    anyio.run(main)
