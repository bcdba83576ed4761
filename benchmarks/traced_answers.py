"""What tracing costs an answer: an echo of SPEED tokens a second, through Redis to a daemon and over HTTP.

Each side has a redis-server, a worker and a daemon of its own, and is asked the same questions in an order drawn anew.
`tokens_per_s`: from the first piece of an answer to its last, by the clock, paired; `cpu`: the processor time of
worker and daemon for a whole answer, its search too, but for the threads that send traces. What tracing costs is a
sum for each answer (`cpu_us`), hardly more for a longer one.
"""

import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.collectors import KINDS, collector
from benchmarks.paired import more
from benchmarks.processes import processor_ns
from benchmarks.served import Served, served
from benchmarks.streams import read

SPEED, WORDS, WARM = 2_000, 500, 10
SENDER = "tandem-traces"


@dataclass(frozen=True, slots=True)
class Cost:
    """`stream_s`: from the first piece to the last."""

    stream_s: float
    path_ns: int


async def measured(sides: Sequence[str], rounds: int, each: int) -> dict[str, Any]:
    costs: dict[str, list[list[Cost]]] = defaultdict(list)
    exit_s = dict.fromkeys(sides, 0.0)
    rng = random.Random(0)
    for _ in range(rounds):
        async with AsyncExitStack() as stack:
            urls = {kind: stack.enter_context(collector(kind)) for kind in KINDS}
            parts: dict[str, Served] = {}
            for side in rng.sample(sides, len(sides)):
                settings = {"PHOENIX_COLLECTOR_ENDPOINT": urls[side]} if side in urls else {}
                parts[side] = await stack.enter_async_context(served(SPEED, 4, settings))
            found = await _asked(parts, WARM + each, rng)
            for side in sides:
                costs[side].append(found[side][WARM:])
                exit_s[side] = max(exit_s[side], await _end(parts[side]))
    streams = {side: np.array([[one.stream_s for one in some] for some in costs[side]]) for side in sides}
    paths = {side: np.array([[one.path_ns for one in some] for some in costs[side]], float) for side in sides}
    off, *others = sides
    return {
        "tokens": WORDS,
        "off_tokens_per_s": round(WORDS / streams[off].mean()),
        # The longer time for the same words is the lower rate.
        "tokens_per_s": {side: more(streams[side], streams[off]) for side in others},
        "cpu": {side: more(paths[off], paths[side]) for side in others},
        "cpu_us": {side: round((paths[side].mean() - paths[off].mean()) / 1e3) for side in others},
        "exit_s": {side: round(took, 2) for side, took in exit_s.items()},
    }


async def _asked(parts: Mapping[str, Served], count: int, rng: random.Random) -> dict[str, list[Cost]]:
    """What a process does between two answers counts too: a worker's span ends behind its answer."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    before = {side: _processor_ns(here) for side, here in parts.items()}
    for n in range(count):
        streams = {side: await _stream_s(parts[side], n) for side in rng.sample(list(parts), len(parts))}
        for side, here in parts.items():
            after = _processor_ns(here)
            costs[side].append(Cost(streams[side], _on_path(before[side], after)))
            before[side] = after
    return costs


async def _stream_s(here: Served, n: int) -> float:
    question = " ".join(f"word{n:04}" for n in range(n, n + WORDS))
    first = 0.0

    def begins() -> None:
        nonlocal first
        first = time.perf_counter()

    text, _ = await read(here.url, question, begins)
    assert text == question, text[:200]
    return time.perf_counter() - first


def _processor_ns(here: Served) -> Mapping[tuple[int, str], int]:
    return processor_ns(here.daemon.pid) | processor_ns(here.worker.pid)


def _on_path(before: Mapping[tuple[int, str], int], after: Mapping[tuple[int, str], int]) -> int:
    return sum(ns - before.get(thread, 0) for thread, ns in after.items() if thread[1] != SENDER)


async def _end(here: Served) -> float:
    """The longer of the two."""
    took: list[float] = []
    for process in (here.daemon, here.worker):
        began = time.perf_counter()
        process.terminate()
        await process.wait()
        took.append(time.perf_counter() - began)
    return max(took)
