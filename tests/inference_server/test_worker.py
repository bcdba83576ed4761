"""The worker loop over each wire: it serves, it drains, and nothing that one job does ends it."""

import logging
import subprocess
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from anyio import fail_after
from msgspec.structs import replace
from redis.asyncio import Redis

from inference_server.engines import EngineFailed, Generate
from inference_server.engines.echo import echo
from inference_server.engines.extractive import extractive
from inference_server.worker import work
from wire import Delta, Final, Job, Passage, Reply, Said, Usage, Wire
from wire.redis import RedisWire

StartRedis = Callable[..., "subprocess.Popen[bytes]"]


@asynccontextmanager
async def working(wire: Wire, generate: Generate, slots: int = 4) -> AsyncGenerator[anyio.Event]:
    """A worker, drained at the end."""
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(work, wire, generate, slots=slots, stopped=stopped))
        yield stopped
        stopped.set()


async def ask(wire: Wire, prompt: str = "why?", context: tuple[Passage, ...] = ()) -> list[Reply]:
    async with wire.send(Job(uuid.uuid4().hex, prompt, context)) as replies:
        return [replace(reply, epoch=0) async for reply in replies]


def engine(replies: Callable[[Job], AsyncIterator[Reply]]) -> Generate:
    @asynccontextmanager
    async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        yield replies(job)

    return generate


async def test_a_question_is_answered_from_its_passages(wire: Wire) -> None:
    with fail_after(30):
        async with working(wire, extractive):
            replies = await ask(wire, "When was the house built?", (Passage(text="The house was built in 1843."),))
    assert replies == [
        Delta("The house was built in 1843. [1]", seq=1),
        Final(engine="extractive", finish_reason="stop", seq=2),
    ]


async def test_pieces_are_numbered_from_one_without_a_hole_and_the_final_is_next(wire: Wire) -> None:
    with fail_after(30):
        async with working(wire, echo()):
            replies = await ask(wire, "one two three")
    assert [reply.seq for reply in replies] == list(range(1, len(replies) + 1))
    usage = Usage(completion_tokens=3)
    assert replies[-1] == Final(engine="echo", finish_reason="stop", usage=usage, seq=len(replies))


async def test_fifty_questions_at_once_get_their_own_answers(wire: Wire) -> None:
    async def check(prompt: str) -> None:
        assert "".join(reply.chunk for reply in await ask(wire, prompt)) == prompt

    with fail_after(30):
        async with working(wire, echo(), slots=8), anyio.create_task_group() as asking:
            for n in range(50):
                asking.start_soon(check, f"{n} is the answer to {n}")


async def test_as_many_jobs_run_at_once_as_there_are_slots(wire: Wire) -> None:
    running = most = 0
    third = anyio.Event()

    async def replies(job: Job) -> AsyncIterator[Reply]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            third.set()
        await third.wait()
        running -= 1
        yield Final()

    with fail_after(30):
        async with working(wire, engine(replies), slots=3), anyio.create_task_group() as asking:
            for _ in range(7):
                asking.start_soon(ask, wire)
    assert most == 3


async def test_the_first_piece_arrives_before_the_second_exists(wire: Wire) -> None:
    heard = anyio.Event()

    async def replies(job: Job) -> AsyncIterator[Reply]:
        yield Delta("first")
        await heard.wait()
        yield Final()

    with fail_after(30):
        async with working(wire, engine(replies)), wire.send(Job(uuid.uuid4().hex, "why?")) as answer:
            assert (await anext(answer)).chunk == "first"
            heard.set()


async def test_a_worker_that_is_stopped_finishes_what_it_took_and_takes_nothing_new(wire: Wire) -> None:
    begun, go_on, drained = anyio.Event(), anyio.Event(), anyio.Event()

    async def replies(job: Job) -> AsyncIterator[Reply]:
        begun.set()
        await go_on.wait()
        yield Delta(job.prompt)
        yield Final()

    async def run(stopped: anyio.Event) -> None:
        await work(wire, engine(replies), slots=1, stopped=stopped)
        drained.set()

    with fail_after(30):
        async with anyio.create_task_group() as tasks:
            stopped = anyio.Event()
            tasks.start_soon(run, stopped)
            async with wire.send(Job(uuid.uuid4().hex, "taken")) as taken:
                await begun.wait()
                stopped.set()
                async with wire.send(Job(uuid.uuid4().hex, "new")) as new:
                    assert not drained.is_set()
                    go_on.set()
                    assert [reply.chunk async for reply in taken] == ["taken", ""]
                    await drained.wait()
                    async with working(wire, echo()):
                        assert [reply.chunk async for reply in new] == ["new", ""]


async def test_a_failure_of_the_engine_is_told_in_its_words_after_what_it_said(wire: Wire) -> None:
    async def replies(job: Job) -> AsyncIterator[Reply]:
        yield Delta("half")
        raise EngineFailed("no such model: pull it", "overloaded")

    with fail_after(30):
        async with working(wire, engine(replies)):
            answer = await ask(wire)
    assert answer == [
        Delta("half", seq=1),
        Final(error="no such model: pull it", error_code="overloaded", seq=2),
    ]


async def test_a_crash_of_the_engine_costs_one_job_and_is_logged(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    async def replies(job: Job) -> AsyncIterator[Reply]:
        if job.prompt == "crash":
            raise ZeroDivisionError("secret words")
        yield Final()

    with fail_after(30):
        async with working(wire, engine(replies), slots=1):
            (crashed,) = await ask(wire, "crash")
            assert await ask(wire) == [Final(seq=1)]
    assert isinstance(crashed, Final)
    assert crashed.error == "the engine crashed (ZeroDivisionError); the worker's log says more"
    assert crashed.error_code == "engine"
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_an_engine_that_stops_without_an_end_is_an_error(wire: Wire) -> None:
    async def replies(job: Job) -> AsyncIterator[Reply]:
        yield Delta("half")

    with fail_after(30):
        async with working(wire, engine(replies)):
            final = (await ask(wire))[-1]
    assert isinstance(final, Final)
    assert (final.error_code, final.seq) == ("engine", 2)


async def test_a_busy_or_draining_worker_is_attached_until_it_returns(wire: Wire) -> None:
    with fail_after(30):
        async with working(wire, echo()):
            await ask(wire)
            assert await wire.workers() == 1
        assert await wire.workers() == 0


async def test_a_worker_outlives_its_redis_with_one_warning_and_serves_again_when_it_is_back(
    port: int, start_redis: StartRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """Started before Redis, then Redis is killed while an answer is under way and started again."""
    url = f"redis://127.0.0.1:{port}"
    begun = anyio.Event()

    async def replies(job: Job) -> AsyncIterator[Reply]:
        if job.prompt == "cut":
            yield Delta("half")
            await begun.wait()
        yield Delta("whole")
        yield Final()

    options = ("--appendonly", "yes", "--appendfsync", "always")
    with fail_after(30):
        async with (
            RedisWire(url, patience_s=0.05) as workers_end,
            RedisWire(url) as wire,
            working(workers_end, engine(replies), slots=2),
        ):
            await warned(caplog, 1)
            server = start_redis(port, *options)
            assert [reply.chunk for reply in await ask(wire, "first")] == ["whole", ""]
            async with wire.send(Job("cut", "cut")) as cut:
                assert (await anext(cut)).chunk == "half"
                server.kill()
                server.wait()
                begun.set()
                await warned(caplog, 2)
                start_redis(port, *options)
                assert [reply.chunk async for reply in cut] == ["whole", ""]
            assert [reply.chunk for reply in await ask(wire, "second")] == ["whole", ""]
    assert len(warnings(caplog)) == 2
    assert all("cannot be reached" in warning and str(port) in warning for warning in warnings(caplog))


async def test_what_a_worker_could_not_publish_for_a_while_is_not_lost(port: int, start_redis: StartRedis) -> None:
    start_redis(port, "--user default on nopass ~* &* +@all", "--user gpu on >gpu ~* &* +@all")
    forbidden, tried = anyio.Event(), anyio.Event()

    async def replies(job: Job) -> AsyncIterator[Reply]:
        yield Delta("half, ")
        await forbidden.wait()
        yield Delta("whole")
        tried.set()
        yield Final()

    with fail_after(30):
        async with (
            Redis(port=port) as admin,
            RedisWire(f"redis://gpu:gpu@127.0.0.1:{port}", patience_s=0.05) as workers_end,
            RedisWire(f"redis://127.0.0.1:{port}") as wire,
            working(workers_end, engine(replies)),
            wire.send(Job("splice", "why?")) as answer,
        ):
            assert (await anext(answer)).chunk == "half, "
            await admin.execute_command("ACL SETUSER gpu -publish")
            forbidden.set()
            await tried.wait()
            await admin.execute_command("ACL SETUSER gpu +publish")
            assert "".join([reply.chunk async for reply in answer]) == "whole"
            while await admin.xlen("inference_queue"):
                pass


async def test_a_job_that_outlasts_the_grace_of_a_stopped_worker_is_gone_on_with_by_another(wire: Wire) -> None:
    words = " ".join(map(str, range(60)))
    with fail_after(30):
        async with anyio.create_task_group() as tasks, wire.send(Job(uuid.uuid4().hex, words)) as replies:
            stopped, drained = anyio.Event(), anyio.Event()

            async def first() -> None:
                await work(wire, echo(30), slots=1, stopped=stopped, grace_s=0.1)
                drained.set()

            tasks.start_soon(first)
            text = [(await anext(replies)).chunk]
            stopped.set()
            await drained.wait()
            async with working(wire, echo()):
                text += [reply.chunk async for reply in replies]
    assert "".join(text) == words


async def test_a_worker_that_cannot_reach_redis_still_stops_when_it_is_told_to(port: int) -> None:
    with fail_after(30):
        async with RedisWire(f"redis://127.0.0.1:{port}") as wire, working(wire, echo()):
            pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def warned(caplog: pytest.LogCaptureFixture, count: int) -> None:
    while len(warnings(caplog)) < count:
        await anyio.lowlevel.checkpoint()
