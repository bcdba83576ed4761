"""A prediction of the whole, and whether it comes true: exit status 1 where it is off by more than 15 %.

    python -m benchmarks.simulation [--delay-ms 50 | --here] [--loads 0.5,0.9,1.3] [--workers 2] [--seconds 60]
    python -m benchmarks.simulation --plan qps=1 tokens=300 slots=32 speed=40 half_at=64 first_s=2 chunks=1000000

One worker is measured first, alone with a question and with all its slots full. From those constants `benchmarks.model`
says what so many workers do with questions that come at random, at each load (1: as many tokens as they can make); then
the same questions are asked. Daemon, queue and workers are hosts of their own on a link of `--delay-ms` each way, in
network namespaces (which take root), or, with --here, processes of this machine.

A time that is off by less than 50 ms, or a share by less than .02, is not held against it.

--plan measures nothing: docs/SCALING.md says what it reckons with, and what its words mean.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio

from benchmarks.model import Constants, Life, Predicted, share, simulate
from benchmarks.plan import plan, wanted
from benchmarks.served import HERE, Hosts, Served, served
from bridge.folder import Folder

SLOTS, SPEED, HALF_AT, WORDS = 8, 40.0, 16.0, 200
WORD = b"q "
OFF, LEAST = 0.15, {"s": 0.05, "share": 0.02}
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="loopback instead of namespaces")
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--loads", default="0.5,0.9,1.3")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--depth", type=int, default=40, help="jobs in the queue from which none is admitted")
    parser.add_argument("--plan", nargs="+", metavar="NAME=NUMBER")
    arguments = parser.parse_args()
    if arguments.plan:
        print(json.dumps(plan(wanted(arguments.plan))))
        return
    with placed(None if arguments.here else arguments.delay_ms) as hosts:
        loads = [float(word) for word in arguments.loads.split(",")]
        checked = asyncio.run(check(hosts, loads, arguments.workers, arguments.seconds, arguments.depth))
    print(json.dumps(checked))
    if checked["worst"] > OFF:
        raise SystemExit(1)


@contextmanager
def placed(delay_ms: float | None) -> Generator[Hosts]:
    if delay_ms is None:
        yield HERE
        return
    from tests.two_machines.hosts import hosts

    with hosts("laptop", "box", "queue", delay_ms=delay_ms) as (laptop, box, queue):
        yield Hosts(laptop.inside, box.inside, queue.inside, queue.address)


async def check(hosts: Hosts, loads: Sequence[float], workers: int, seconds: float, depth: int) -> dict[str, Any]:
    told = await calibrated(hosts)
    print(json.dumps({"constants": asdict(told)}), file=sys.stderr)
    full = workers * SLOTS / (told.word_s * told.slowed(SLOTS) * WORDS + told.begin_s + told.rest_s + told.away_s / 2)
    rows: list[dict[str, Any]] = []
    for load in loads:
        arrivals = coming(load * full, seconds, random.Random(load))
        predicted = figures_of(simulate(arrivals, [Life(SLOTS)] * workers, told, depth), workers, seconds)
        measured = await asked(hosts, arrivals, workers, seconds, depth)
        rows += compared(load, predicted, measured)
        print(table(rows[-len(measured) :]), file=sys.stderr)
    return {"constants": asdict(told), "rows": rows, "worst": max(row["off"] for row in rows)}


def coming(rate: float, seconds: float, chance: random.Random) -> list[tuple[float, float]]:
    """At random, half to one and a half times as long as WORDS."""
    found: list[tuple[float, float]] = []
    at = chance.expovariate(rate)
    while at < seconds:
        found.append((at, chance.randint(WORDS // 2, WORDS * 3 // 2)))
        at += chance.expovariate(rate)
    return found


def figures_of(predicted: Predicted, workers: int, seconds: float) -> Figures:
    admitted = [one for one in predicted.asked if not one.refused]
    over = max(one.end_s for one in admitted)
    return {
        "tokens_per_s": sum(one.words for one in admitted) / over,
        **spread("wait", [one.wait_s for one in admitted]),
        **spread("first_word", [one.first_s for one in admitted]),
        "busy_share": predicted.busy_s / (workers * SLOTS * over),
        "refused_share": 1 - len(admitted) / len(predicted.asked),
    }


def spread(name: str, values: Sequence[float]) -> Figures:
    return {f"{name}_p50_s": share(values, 0.5), f"{name}_p95_s": share(values, 0.95)}


def compared(load: float, predicted: Figures, measured: Figures) -> list[dict[str, Any]]:
    return [
        {
            "load": load,
            "figure": name,
            "predicted": round(predicted[name], 3),
            "measured": round(measured[name], 3),
            "off": round(off(name, predicted[name], measured[name]), 3),
        }
        for name in measured
    ]


def off(name: str, predicted: float, measured: float) -> float:
    far = abs(predicted - measured)
    return 0.0 if far < LEAST.get(name.rpartition("_")[2], 0.0) and "per" not in name else far / max(measured, 1e-9)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"{row['load']:4} {row['figure']:18} {row['predicted']:9} {row['measured']:9} {row['off']:7.1%}" for row in rows
    ]
    return "\n".join([f"{'load':4} {'figure':18} {'predicted':>9} {'measured':>9} {'off':>7}", *lines])


# Measuring


async def calibrated(hosts: Hosts) -> Constants:
    """Of one worker: twelve questions one after another, then all slots full for a while."""
    async with recited(hosts, 1, 0) as (here, log):
        alone = [await ask(here, 40, f"{n} alone") for n in range(12)]
        ends = _lines(log)
        async with anyio.create_task_group() as tasks:
            for n in range(3 * SLOTS):
                tasks.start_soon(ask, here, WORDS, f"{n} crowded")
        crowd = _lines(log)[len(ends) :]
    word_s = statistics.median((line["over"] - line["begun"]) / 40 for line in ends)
    crowded_s = statistics.median((line["over"] - line["begun"]) / WORDS for line in crowd)
    overs = sorted(line["over"] for line in crowd)
    gaps = [begun - overs[nth] for nth, begun in enumerate(sorted(line["begun"] for line in crowd)[SLOTS:])]
    ask_s = statistics.median(line["made"] - one.asked for line, one in zip(ends, alone, strict=True))
    tell_s = statistics.median(one.first - line["begun"] - word_s for line, one in zip(ends, alone, strict=True))
    # A frame goes to the queue and on to the laptop: as far as there and back. Jobs come in half of it, and are begun
    # with one more call. Those are counted of a worker that listens: the quickest quarter.
    take_s = share([line["begun"] - line["made"] for line in ends], 0.25)
    begin_s = min(take_s, 1.5 * tell_s)
    return Constants(
        ask_s=ask_s,
        busy_s=ask_s,
        send_s=take_s - begin_s,
        begin_s=begin_s,
        word_s=word_s,
        crowd=(crowded_s / word_s - 1) / (SLOTS - 1),
        tell_s=tell_s,
        rest_s=max(0.0, share(gaps, 0.25) - tell_s / 2 - begin_s),
        away_s=tell_s,
    )


async def asked(
    hosts: Hosts, arrivals: Sequence[tuple[float, float]], workers: int, seconds: float, depth: int
) -> Figures:
    """The same figures, of real questions."""
    async with recited(hosts, workers, depth) as (here, log):
        began = time.time()
        answers: list[Answer] = []

        async def one(n: int, at: float, words: float) -> None:
            await anyio.sleep(began + at - time.time())
            answers.append(await ask(here, round(words), f"{n} at {at}"))

        async with anyio.create_task_group() as tasks:
            for n, (at, words) in enumerate(arrivals):
                tasks.start_soon(one, n, at, words)
        lines = _lines(log)
    if len(lines) != sum(bool(answer.words) for answer in answers):
        raise SystemExit(f"{len(lines)} answers were made, and {len(answers)} questions asked: run it again")
    told = [answer for answer in answers if answer.words]
    over = max(answer.end for answer in told) - began
    return {
        "tokens_per_s": sum(answer.words for answer in told) / over,
        **spread("wait", [line["begun"] - line["made"] for line in lines]),
        **spread("first_word", [answer.first - answer.asked for answer in told]),
        "busy_share": sum(line["over"] - line["begun"] for line in lines) / (workers * SLOTS * over),
        "refused_share": 1 - len(told) / len(arrivals),
    }


class Answer:
    """What a client saw of one: `words` is 0 where it was refused."""

    def __init__(self) -> None:
        self.asked, self.first, self.end, self.words = time.time(), 0.0, 0.0, 0


async def ask(here: Served, words: int, name: str) -> Answer:
    """Over the daemon's socket, which is on the disk that all the hosts share."""
    answer = Answer()
    reader, writer = await asyncio.open_unix_connection(Folder(here.data).http_socket, limit=1 << 22)
    body = json.dumps({"text": f"{words} words of the kiln, question {name}"}).encode()
    head = (
        f"POST /build-context HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        rest = b""
        while more := await reader.read(1 << 16):
            *lines, rest = (rest + more).split(b"\n")
            said = sum(line.count(WORD) for line in lines if b'"is_final":false' in line)
            answer.first = answer.first or (time.time() if said else 0.0)
            answer.words += said
        answer.end = time.time()
        return answer
    finally:
        writer.close()


@asynccontextmanager
async def recited(hosts: Hosts, workers: int, depth: int) -> AsyncGenerator[tuple[Served, Path]]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        log = Path(folder) / "log"
        log.touch()
        words = ("benchmarks.reciting", "--words", str(WORDS), "--half-at", str(HALF_AT), "--log", str(log))
        settings = {"TANDEM_CACHE_MAX": "0", "REDIS_STREAM_MAXLEN": str(depth)}
        async with served(SPEED, SLOTS, settings, workers, worker=words, on=hosts) as here:
            await ask(here, 1, "for warmth")  # what is imported with the first question
            log.write_text("")
            yield here, log


def _lines(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


if __name__ == "__main__":
    main()
