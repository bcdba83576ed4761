"""A worker is never given more jobs than it has room for, wherever they come from."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from anyio import fail_after

from tests.processes import until
from wire import Job, Metadata, WorkerCard
from wire.redis import RedisWire
from wire.steps import Figures, Taken

LEASE_S = 0.3


@pytest.fixture
async def wire(redis_url: str, key: str) -> AsyncIterator[RedisWire]:
    async with RedisWire(redis_url, key, patience_s=0.05, lease_s=LEASE_S) as wire:
        yield wire


async def test_of_two_streams_that_both_have_jobs_a_worker_takes_no_more_than_it_asked_for(wire: RedisWire) -> None:
    async with AsyncExitStack() as stack:
        for model in (None, None, "small", "small"):
            await stack.enter_async_context(wire.send(Job(uuid.uuid4().hex, "why?", metadata=Metadata(model=model))))
        inbox = await stack.enter_async_context(wire.attach(WorkerCard("echo", "small", 1)))
        taken: list[str] = []
        with fail_after(30):
            while len(taken) < 4:
                found = await inbox.take(1)
                assert len(found) <= 1
                taken += [delivery.job.request_id for delivery in found]
    assert len(set(taken)) == 4


async def test_of_jobs_that_died_together_a_smaller_worker_takes_as_many_as_it_has_slots(
    wire: RedisWire, redis_url: str, key: str
) -> None:
    async with AsyncExitStack() as stack:
        ids = [uuid.uuid4().hex for _ in range(6)]
        for request_id in ids:
            await stack.enter_async_context(wire.send(Job(request_id, "why?")))
        # A large worker that takes them all and is never heard of again.
        await wire.steps.beat("large", [], Figures(WorkerCard(slots=6)))
        lost = await wire.steps.take("large", [key], 6, 0)
        for one, request_id in zip(lost, ids, strict=True):
            assert (await wire.steps.start("large", one, request_id)).state == "ours"
        small = await stack.enter_async_context(RedisWire(redis_url, key, patience_s=0.05, lease_s=LEASE_S))
        await small.steps.beat("small", [], Figures(WorkerCard(slots=2)))

        async def taken() -> list[Taken]:
            return await small.steps.take("small", [key], 2, 0)

        for _ in range(4):
            assert 1 <= len(await until(taken)) <= 2
