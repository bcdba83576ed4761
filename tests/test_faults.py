"""Workers that are killed, stopped and poisoned in mid-answer: real processes, a real Redis, the echo engine."""

import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from redis.asyncio import Redis

from tests.processes import Place, Program, place
from wire import Final, Job, Reply
from wire.redis import RedisWire

pytestmark = pytest.mark.slow

LEASE_S = 3.0
RATE, SLOWLY = 60, 20  # who is to be killed still speaks, however long the other takes to start
WORDS = " ".join(f"word{n}" for n in range(400))


@pytest.fixture
def here() -> Generator[Place]:
    with place() as here:
        yield here


@pytest.fixture
async def key() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def wire(redis_url: str, key: str) -> AsyncIterator[RedisWire]:
    async with RedisWire(redis_url, key, lease_s=LEASE_S, limit_s=60) as wire:
        yield wire


@asynccontextmanager
async def worker(here: Place, redis_url: str, key: str, rate: int = RATE) -> AsyncGenerator[Program]:
    settings = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": key, "TANDEM_LEASE_S": str(LEASE_S)}
    words = ("--engine", "echo", "--tokens-per-second", str(rate))
    async with here.program("worker", *words, settings=settings) as one:
        await one.says("takes jobs from")
        yield one


async def text_of(replies: AsyncIterator[Reply], *heard: Reply) -> tuple[str, list[int]]:
    """The whole text, and the epochs that it was written under."""
    whole = [*heard, *[reply async for reply in replies]]
    assert [reply.seq for reply in whole] == list(range(1, len(whole) + 1))
    assert isinstance(whole[-1], Final) and whole[-1].error is None, whole[-1]
    return "".join(reply.chunk for reply in whole), sorted({reply.epoch for reply in whole})


async def test_an_answer_goes_on_word_for_word_when_its_worker_is_killed(
    here: Place, redis_url: str, key: str, wire: RedisWire
) -> None:
    with anyio.fail_after(120):
        async with worker(here, redis_url, key, SLOWLY) as first, wire.send(Job(uuid.uuid4().hex, WORDS)) as replies:
            begun = await anext(replies)
            async with worker(here, redis_url, key):
                await first.stop(signal.SIGKILL)
                text, epochs = await text_of(replies, begun)
    assert text == WORDS
    assert len(epochs) == 2


async def test_a_worker_that_wakes_after_another_took_over_says_nothing_more(
    here: Place, redis_url: str, key: str, wire: RedisWire
) -> None:
    with anyio.fail_after(120):
        async with worker(here, redis_url, key, SLOWLY) as first, wire.send(Job(uuid.uuid4().hex, WORDS)) as replies:
            begun = await anext(replies)
            first.process.send_signal(signal.SIGSTOP)
            async with worker(here, redis_url, key):
                heard = [begun]
                while heard[-1].epoch == begun.epoch:
                    heard.append(await anext(replies))
                first.process.send_signal(signal.SIGCONT)
                text, epochs = await text_of(replies, *heard)
                await first.says("lost")
    assert text == WORDS
    assert len(epochs) == 2


async def test_a_worker_that_is_told_to_end_finishes_its_answer(
    here: Place, redis_url: str, key: str, wire: RedisWire
) -> None:
    with anyio.fail_after(120):
        async with worker(here, redis_url, key) as first, wire.send(Job(uuid.uuid4().hex, WORDS)) as replies:
            begun = await anext(replies)
            first.process.send_signal(signal.SIGTERM)
            text, epochs = await text_of(replies, begun)
            assert await first.process.wait() == 0
    assert (text, len(epochs)) == (WORDS, 1)


async def test_of_jobs_that_die_together_the_one_that_kills_is_found_and_the_others_are_answered(
    redis_url: str, key: str, wire: RedisWire
) -> None:
    jobs = [Job(uuid.uuid4().hex, f"{'poison' if n == 2 else 'fine'} {n}") for n in range(5)]
    ends: dict[str, Reply] = {}
    command = [sys.executable, "-m", "tests.poisoned_worker", "--slots", "5", "--tokens-per-second", "5"]
    settings = dict(os.environ) | {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": key, "TANDEM_LEASE_S": str(LEASE_S)}

    async def supervise() -> None:
        while True:
            async with await anyio.open_process(command, env=settings, stderr=None) as process:
                await process.wait()

    async def ask(job: Job) -> None:
        async with wire.send(job) as replies:
            ends[job.prompt] = [reply async for reply in replies][-1]

    with anyio.fail_after(180):
        async with anyio.create_task_group() as workers:
            workers.start_soon(supervise)
            async with anyio.create_task_group() as tasks:
                for job in jobs:
                    tasks.start_soon(ask, job)
            workers.cancel_scope.cancel()
    codes = {prompt: end.error_code for prompt, end in ends.items() if isinstance(end, Final)}
    assert codes == {"fine 0": None, "fine 1": None, "poison 2": "poison", "fine 3": None, "fine 4": None}
    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(Redis.from_url(redis_url))
        ((_, dead),) = await redis.xrange(f"{key}:inference_dead")
    assert b"poison 2" in dead[b"data"]
