"""Questions whose answers are known to the byte, and what became of them."""

import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from redis.asyncio import Redis

from benchmarks.faults.box import Box
from wire import Busy, Final, Job, Metadata, QueueDown
from wire.redis import RedisWire

KEY = "inference_queue"
LIMIT_S = 120.0
PLAIN = Metadata()


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


async def beside(fault: Callable[[], Awaitable[None]], body: Callable[[], Awaitable[None]]) -> None:
    """Faults for as long as the body runs."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fault)
        await body()
        tasks.cancel_scope.cancel()


async def counted(here: Box) -> dict[str, int]:
    async with Redis(port=here.port) as redis:
        found = await redis.hgetall(f"{KEY}:counters")
        dead = await redis.xlen(f"{KEY}:inference_dead")
        left = {"queue": await redis.xlen(KEY), "suspects": await redis.llen(f"{KEY}:suspects")}
    return {name.decode(): int(value) for name, value in found.items()} | {"dead_letters": dead} | left


def told(tally: Tally, counters: dict[str, int]) -> dict[str, Any]:
    ends = dict(tally.ends)
    return (
        {"asked": sum(ends.values()), "lost": ends.pop("lost", 0), "corrupt": ends.pop("corrupt", 0)} | ends | counters
    )
