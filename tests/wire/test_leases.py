"""What a lease that ran out means: for the job, for the worker that had it, for the others that it had."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio import fail_after

from tests.processes import until
from wire import Delivery, Delta, Final, Inbox, Job, Malformed, Metadata, WorkerCard
from wire.redis import GROUP, RedisWire
from wire.steps import DEATHS, Figures, Taken

LEASE_S = 0.5
ANY = Figures(WorkerCard(slots=9))


@pytest.fixture
async def wire(redis_url: str, key: str) -> AsyncIterator[RedisWire]:
    async with RedisWire(redis_url, key, patience_s=0.05, lease_s=LEASE_S) as wire:
        yield wire


async def one_of(inbox: Inbox) -> Delivery:
    async def look() -> Delivery | None:
        return next(iter(await inbox.take(1)), None)

    return await until(look)


async def die_with(wire: RedisWire, streams: list[str], count: int, model: str | None = None) -> list[str]:
    """A worker that starts so many jobs and is never heard of again."""
    name = uuid.uuid4().hex
    await wire.steps.beat(name, [], Figures(WorkerCard("echo", model, 9)))
    started: list[str] = []
    while len(started) < count:
        for taken in await wire.steps.take(name, streams, count - len(started), 0):
            request_id = taken.data.decode().split('"')[3]
            assert (await wire.steps.start(name, taken, request_id)).state == "ours"
            started.append(request_id)
    return started


async def failures(redis: Any, key: str, request_ids: list[str]) -> list[Any]:
    return [await redis.hget(f"{key}:job:{request_id}", "failures") for request_id in request_ids]


async def test_a_worker_alone_gets_back_what_it_has_lost(wire: RedisWire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(Job(uuid.uuid4().hex, "why?")) as replies:
            await one_of(inbox)  # and its start never comes: the answer to this call was lost, say
            async with inbox.hold(await one_of(inbox)) as hold:
                await hold.emit(Delta("ok"))
                await hold.finish(Final())
            assert "".join([reply.chunk async for reply in replies]) == "ok"


async def test_jobs_that_died_together_are_run_by_halves_however_many_slots_there_are(
    wire: RedisWire, key: str
) -> None:
    with fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                async with wire.send(Job(uuid.uuid4().hex, "why?")):
                    pass
            await die_with(wire, [key], 8)
            at_once: list[int] = []
            running = 0

            async def serve(delivery: Delivery) -> None:
                nonlocal running
                running += 1
                at_once.append(running)
                async with inbox.hold(delivery) as hold:
                    await anyio.sleep(0.1)
                    await hold.finish(Final())
                running -= 1

            async with wire.attach(WorkerCard(slots=8)) as inbox:
                while len(at_once) < 8 or running:
                    for delivery in await inbox.take(8):
                        tasks.start_soon(serve, delivery)
    assert max(at_once) == 4


@pytest.mark.parametrize("model", [None, "small"], ids=["one stream", "two streams"])
async def test_a_death_is_counted_against_a_job_only_where_it_was_the_only_one(
    wire: RedisWire, redis: Any, key: str, model: str | None
) -> None:
    jobs = [Job(uuid.uuid4().hex, "why?"), Job(uuid.uuid4().hex, "why?", metadata=Metadata(model=model))]
    streams = [key, f"{key}:small"]
    for job in jobs:
        async with wire.send(job):
            pass
    died = await die_with(wire, streams, 2, "small")
    await wire.steps.beat("next", [], ANY)

    async def taken() -> list[Taken]:
        return await wire.steps.take("next", streams, 9, 0)

    for _ in range(2):
        assert len(await until(taken)) == 1
    assert await failures(redis, key, died) == [None, None]


async def test_suspects_wait_for_a_worker_that_serves_their_stream(wire: RedisWire, key: str) -> None:
    big = f"{key}:big"
    async with wire.send(Job(uuid.uuid4().hex, "why?", metadata=Metadata(model="big"))):
        await die_with(wire, [key, big], 1, "big")
    await wire.steps.beat("small", [], ANY)
    until_s = anyio.current_time() + 3 * LEASE_S
    while anyio.current_time() < until_s:
        assert await wire.steps.take("small", [key, f"{key}:small"], 9, 0) == []

    async def taken() -> list[Taken]:
        return await wire.steps.take("another big", [key, big], 9, 0)

    await wire.steps.beat("another big", [], ANY)
    assert len(await until(taken)) == 1


async def test_a_job_of_a_worker_that_lives_is_taken_over_without_blame(wire: RedisWire, redis: Any, key: str) -> None:
    async with wire.send(Job(uuid.uuid4().hex, "why?")):
        (died,) = await die_with(wire, [key], 1)
    name = (await redis.hget(f"{key}:job:{died}", "owner")).decode()

    async def taken() -> list[Taken]:
        await wire.steps.beat(name, [], ANY)  # without the job: it has given it up
        return await wire.steps.take("next", [key], 9, 0)

    await wire.steps.beat("next", [], ANY)
    assert len(await until(taken)) == 1
    assert await failures(redis, key, [died]) == [None]


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_worker_that_is_heard_of_again_was_cut_off_and_its_job_is_not_to_blame(
    wire: RedisWire, redis: Any, key: str, comes_back: bool
) -> None:
    job = Job(uuid.uuid4().hex, "why?")

    async def owner() -> str:
        return (await redis.hget(f"{key}:job:{job.request_id}", "owner")).decode()

    with fail_after(20):
        async with wire.send(job) as replies:
            await die_with(wire, [key], 1)
            for _ in range(DEATHS - 1):
                silent = await owner()
                await die_with(wire, [key], 1)
                if comes_back:
                    await wire.steps.beat(silent, [], ANY)
            async with wire.attach() as inbox:
                if comes_back:
                    async with inbox.hold(await one_of(inbox)) as hold:
                        await hold.finish(Final())
                else:

                    async def dead() -> bool:
                        await inbox.take(1)
                        return await redis.xlen(f"{key}:inference_dead") == 1

                    await until(dead)
                (final,) = [reply async for reply in replies]
    assert isinstance(final, Final)
    assert final.error_code == (None if comes_back else "poison")
    assert await failures(redis, key, [job.request_id]) == [b"1" if comes_back else b"%d" % DEATHS]


async def test_a_worker_comes_back_after_its_name_was_forgotten_or_its_job(
    wire: RedisWire, redis: Any, key: str
) -> None:
    async with wire.send(Job(uuid.uuid4().hex, "why?")):
        (job,) = await die_with(wire, [key], 1)
    name = (await redis.hget(f"{key}:job:{job}", "owner")).decode()

    async def forgotten() -> bool:
        await wire.steps.beat("next", [], ANY)
        await wire.steps.take("next", [key], 9, 0)
        return await redis.zscore(f"{key}:workers", name) is None

    await until(forgotten)
    assert await failures(redis, key, [job]) == [b"1"]
    await wire.steps.beat(name, [], ANY)
    assert await failures(redis, key, [job]) == [b"0"]
    await wire.steps.beat(name, [], ANY)
    assert await failures(redis, key, [job]) == [b"0"]
    await redis.hset(f"{key}:worker:{name}", "blamed", "gone")
    await wire.steps.beat(name, [], ANY)
    assert not await redis.exists(f"{key}:job:gone")


async def test_who_has_left_does_not_count_as_a_worker(wire: RedisWire) -> None:
    for _ in range(10):
        async with wire.attach() as inbox:
            await inbox.take(1)
            inbox.drain()
        assert await wire.workers() == 0


async def test_an_old_workers_words_and_anothers_are_never_one_text(wire: RedisWire, redis: Any) -> None:
    async with wire.send(Job("both", "why?")) as replies, wire.attach() as inbox:
        await redis.publish("result:both", '{"chunk": "old", "is_final": false}')
        assert (await anext(replies)).chunk == "old"
        async with inbox.hold(await one_of(inbox)) as hold:
            await hold.emit(Delta("new"))
            await hold.finish(Final())
        (final,) = [reply async for reply in replies]
    assert isinstance(final, Final) and final.error_code == "restarted"


async def test_an_old_worker_has_its_job_until_the_deadline_and_its_end_frees_the_client(
    wire: RedisWire, redis: Any, key: str
) -> None:
    with fail_after(30):
        job = Job(uuid.uuid4().hex, "why?", metadata=Metadata(client="me"))
        async with wire.send(job) as replies, wire.attach() as inbox:
            await redis.xgroup_create(key, GROUP, id="0")
            [[_, [(entry, _)]]] = await redis.xreadgroup(GROUP, "old", {key: ">"}, 1, 1000)
            until_s = anyio.current_time() + 3 * LEASE_S
            while anyio.current_time() < until_s:
                assert await inbox.take(1) == []
            assert await redis.zcard(f"{key}:inflight:me") == 1
            await redis.publish(f"result:{job.request_id}", '{"chunk": "done", "is_final": true}')
            await redis.xack(key, GROUP, entry)
            assert [reply.chunk async for reply in replies] == ["done", ""]
        assert await redis.zcard(f"{key}:inflight:me") == 0


async def test_hostile_words_end_no_worker(wire: RedisWire, redis: Any, key: str) -> None:
    with fail_after(30):
        async with wire.attach() as inbox:
            await inbox.take(1)
            await redis.publish(f"{key}:ctl:cancel", b"\xff")
            async with wire.send(Job(uuid.uuid4().hex, "why?")) as replies:
                async with inbox.hold(await one_of(inbox)) as hold:
                    with pytest.raises(UnicodeEncodeError):
                        await hold.emit(Delta("half a pair \ud83d"))
                    await hold.finish(Final(error="\ud83d", error_code="engine"))
                (final,) = [reply async for reply in replies]
        with pytest.raises(Malformed, match="suspects"):
            async with wire.send(Job("x", "why?", metadata=Metadata(model="suspects"))):
                pass
        with pytest.raises(Malformed, match="workers"):
            async with wire.attach(WorkerCard("echo", "workers")):
                pass
    assert isinstance(final, Final) and "half a surrogate pair" in (final.error or "")


async def test_what_an_old_worker_acknowledged_for_an_old_bridge_does_not_stay_in_the_queue(
    wire: RedisWire, redis: Any, key: str
) -> None:
    with fail_after(30):
        async with wire.attach() as inbox:
            await inbox.take(1)
            await redis.xadd(key, {"data": '{"request_id": "old", "prompt": "why?"}'})
            [[_, [(entry, _)]]] = await redis.xreadgroup(GROUP, "old", {key: ">"}, 1, 1000)
            await redis.xadd(key, {"data": '{"request_id": "next", "prompt": "why?"}'})
            await redis.xack(key, GROUP, entry)

            async def trimmed() -> bool | None:
                taken.extend(await inbox.take(1))
                return await redis.xlen(key) == 1 or None

            taken: list[Delivery] = []
            await until(trimmed)
            taken += [] if taken else [await one_of(inbox)]
    assert [delivery.job.request_id for delivery in taken] == ["next"]


async def test_who_resumes_an_old_workers_answer_is_told_that_its_beginning_is_lost(
    wire: RedisWire, redis: Any, key: str
) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(Job("a", "why?")) as replies:
            await one_of(inbox)
            await redis.publish("result:a", '{"chunk": "one ", "is_final": false}')
            assert (await anext(replies)).chunk == "one "
            async with wire.resume("a") as resumed:
                await redis.publish("result:a", '{"chunk": "two ", "is_final": false}')
                end = await anext(resumed)
    assert isinstance(end, Final)
    assert end.error_code == "restarted"
