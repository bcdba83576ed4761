"""One fault, again and again, while questions are asked: workers and servers that die, hang or forget."""

import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from redis.asyncio import Redis

from benchmarks.daemons import percentile
from benchmarks.faults.asking import Tally, ask_many, beside, counted, told
from benchmarks.faults.box import Box, box
from wire.redis import RedisWire

SLOTS, WORDS_PER_S = 40, 50

Fault = Callable[[Box], Awaitable[None]]


async def _under(
    fault: Fault, every_s: float, struck: str, jobs: int, at_once: int, words: int, workers: int, lease_s: float
) -> dict[str, Any]:
    """`fault` strikes after every pause of `every_s`; how often is told as `struck`."""
    tally, strikes = Tally(), 0
    async with box(lease_s) as here:
        for _ in range(workers):
            here.worker(SLOTS, WORDS_PER_S)
        await here.up(workers)

        async def strike() -> None:
            nonlocal strikes
            while True:
                await anyio.sleep(every_s)
                strikes += 1
                await fault(here)

        began = time.monotonic()
        async with RedisWire(here.url, lease_s=lease_s) as wire:
            await beside(strike, lambda: ask_many(wire, jobs, at_once, words, tally))
        seconds = time.monotonic() - began
        counters = await counted(here)
    p50, p99 = percentile(tally.took_s, 50), percentile(tally.took_s, 99)
    return {struck: strikes, "s": round(seconds), "p50_s": round(p50, 2), "p99_s": round(p99, 2)} | told(
        tally, counters
    )


async def kill(jobs: int) -> dict[str, Any]:
    """3 workers, one of them killed -9 every 2 s and started again; 100 words a job at 50 words/s."""

    async def one(here: Box) -> None:
        victim = random.choice(here.workers)
        here.workers.remove(victim)
        victim.kill()
        victim.wait()
        here.worker(SLOTS, WORDS_PER_S)

    return await _under(one, 2, "kills", jobs, at_once=3 * SLOTS + 20, words=100, workers=3, lease_s=1.5)


async def stop(jobs: int) -> dict[str, Any]:
    """SIGSTOP for twice the lease, then SIGCONT, one worker after the other."""

    async def one(here: Box) -> None:
        victim = random.choice(here.workers)
        victim.send_signal(signal.SIGSTOP)
        try:
            await anyio.sleep(2 * here.lease_s)
        finally:
            victim.send_signal(signal.SIGCONT)

    return await _under(one, 1, "stops", jobs, at_once=3 * SLOTS, words=100, workers=3, lease_s=1.5)


async def pubsub(jobs: int) -> dict[str, Any]:
    """All pub/sub connections killed every 0.3 s."""

    async def all_of_them(here: Box) -> None:
        async with Redis(port=here.port) as redis:
            await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    return await _under(all_of_them, 0.3, "cuts", jobs, at_once=2 * SLOTS, words=50, workers=2, lease_s=5)


async def restart(jobs: int) -> dict[str, Any]:
    """redis-server killed -9 every 5 s and started again from its AOF (everysec)."""

    async def server(here: Box) -> None:
        here.server.kill()
        here.server.wait()
        await anyio.to_thread.run_sync(here.redis)

    return await _under(server, 5, "restarts", jobs, at_once=2 * SLOTS, words=50, workers=2, lease_s=3)


async def flush(jobs: int) -> dict[str, Any]:
    """FLUSHALL every 3 s."""

    async def everything(here: Box) -> None:
        async with Redis(port=here.port) as redis:
            await redis.flushall()

    return await _under(everything, 3, "flushes", jobs, at_once=2 * SLOTS, words=50, workers=2, lease_s=1.5)
