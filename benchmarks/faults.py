"""What the wire promises, under faults, against a real redis-server and real worker processes of the echo engine.

Every answer is compared with its question byte for byte: echo says it back. One JSON line a scenario; `lost`: no final
within the limit; `corrupt`: a final without an error, and another text; `failed`: ended with an error in words.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from redis.asyncio import Redis

from benchmarks.daemons import percentile
from benchmarks.old_peers import old_ask, old_worker
from wire import Busy, Final, Job, Metadata, QueueDown
from wire.redis import RedisWire

KEY = "inference_queue"
LIMIT_S = 120.0
PLAIN = Metadata()


class Box:
    """A redis-server and workers, ended with the block."""

    def __init__(self, folder: Path, lease_s: float) -> None:
        self.folder, self.lease_s, self.port = folder, lease_s, _free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.exits = 0

    def redis(self) -> None:
        binary = shutil.which("redis-server") or sys.exit("redis-server is not installed")
        words = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", "everysec"]
        self.server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as asking:
                asking.sendall(b"PING\r\n")
                if asking.recv(9).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise SystemExit("redis-server did not start")

    def worker(self, slots: int, rate: float, program: str = "bridge.cli", *more: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", program, *(["worker", "--engine", "echo"] if program == "bridge.cli" else [])]
        words += ["--slots", str(slots), "--tokens-per-second", str(rate), *more]
        environment = {"REDIS_URL": self.url, "TANDEM_LEASE_S": str(self.lease_s), "PATH": os.environ["PATH"]}
        with (self.folder / "workers.txt").open("ab") as said:
            process = subprocess.Popen(words, env=environment, stderr=said, stdout=said, cwd=Path.cwd())
        self.workers.append(process)
        return process

    async def up(self, count: int) -> None:
        async with RedisWire(self.url, lease_s=self.lease_s) as wire:
            while await wire.workers() < count:  # noqa: ASYNC110
                await anyio.sleep(0.1)

    def end(self) -> None:
        for process in [*self.workers, self.server]:
            process.kill()
            process.wait()


@asynccontextmanager
async def box(lease_s: float = 1.5) -> AsyncGenerator[Box]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        here = Box(Path(place), lease_s)
        here.redis()
        try:
            yield here
        finally:
            here.end()


class Tally:
    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.took_s: list[float] = []
        self.refused_s: list[float] = []


async def ask(wire: RedisWire, prompt: str, tally: Tally, metadata: Metadata = PLAIN) -> None:
    text, finals, began = "", 0, time.monotonic()
    end = "lost"
    try:
        with anyio.move_on_after(LIMIT_S):
            async with wire.send(Job(uuid.uuid4().hex, prompt, metadata=metadata)) as replies:
                async for reply in replies:
                    text += reply.chunk
                    if isinstance(reply, Final):
                        finals += 1
                        end = f"failed: {reply.error_code}" if reply.error else "exact" if text == prompt else "corrupt"
            if finals > 1:
                end = "doubled"
    except Busy:
        tally.refused_s.append(time.monotonic() - began)
        end = "refused"
    except QueueDown as error:
        end = f"failed: {error}"
    tally.ends[end] += 1
    tally.took_s.append(time.monotonic() - began)


async def ask_many(wire: RedisWire, count: int, at_once: int, words: int, tally: Tally) -> None:
    """`count` questions, `at_once` at a time, until all have ended."""
    left = iter(range(count))

    async def one_by_one() -> None:
        for n in left:
            await ask(wire, " ".join(f"w{n}-{i}" for i in range(words)), tally)

    async with anyio.create_task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(one_by_one)


async def _beside(fault: Callable[[], Awaitable[None]], body: Callable[[], Awaitable[None]]) -> None:
    """Faults for as long as the body runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fault)
        await body()
        tasks.cancel_scope.cancel()


async def _counters(here: Box) -> dict[str, int]:
    async with Redis(port=here.port) as redis:
        found = await redis.hgetall(f"{KEY}:counters")
        dead = await redis.xlen(f"{KEY}:inference_dead")
        left = {"queue": await redis.xlen(KEY), "suspects": await redis.llen(f"{KEY}:suspects")}
    return {name.decode(): int(value) for name, value in found.items()} | {"dead_letters": dead} | left


async def kill(jobs: int) -> dict[str, Any]:
    """3 workers, one of them killed -9 every 2 s and started again; 100 words a job at 50 words/s."""
    slots, tally, kills = 40, Tally(), 0
    async with box() as here:
        for _ in range(3):
            here.worker(slots, 50)
        await here.up(3)

        async def killer() -> None:
            nonlocal kills
            while True:
                await anyio.sleep(2)
                victim = random.choice(here.workers)
                here.workers.remove(victim)
                victim.kill()
                victim.wait()
                kills += 1
                here.worker(slots, 50)

        began = time.monotonic()
        async with RedisWire(here.url, lease_s=here.lease_s) as wire:
            await _beside(killer, lambda: ask_many(wire, jobs, 3 * slots + 20, 100, tally))
        seconds = time.monotonic() - began
        counters = await _counters(here)
    p50, p99 = percentile(tally.took_s, 50), percentile(tally.took_s, 99)
    return {"kills": kills, "s": round(seconds), "p50_s": round(p50, 2), "p99_s": round(p99, 2)} | _told(
        tally, counters
    )


async def stop(jobs: int) -> dict[str, Any]:
    """SIGSTOP for twice the lease, then SIGCONT, one worker after the other."""
    slots, tally, stops = 40, Tally(), 0
    async with box() as here:
        for _ in range(3):
            here.worker(slots, 50)
        await here.up(3)

        async def stopper() -> None:
            nonlocal stops
            while True:
                await anyio.sleep(1)
                victim = random.choice(here.workers)
                victim.send_signal(signal.SIGSTOP)
                stops += 1
                try:
                    await anyio.sleep(2 * here.lease_s)
                finally:
                    victim.send_signal(signal.SIGCONT)

        async with RedisWire(here.url, lease_s=here.lease_s) as wire:
            await _beside(stopper, lambda: ask_many(wire, jobs, 3 * slots, 100, tally))
        counters = await _counters(here)
    return {"stops": stops} | _told(tally, counters)


async def pubsub(jobs: int) -> dict[str, Any]:
    """All pub/sub connections killed every 0.3 s."""
    tally, cuts = Tally(), 0
    async with box(lease_s=5) as here:
        for _ in range(2):
            here.worker(40, 50)
        await here.up(2)

        async def cutter() -> None:
            nonlocal cuts
            async with Redis(port=here.port) as redis:
                while True:
                    await anyio.sleep(0.3)
                    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
                    cuts += 1

        async with RedisWire(here.url, lease_s=here.lease_s) as wire:
            await _beside(cutter, lambda: ask_many(wire, jobs, 80, 50, tally))
        counters = await _counters(here)
    return {"cuts": cuts} | _told(tally, counters)


async def restart(jobs: int) -> dict[str, Any]:
    """redis-server killed -9 every 5 s and started again from its AOF (everysec)."""
    tally, restarts = Tally(), 0
    async with box(lease_s=3) as here:
        for _ in range(2):
            here.worker(40, 50)
        await here.up(2)

        async def killer() -> None:
            nonlocal restarts
            while True:
                await anyio.sleep(5)
                here.server.kill()
                here.server.wait()
                await anyio.to_thread.run_sync(here.redis)
                restarts += 1

        async with RedisWire(here.url, lease_s=here.lease_s) as wire:
            await _beside(killer, lambda: ask_many(wire, jobs, 80, 50, tally))
        counters = await _counters(here)
    return {"restarts": restarts} | _told(tally, counters)


async def flush(jobs: int) -> dict[str, Any]:
    """FLUSHALL every 3 s."""
    tally, flushes = Tally(), 0
    async with box(lease_s=1.5) as here:
        for _ in range(2):
            here.worker(40, 50)
        await here.up(2)

        async def flusher() -> None:
            nonlocal flushes
            async with Redis(port=here.port) as redis:
                while True:
                    await anyio.sleep(3)
                    await redis.flushall()
                    flushes += 1

        async with RedisWire(here.url, lease_s=here.lease_s) as wire:
            await _beside(flusher, lambda: ask_many(wire, jobs, 80, 50, tally))
        counters = await _counters(here)
    return {"flushes": flushes} | _told(tally, counters)


async def poison(jobs: int) -> dict[str, Any]:
    """One job of a batch kills whoever runs it; a supervisor starts the worker again."""
    tally, restarts = Tally(), 0
    async with box(lease_s=1) as here:
        here.worker(jobs, 50, "tests.poisoned_worker")
        await here.up(1)

        async def supervisor() -> None:
            nonlocal restarts
            while True:
                await anyio.sleep(0.1)
                if here.workers[0].poll() is not None:
                    here.workers.pop(0)
                    restarts += 1
                    here.worker(jobs, 50, "tests.poisoned_worker")

        async def body() -> None:
            async with RedisWire(here.url, lease_s=here.lease_s) as wire, anyio.create_task_group() as tasks:
                for n in range(jobs):
                    word = "poison" if n == jobs // 3 else "fine"
                    tasks.start_soon(ask, wire, " ".join(f"{word}{n}-{i}" for i in range(60)), tally)

        began = time.monotonic()
        await _beside(supervisor, body)
        counters = await _counters(here)
    return {"worker_deaths": restarts, "s": round(time.monotonic() - began)} | _told(tally, counters)


async def malformed(jobs: int) -> dict[str, Any]:
    """Entries that are no jobs, between jobs that are."""
    tally = Tally()
    kinds: list[Callable[[int], bytes]] = [
        lambda n: b"not json %d" % n,
        lambda n: b'{"prompt": "no id %d"}' % n,
        lambda n: b'{"request_id": "nan-%d", "prompt": "x", "embedding": [NaN]}' % n,
        lambda n: b'{"request_id": "half-%d", "prompt": "\\ud800"}' % n,
        lambda n: b'{"request_id": "long-%d", "prompt": "' % n + b"x" * 10_000_000 + b'"}',
    ]
    async with box(lease_s=5) as here:
        worker = here.worker(8, 0)
        await here.up(1)
        async with Redis(port=here.port) as redis, RedisWire(here.url, lease_s=here.lease_s) as wire:
            for n in range(jobs):
                # 10 MB each: as many as the machine's memory takes well.
                kind = kinds[n % len(kinds)] if n % 50 == 4 else kinds[n % (len(kinds) - 1)]
                await redis.xadd(KEY, {"data": kind(n)})
                if n % 100 == 0:
                    await ask(wire, f"fine {n}", tally)
            with anyio.fail_after(LIMIT_S):
                while await redis.xlen(KEY):  # noqa: ASYNC110
                    await anyio.sleep(0.1)
        counters = await _counters(here)
        exits = int(worker.poll() is not None)
    return {"malformed": jobs, "worker_exits": exits} | _told(tally, counters)


async def cancel(jobs: int) -> dict[str, Any]:
    """Cancelled while running: until the reader has its final, which the worker writes once its engine has stopped."""
    took: list[float] = []
    late: list[float] = []
    async with box(lease_s=15) as here:
        here.worker(8, 50)
        await here.up(1)

        async def one(wire: RedisWire, into: list[float], drop: Callable[[str], Awaitable[object]]) -> None:
            job = Job(uuid.uuid4().hex, "word " * 5000)
            async with wire.send(job) as replies:
                await anext(replies)
                began = time.monotonic()
                await drop(job.request_id)
                async for _ in replies:
                    pass
                into.append(time.monotonic() - began)

        async with RedisWire(here.url) as wire, Redis(port=here.port) as redis:
            for _ in range(jobs):
                await one(wire, took, wire.cancel)
            # The call is lost: only the flag is there.
            for _ in range(5):
                await one(wire, late, lambda name: redis.set(f"{KEY}:cancel:{name}", "1", px=60_000))
    return {
        "cancelled": len(took),
        "p99_s": round(percentile(took, 99), 3),
        "max_without_the_call_s": round(max(late), 2),
    }


async def overload(seconds: int) -> dict[str, Any]:
    """Ten times as many questions as the workers can answer."""
    tally, deadline_s = Tally(), 15
    async with box(lease_s=5) as here:
        here.worker(16, 25)
        await here.up(1)
        # 25 words each take a second: 16 answers a second.
        async with (
            RedisWire(here.url, lease_s=here.lease_s, depth=10_000) as wire,
            anyio.create_task_group() as tasks,
        ):
            began = anyio.current_time()
            for n in range(160 * seconds):
                await anyio.sleep_until(began + n / 160)
                words = " ".join(f"{n}-{i}" for i in range(25))
                tasks.start_soon(ask, wire, words, tally, Metadata(deadline_ms=deadline_s * 1000))
        counters = await _counters(here)
    answered = sorted(set(tally.took_s) - set(tally.refused_s))
    return {
        "offered": 160 * seconds,
        "deadline_s": deadline_s,
        "admitted_p99_s": round(percentile(answered, 99), 2),
        "refused_p99_ms": round(1000 * percentile(tally.refused_s, 99), 1),
    } | _told(tally, counters)


async def mixed(jobs: int) -> dict[str, Any]:
    """Old and new bridges and workers on one queue. An old worker's job takes three leases: nobody may take it over."""
    tally, served, old_ends = Tally(), list[str](), Counter[str]()
    async with box(lease_s=1) as here, Redis(port=here.port, max_connections=400) as redis:
        here.worker(20, 50)
        await here.up(1)

        async def old_bridge(n: int) -> None:
            prompt = " ".join(f"o{n}-{i}" for i in range(20))
            told = await old_ask(redis, KEY, prompt, LIMIT_S)
            old_ends["exact" if told == prompt else told if told == "lost" else "corrupt"] += 1

        async def body() -> None:
            async with RedisWire(here.url, lease_s=here.lease_s) as wire, anyio.create_task_group() as tasks:
                for n in range(jobs // 2):
                    tasks.start_soon(old_bridge, n)
                    tasks.start_soon(ask, wire, " ".join(f"n{n}-{i}" for i in range(20)), tally)
                    await anyio.sleep(0.05)

        await _beside(partial(old_worker, redis, KEY, 20, 0.15, served), body)
        counters = await _counters(here)
        ours = set(re.findall(r"job (\w+): finished", (here.folder / "workers.txt").read_text()))
    return {
        "old_bridge": dict(old_ends),
        "served_by_old_worker": len(served),
        "served_by_ours": len(ours),
        "stolen_or_doubled": len(ours & set(served)) + len(served) - len(set(served)),
    } | _told(tally, counters)


async def frames(tokens: int) -> dict[str, Any]:
    """Fake tokens as fast as they go, through one worker, the reader in another process."""
    tally = Tally()
    async with box(lease_s=5) as here:
        here.worker(16, 0)
        await here.up(1)
        async with RedisWire(here.url, lease_s=here.lease_s) as wire:
            await ask_many(wire, 16, 16, 200, tally)
            began = time.monotonic()
            await ask_many(wire, tokens // 5_000, 16, 5_000, tally)
            seconds = time.monotonic() - began
    return {"tokens": tokens, "tokens_per_s": round(tokens / seconds)} | _told(tally, {})


def _told(tally: Tally, counters: dict[str, int]) -> dict[str, Any]:
    ends = dict(tally.ends)
    return (
        {"asked": sum(ends.values()), "lost": ends.pop("lost", 0), "corrupt": ends.pop("corrupt", 0)} | ends | counters
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


SCENARIOS: dict[str, tuple[Callable[[int], Awaitable[dict[str, Any]]], int]] = {
    "kill": (kill, 10_000),
    "stop": (stop, 3_000),
    "pubsub": (pubsub, 2_000),
    "restart": (restart, 2_000),
    "flush": (flush, 2_000),
    "poison": (poison, 32),
    "malformed": (malformed, 1_000),
    "cancel": (cancel, 100),
    "overload": (overload, 60),
    "mixed": (mixed, 400),
    "frames": (frames, 1_000_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument(
        "--count", type=int, help="jobs (overload: seconds; frames: tokens) instead of the usual number"
    )
    arguments = parser.parse_args()
    for name in arguments.scenarios or SCENARIOS:
        scenario, count = SCENARIOS[name]
        print(json.dumps({"scenario": name} | anyio.run(scenario, arguments.count or count)), flush=True)


if __name__ == "__main__":
    main()
