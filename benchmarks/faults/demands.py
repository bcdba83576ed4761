"""What is asked of the queue: jobs that kill, jobs that are none, too many, by old peers, at full speed."""

import re
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from redis.asyncio import Redis

from benchmarks.daemons import percentile
from benchmarks.faults.asking import KEY, LIMIT_S, Tally, ask, ask_many, beside, counted, told
from benchmarks.faults.box import box
from benchmarks.old_peers import old_ask, old_worker
from wire import Job, Metadata
from wire.redis import RedisWire


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
        await beside(supervisor, body)
        counters = await counted(here)
    return {"worker_deaths": restarts, "s": round(time.monotonic() - began)} | told(tally, counters)


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
        counters = await counted(here)
        exits = int(worker.poll() is not None)
    return {"malformed": jobs, "worker_exits": exits} | told(tally, counters)


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
        counters = await counted(here)
    answered = sorted(set(tally.took_s) - set(tally.refused_s))
    return {
        "offered": 160 * seconds,
        "deadline_s": deadline_s,
        "admitted_p99_s": round(percentile(answered, 99), 2),
        "refused_p99_ms": round(1000 * percentile(tally.refused_s, 99), 1),
    } | told(tally, counters)


async def mixed(jobs: int) -> dict[str, Any]:
    """Old and new bridges and workers on one queue. An old worker's job takes three leases: nobody may take it over."""
    tally, served, old_ends = Tally(), list[str](), Counter[str]()
    async with box(lease_s=1) as here, Redis(port=here.port, max_connections=400) as redis:
        here.worker(20, 50)
        await here.up(1)

        async def old_bridge(n: int) -> None:
            prompt = " ".join(f"o{n}-{i}" for i in range(20))
            said = await old_ask(redis, KEY, prompt, LIMIT_S)
            old_ends["exact" if said == prompt else said if said == "lost" else "corrupt"] += 1

        async def body() -> None:
            async with RedisWire(here.url, lease_s=here.lease_s) as wire, anyio.create_task_group() as tasks:
                for n in range(jobs // 2):
                    tasks.start_soon(old_bridge, n)
                    tasks.start_soon(ask, wire, " ".join(f"n{n}-{i}" for i in range(20)), tally)
                    await anyio.sleep(0.05)

        await beside(partial(old_worker, redis, KEY, 20, 0.15, served), body)
        counters = await counted(here)
        ours = set(re.findall(r"job (\w+): finished", (here.folder / "workers.txt").read_text()))
    return {
        "old_bridge": dict(old_ends),
        "served_by_old_worker": len(served),
        "served_by_ours": len(ours),
        "stolen_or_doubled": len(ours & set(served)) + len(served) - len(set(served)),
    } | told(tally, counters)


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
    return {"tokens": tokens, "tokens_per_s": round(tokens / seconds)} | told(tally, {})
