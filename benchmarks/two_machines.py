"""Answers between two machines over a bad link: how many come whole, how long the first word takes, what a cut does.

    python -m benchmarks.two_machines [--answers 500] [--delay-ms 50] [--loss 0.01] [--cut-s 30]

Hosts are network namespaces (Linux, root; `tests.two_machines.hosts`): Redis with TLS and a worker on one, the daemon
on the other, paired by a code. The delay is of each way; each host loses so much of what arrives. The worker's engine
echoes the question, so each answer is known. Then, on a link without delay, the worker's host is cut off in mid-answer,
with Redis on the laptop, on the worker's host and on a third one: is the answer the same, byte for byte, and how
long after the link was mended did it go on and end? Exit status 1 where one answer is not whole.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from typing import Any

import anyio

from tests.processes import Daemon
from tests.two_machines.hosts import NoHosts
from tests.two_machines.machines import Reading, joined, machines, question

AT_ONCE, WORDS, SPEED = 20, 60, 20.0
CUT_WORDS, CUT_SPEED, BEFORE_CUT = 60, 10.0, 5
PLACES = ("laptop", "worker", "third")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--delay-ms", type=float, default=50)
    parser.add_argument("--jitter-ms", type=float, default=5)
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--cut-s", type=float, default=30, help="0: none")
    told = parser.parse_args()
    result: dict[str, Any] = await _answers(told.answers, told.at_once, told.delay_ms, told.jitter_ms, told.loss)
    if told.cut_s:
        result["cut"] = {place: await _cut(n, told.cut_s) for n, place in enumerate(PLACES)}
    print(json.dumps(result))
    if result["whole"] != told.answers or not all(one["whole"] for one in result.get("cut", {}).values()):
        raise SystemExit(1)


async def _answers(answers: int, at_once: int, delay_ms: float, jitter_ms: float, loss: float) -> dict[str, Any]:
    found: Counter[str] = Counter()
    firsts: list[float] = []
    limit = anyio.CapacityLimiter(at_once)
    with machines("laptop", "box", delay_ms=delay_ms, jitter_ms=jitter_ms, loss=loss) as (laptop, box):
        async with box.queue(), joined(box, laptop, [box], SPEED) as (daemon, _):
            began = anyio.current_time()

            async def one(n: int) -> None:
                async with limit:
                    asked, since = question(WORDS, f"n{n}-"), anyio.current_time()
                    reading = await _read(daemon, asked)
                    found[_verdict(reading, asked)] += 1
                    firsts.extend(came - since for came in reading.came[:1])

            async with anyio.create_task_group() as tasks:
                for n in range(answers):
                    tasks.start_soon(one, n)
            seconds = anyio.current_time() - began
    firsts.sort()
    return {
        "answers": answers,
        **{name: found[name] for name in ("whole", "corrupt", "duplicated", "failed")},
        "first_word_p50_ms": round(statistics.median(firsts) * 1000),
        "first_word_p99_ms": round(firsts[int(0.99 * (len(firsts) - 1))] * 1000),
        "first_word_worst_ms": round(firsts[-1] * 1000),
        "seconds": round(seconds, 1),
    }


async def _read(daemon: Daemon, asked: str) -> Reading:
    reading = Reading()
    try:
        return await reading.follow(daemon.http, asked)
    except AssertionError as refused:
        print(refused, file=sys.stderr)
        return reading


def _verdict(reading: Reading, asked: str) -> str:
    if reading.is_exactly(asked):
        return "whole"
    if not reading.done or reading.end.get("error"):
        return "failed"
    words = reading.text.split()
    return "duplicated" if len(words) > len(set(words)) else "corrupt"


async def _cut(place: int, cut_s: float) -> dict[str, Any]:
    asked, reading, after = question(CUT_WORDS, "cut"), Reading(), list[float]()
    with machines("laptop", "box", "vm") as made:
        laptop, box, _ = made
        queue = made[place]
        async with (
            queue.queue(),
            joined(queue, laptop, [box], CUT_SPEED) as (daemon, _),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(reading.follow, daemon.http, asked)
            await reading.has(BEFORE_CUT)
            box.host.cut()
            await anyio.sleep(cut_s)
            box.host.mend()
            mended = anyio.current_time()
            await reading.ended(120)
            after += [came - mended for came in reading.came if came > mended]
    return {"whole": reading.is_exactly(asked), "went_on_s": round(after[0], 1), "ended_s": round(after[-1], 1)}


if __name__ == "__main__":
    try:
        anyio.run(main)
    except NoHosts as error:
        raise SystemExit(str(error)) from None
