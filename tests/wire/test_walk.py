"""One owner for each epoch, logs without a hole, one final at most: whatever happens to the workers."""

import random
import uuid

import anyio
import pytest
from redis.asyncio import Redis

from tests.wire.machine import Walk
from wire.redis.ear import Ear
from wire.redis.server import Server
from wire.redis.steps import RedisSteps

STEPS = 2_000


async def walked(redis_url: str, steps: int, seed: int) -> Walk:
    server, base = Server(redis_url, None, 5), uuid.uuid4().hex
    try:
        async with Redis.from_url(redis_url) as redis, anyio.create_task_group() as tasks:
            ear = Ear(server, tasks)
            workers = [RedisSteps(server, ear, base, 3_600, 0.001, 3_600, 600, reclaim_s=0) for _ in range(3)]
            walk = Walk(workers, redis, base, random.Random(seed))
            await walk.go(steps)
            tasks.cancel_scope.cancel()
    finally:
        await server.close()
    return walk


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_befalls_the_workers_each_log_is_one_answer(redis_url: str, seed: int) -> None:
    walk = await walked(redis_url, STEPS, seed)
    assert any(len(epochs) > 2 for epochs in walk.epochs.values())
    assert sum(walk.finals.values()) > 20
