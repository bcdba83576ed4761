"""The model alone: chunks a CPU second at int8 and fp32, and how near int8 comes to fp32 on real text.

The best of many short runs that take turns, for other work on the machine disturbs each one.
"""

import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from benchmarks import real_files
from indexer.chunk import chunk
from indexer.embed import onnx, weights
from indexer.embed.graph import Precision
from indexer.offsets import offsets
from indexer.parse import parse

NAME, THREADS, ROUNDS, TEXTS = "all-MiniLM-L6-v2", 2, 8, 128
PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")


async def main() -> None:
    measure = offsets(str(weights.tokenizer(None)))
    texts: list[str] = []
    for file in real_files.find(200):
        texts += [found.text for found in chunk(parse(file.path, file.path.read_bytes()), measure)]
    long = sorted(texts, key=len)[len(texts) // 2 :][:TEXTS]
    with tempfile.TemporaryDirectory() as cache:
        load = partial(onnx.load, NAME, None, Path(cache), THREADS)
        made = {
            precision: await anyio.to_thread.run_sync(partial(load, precision=precision)) for precision in PRECISIONS
        }
        vectors = {precision: await one.documents(long) for precision, one in made.items()}
        best = dict.fromkeys(PRECISIONS, 1e9)
        for _ in range(ROUNDS):
            for precision, one in made.items():
                start = time.process_time()
                await one.documents(long)
                best[precision] = min(best[precision], time.process_time() - start)
    rate = {precision: round(TEXTS / seconds, 1) for precision, seconds in best.items()}
    cosine = (vectors["int8"] * vectors["fp32"]).sum(axis=1)
    result: dict[str, Any] = {
        "chunks_per_cpu_second": rate,
        "int8_against_fp32": round(rate["int8"] / rate["fp32"], 2),
        "cosine": {"mean": round(float(np.mean(cosine)), 4), "least": round(float(cosine.min()), 4)},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    anyio.run(main)
