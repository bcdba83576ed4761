"""How tokens a second grow with workers: 1, 2 and 4 on one Redis, each with an engine of fixed speed, and one daemon.

    python -m benchmarks.workers [--workers 1,2,4] [--daemons 1] [--slots 32] [--tokens-per-second 40]

Each slot always has an answer under way, and some wait: `benchmarks.reciting` is the worker. Counted are the words that
clients have read from HTTP within a window; nothing but the fixed speed limits them until a processor does. Exit status
1 where the last run has less than 0.95 of as many times the first's tokens, or four workers less than 4 000 a second.

The processor time of each part, by the same words, says where the limit is on a machine that is not shared:
`bears_tokens_per_s` is what one processor for each bridge, one for each worker and one for Redis would bear.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import Process

from benchmarks.processes import processor_ns
from benchmarks.served import Served, served

SLOTS, SPEED, WORDS = 32, 40.0, 500
FULL_S, WINDOW_S = 180.0, 30.0
WAITING = 1.25  # answers asked for, to slots
LINEAR, LEAST = 0.95, 4_000
MARK = b"q"  # each word, and nothing else that an event but the last says
SETTINGS = {"TANDEM_CACHE_MAX": "0"}


@dataclass
class Count:
    words: int = 0
    reading: int = 0
    refused: list[str] = field(default_factory=list[str])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--daemons", type=int, default=1)
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--tokens-per-second", type=float, default=SPEED)
    parser.add_argument("--words", type=int, default=WORDS)
    parser.add_argument("--window", type=float, default=WINDOW_S)
    arguments = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for workers in map(int, arguments.workers.split(",")):
        runs.append(
            asyncio.run(
                measured(
                    workers,
                    arguments.daemons,
                    arguments.slots,
                    arguments.tokens_per_second,
                    arguments.words,
                    arguments.window,
                )
            )
        )
        print(json.dumps(runs[-1]), file=sys.stderr)
    first = runs[0]["tokens_per_s"] / runs[0]["workers"]
    for run in runs:
        run["linear"] = round(run["tokens_per_s"] / (run["workers"] * first), 3)
    print(json.dumps(runs))
    last = runs[-1]
    if last["linear"] < LINEAR or (last["workers"] >= 4 and last["tokens_per_s"] < LEAST):
        raise SystemExit(1)


async def measured(workers: int, daemons: int, slots: int, speed: float, words: int, window_s: float) -> dict[str, Any]:
    async with served(speed, slots, SETTINGS, workers, daemons, ("benchmarks.reciting", "--words", str(words))) as here:
        count = Count()
        clients = round(workers * slots * WAITING)
        async with anyio.create_task_group() as tasks:
            for n in range(clients):
                tasks.start_soon(asking, here.urls[n % daemons], n, count)
            with anyio.fail_after(FULL_S):
                while count.reading < workers * slots:  # noqa: ASYNC110
                    await anyio.sleep(0.1)
            before, words_before, began = processor_s(here), count.words, time.monotonic()
            await anyio.sleep(window_s)
            seconds, said, after = time.monotonic() - began, count.words - words_before, processor_s(here)
            tasks.cancel_scope.cancel()
    if count.refused:
        print(f"refused {len(count.refused)} times: {count.refused[0]}", file=sys.stderr)
    spent = {part: after[part] - before[part] for part in after}
    return {
        "workers": workers,
        "daemons": daemons,
        "slots": slots,
        "tokens_per_second": speed,
        "of_the_engines": workers * slots * speed,
        "tokens_per_s": round(said / seconds),
        "refused": len(count.refused),
        "cpu_us_a_token": {part: round(1e6 * s / max(1, said), 1) for part, s in spent.items()},
        "processors_busy": {part: round(s / seconds, 2) for part, s in spent.items()},
        "bears_tokens_per_s": {
            part: round(said / spent[part] * many)
            for part, many in (("daemons", daemons), ("workers", workers), ("redis", 1))
            if spent[part]
        },
    }


async def asking(url: str, n: int, count: Count) -> None:
    for turn in range(1_000_000):
        await read(url, f"how long does the kiln cool, {n}.{turn}?", count)


async def read(url: str, question: str, count: Count) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    body = json.dumps({"text": question}).encode()
    head = f"POST /build-context HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    rest, said = b"", 0
    try:
        writer.write(head.encode() + body)
        while more := await reader.read(1 << 16):
            *lines, rest = (rest + more).split(b"\n")
            # The last event has the whole answer once more.
            words = sum(line.count(MARK) for line in lines if b'"is_final":false' in line)
            count.reading += bool(words and not said)
            count.words, said = count.words + words, said + words
    finally:
        writer.close()
        count.reading -= bool(said)
    if not said:
        count.refused.append(rest.decode(errors="replace"))
        await anyio.sleep(1)


def processor_s(here: Served) -> dict[str, float]:
    return {
        "daemons": _spent(here.daemons),
        "workers": _spent(here.workers),
        "redis": _spent([here.redis]),
        "clients": time.process_time(),
    }


def _spent(processes: Sequence[Process]) -> float:
    return sum(sum(processor_ns(one.pid).values()) for one in processes) / 1e9


if __name__ == "__main__":
    main()
