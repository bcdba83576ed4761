"""What operators ask of a queue, and what they do with the jobs that were given up."""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from anyio import fail_after

from tests.processes import until
from wire import Delta, Final, Inbox, Job, Metadata, Unknown, WorkerCard
from wire.redis import GROUP, RedisWire
from wire.redis.dead import Dead, NotRetried
from wire.redis.office import Queue, Worker

LEASE_S = 0.3
CARD = WorkerCard("echo", "small", 3)


@pytest.fixture
async def wire(redis_url: str, key: str) -> AsyncIterator[RedisWire]:
    async with RedisWire(redis_url, key, patience_s=0.05, lease_s=LEASE_S) as wire:
        yield wire


def job(prompt: str = "why?", **metadata: Any) -> Job:
    return Job(uuid.uuid4().hex, prompt, metadata=Metadata(**metadata))


async def serve(inbox: Inbox, text: str = "ok") -> None:
    (delivery,) = await inbox.take(1)
    async with inbox.hold(delivery) as hold:
        await hold.emit(Delta(text))
        await hold.finish(Final())


async def figures(wire: RedisWire, right: Callable[[Worker], bool] = lambda _: True) -> tuple[Queue, Worker]:
    """As soon as there is a worker with the right figures."""

    async def look() -> tuple[Queue, Worker] | None:
        queue = await wire.office().figures()
        return next(((queue, worker) for worker in queue.workers if right(worker)), None)

    return await until(look)


async def give_up(redis: Any, key: str, one: Job | bytes, **fields: str) -> None:
    """As `bury` leaves it."""
    data = one if isinstance(one, bytes) else json.dumps({"request_id": one.request_id, "prompt": one.prompt})
    told = {"reason": "a worker died of it", "failures": "3", "consumers": "gpu-1", "stream": key, **fields}
    request_id = "" if isinstance(one, bytes) else one.request_id
    await redis.xadd(f"{key}:inference_dead", {"data": data, "request_id": request_id, **told})


async def only(wire: RedisWire) -> Dead:
    (found,) = await wire.dead_letters().latest(10)
    return found


# --- figures


async def test_a_queue_that_nobody_has_used_is_empty_and_not_an_error(wire: RedisWire, key: str) -> None:
    queue = await wire.office().figures()
    assert (queue.depth, queue.waiting, queue.in_flight, queue.dead, queue.workers) == (0, 0, 0, 0, ())
    assert [(stream.name, stream.wait_s) for stream in queue.streams] == [(key, None)]
    assert set(queue.counters.values()) == {0}


async def test_jobs_count_as_waiting_until_a_worker_has_them_and_then_as_in_flight(wire: RedisWire, key: str) -> None:
    async with wire.attach(CARD) as inbox, wire.send(job()), wire.send(job()):
        await inbox.take(1)
        async with wire.send(job(model="small")):
            queue, worker = await figures(wire)
    assert (queue.depth, queue.waiting, queue.in_flight) == (3, 2, 1)
    assert {stream.name: stream.depth for stream in queue.streams} == {key: 2, f"{key}:small": 1}
    assert (worker.state, worker.engine, worker.model, worker.slots) == ("ready", "echo", "small", 3)
    assert worker.in_flight == 1
    assert queue.counters["admitted"] == 3


async def test_once_a_job_has_ended_the_wait_of_the_next_is_known(wire: RedisWire) -> None:
    async with wire.attach(CARD) as inbox:
        async with wire.send(job()):
            await serve(inbox)
        async with wire.send(job()), wire.send(job()):
            queue, worker = await figures(wire, lambda one: one.mean_s > 0)
            assert worker.first_token_s > 0
            (wait_s,) = [stream.wait_s for stream in queue.streams if stream.depth]
            # As it is judged at admission: jobs before this one, by jobs a second.
            assert wait_s == pytest.approx(2 * worker.mean_s / CARD.slots)
    assert queue.counters["finished"] == 1


async def test_a_worker_drains_falls_silent_with_its_jobs_and_is_gone_when_it_has_left(
    wire: RedisWire, redis: Any, key: str
) -> None:
    async with wire.attach(CARD) as inbox:
        await inbox.take(1)
        inbox.drain()
        await figures(wire, lambda one: one.state == "draining")
    assert (await wire.office().figures()).workers == ()
    async with wire.send(job()):
        # One that was killed: nobody beats any more for what it has.
        await redis.zadd(f"{key}:workers", {"killed": 1})
        await redis.xreadgroup(GROUP, "killed", {key: ">"}, 1)
        queue, worker = await figures(wire, lambda one: one.state == "silent")
    assert (worker.name, worker.in_flight, queue.in_flight) == ("killed", 1, 1)
    assert worker.seen_s > 1_000_000


async def test_an_old_worker_is_listed_while_it_asks_and_jobs_of_nobody_wait(
    wire: RedisWire, redis: Any, key: str
) -> None:
    async with wire.send(job()), wire.send(job()):
        await redis.xgroup_create(key, GROUP, id="0")
        for consumer in ("before", "-handed-back"):
            await redis.xreadgroup(GROUP, consumer, {key: ">"}, 1)
        queue, worker = await figures(wire)
    assert (worker.name, worker.state, worker.in_flight) == ("before", "old", 1)
    assert (queue.waiting, queue.in_flight) == (1, 1)


async def test_of_what_a_worker_says_nothing_is_believed_but_its_type(wire: RedisWire, redis: Any, key: str) -> None:
    seconds, _ = await redis.time()
    await redis.zadd(f"{key}:workers", {b"\xff": seconds * 1000 + 60_000})
    told = {"slots": "many", "mean_s": "nan", "tokens_per_s": "-1", "first_token_s": "inf", "state": "\x1b[2J"}
    await redis.hset(f"{key}:worker:".encode() + b"\xff", mapping={**told, "model": "no-stream"})
    await redis.set(f"{key}:no-stream", "a word")
    queue, worker = await figures(wire)
    assert (worker.slots, worker.mean_s, worker.tokens_per_s, worker.first_token_s) == (0, 0, 0, 0)
    assert (worker.state, worker.name) == ("ready", "\ufffd")
    assert [stream.name for stream in queue.streams] == [key]


async def test_asking_for_figures_changes_nothing(wire: RedisWire, redis: Any, key: str) -> None:
    async with wire.send(job()):
        before = {name: await redis.dump(name) for name in await redis.keys(f"{key}*")}
        await wire.office().figures()
        await wire.dead_letters().latest(10)
        assert {name: await redis.dump(name) for name in await redis.keys(f"{key}*")} == before


# --- the dead


async def test_a_job_that_no_worker_can_read_is_found_among_the_dead_and_stays_there(
    wire: RedisWire, redis: Any, key: str
) -> None:
    await redis.xadd(key, {"data": b'{"request_id": "torn'})
    async with wire.attach() as inbox:
        assert await inbox.take(1) == []
    letters, dead = wire.dead_letters(), await only(wire)
    assert "expected a job as JSON" in dead.reason
    assert await letters.data(dead) == b'{"request_id": "torn'
    with pytest.raises(NotRetried, match="cannot be read"):
        await letters.retry(dead)
    assert await only(wire) == dead
    assert (await wire.office().figures()).dead == 1


async def test_a_dead_job_that_is_sent_again_is_answered_as_if_it_were_new(
    wire: RedisWire, redis: Any, key: str
) -> None:
    one = job()
    await give_up(redis, key, one)
    # What is left of its former life.
    await redis.hset(f"{key}:job:{one.request_id}", mapping={"done": 1, "epoch": 7, "failures": 3, "state": "dead"})
    await redis.xadd(f"{key}:rlog:{one.request_id}", {"d": "{}"}, id="7-1")
    await redis.set(f"{key}:cancel:{one.request_id}", 1)
    letters = wire.dead_letters()
    await letters.retry(await letters.find(one.request_id))
    assert await letters.latest(10) == ()
    assert await redis.hget(f"{key}:job:{one.request_id}", "failures") is None
    async with wire.attach() as inbox, wire.resume(one.request_id) as replies:
        await serve(inbox, "at last")
        with fail_after(30):
            assert [reply.chunk async for reply in replies] == ["at last", ""]
    counters = (await wire.office().figures()).counters
    assert (counters["retried"], counters["finished"]) == (1, 1)
    assert await redis.xlen(key) == 0


async def test_who_read_the_former_answer_is_not_given_the_new_one_as_its_end(
    wire: RedisWire, redis: Any, key: str
) -> None:
    one = job()
    await give_up(redis, key, one)
    await wire.dead_letters().retry(await only(wire))
    async with wire.attach() as inbox, wire.resume(one.request_id, (7, 5)) as replies:
        await serve(inbox)
        with fail_after(30):
            (final,) = [reply async for reply in replies]
    assert isinstance(final, Final) and final.error_code == "restarted"


async def test_a_dead_job_goes_to_the_stream_of_the_model_that_it_names_and_never_where_its_entry_says(
    wire: RedisWire, redis: Any, key: str
) -> None:
    data = json.dumps({"request_id": "r", "prompt": "why?", "metadata": {"model": "small"}}).encode()
    await give_up(redis, key, data, stream="somewhere:else")
    await wire.dead_letters().retry(await only(wire))
    assert await redis.xlen(f"{key}:small") == 1
    assert not await redis.exists("somewhere:else")


async def test_a_request_that_is_under_way_again_is_not_sent_twice(wire: RedisWire, redis: Any, key: str) -> None:
    one = job()
    await give_up(redis, key, one)
    async with wire.send(one):
        with pytest.raises(NotRetried, match="under way already"):
            await wire.dead_letters().retry(await only(wire))
    assert await redis.xlen(key) == 1


async def test_a_dropped_job_is_gone_and_of_two_who_act_on_one_job_only_one_does(
    wire: RedisWire, redis: Any, key: str
) -> None:
    await give_up(redis, key, job())
    letters, dead = wire.dead_letters(), await only(wire)
    await letters.drop(dead)
    assert await letters.latest(10) == ()
    for again in (letters.drop, letters.retry, letters.data):
        with pytest.raises(Unknown, match="just been dropped or sent again"):
            await again(dead)
    with pytest.raises(Unknown, match="no dead job 'nobody'"):
        await letters.find("nobody")


async def test_the_latest_come_first_and_an_old_one_is_found_beyond_the_first_page(
    wire: RedisWire, redis: Any, key: str
) -> None:
    jobs = [job() for _ in range(120)]
    for one in jobs:
        await give_up(redis, key, one)
    letters = wire.dead_letters()
    latest = await letters.latest(3)
    assert [one.request_id for one in latest] == [one.request_id for one in reversed(jobs[-3:])]
    first = await letters.find(jobs[0].request_id)
    assert (first.reason, first.failures, first.consumers) == ("a worker died of it", 3, "gpu-1")
    assert await letters.find(first.id) == first
