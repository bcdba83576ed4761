"""What only the Redis adapter can meet: old peers, foreign bytes, entries and names in the server."""

import json
import logging
import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio import fail_after

from tests.wire.answered import answer, serve
from wire import Delta, Final, Job, Metadata, QueueDown, WorkerCard
from wire.redis import GROUP, RedisWire
from wire.steps import SPANS_MOST


@pytest.fixture
async def wire(redis_url: str, key: str) -> AsyncIterator[RedisWire]:
    async with RedisWire(redis_url, key, patience_s=0.05) as wire:
        yield wire


async def test_an_error_of_the_users_body_leaves_as_it_is(redis_url: str, key: str) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with RedisWire(redis_url, key) as wire, wire.attach():
            raise TimeoutError("mine")


async def test_after_the_final_nothing_is_pending_and_the_stream_is_empty(
    wire: RedisWire, redis: Any, key: str
) -> None:
    with fail_after(30):
        async with wire.attach() as inbox:
            assert await answer(wire, inbox) == "ok"
            assert (await redis.xpending(key, GROUP))["pending"] == 0
            assert await redis.xlen(key) == 0


async def test_a_job_is_acknowledged_after_its_final_and_not_before(wire: RedisWire, redis: Any, key: str) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(Job("late-ack", "why?")) as replies:
            (delivery,) = await inbox.take(1)
            async with inbox.hold(delivery) as hold:
                await hold.emit(Delta("a"))
                await anext(replies)
                assert (await redis.xpending(key, GROUP))["pending"] == 1
                await hold.finish(Final())
            assert (await redis.xpending(key, GROUP))["pending"] == 0


async def test_a_worker_that_leaves_takes_its_name_out_of_the_group_unless_it_holds_a_job(
    wire: RedisWire, redis: Any, key: str
) -> None:
    with fail_after(30):
        async with wire.attach() as idle:
            await idle.take(1)
        assert await redis.xinfo_consumers(key, GROUP) == []
        async with wire.send(Job("held", "why?")), wire.attach() as holder:
            assert len(await holder.take(1)) == 1
        assert [consumer["pending"] for consumer in await redis.xinfo_consumers(key, GROUP)] == [1]


async def test_an_old_worker_reads_our_job_and_we_read_its_replies(wire: RedisWire, redis: Any, key: str) -> None:
    with fail_after(30):
        async with wire.send(Job("seed", "why?")) as replies:
            await redis.xgroup_create(key, GROUP, id="0")
            [[_, [(entry, fields)]]] = await redis.xreadgroup(GROUP, "old", {key: ">"}, 1, 1000)
            job = json.loads(fields[b"data"])
            assert job["prompt"] == "why?"
            assert set(job) == {"request_id", "prompt", "context", "embedding", "metadata"}
            for message in ({"chunk": "a", "is_final": False}, {"chunk": "b", "is_final": True}):
                await redis.publish("result:seed", json.dumps(message))
            await redis.xack(key, GROUP, entry)
            assert [reply async for reply in replies] == [Delta("a"), Delta("b"), Final()]
        assert await wire.workers() == 1


async def test_an_old_bridge_is_answered_in_its_own_format(wire: RedisWire, redis: Any, key: str) -> None:
    old_job = {
        "request_id": "old",
        "prompt": "why?",
        "context": [{"id": 3, "text": "t"}],
        "embedding": [0.1],
        "metadata": {},
    }
    with fail_after(30):
        async with redis.pubsub(ignore_subscribe_messages=True) as heard, wire.attach() as inbox:
            await heard.subscribe("result:old")
            await redis.xadd(key, {"data": json.dumps(old_job)})
            (delivery,) = await inbox.take(1)
            assert delivery.job.context[0].text == "t"
            async with inbox.hold(delivery) as hold:
                await hold.emit(Delta("a"))
                await hold.finish(Final())
            messages = []
            while len(messages) < 2:
                if message := await heard.get_message(timeout=1):
                    messages.append(json.loads(message["data"]))
    assert [(m["chunk"], m["is_final"], "error" in m) for m in messages] == [("a", False, False), ("", True, False)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"data": b'{"request_id": "ID", "prompt": 3}'}, True),
        ({"data": b'{"request_id": "ID", "prompt": "x", "embedding": [NaN]}'}, True),
        ({"data": b'{"request_id": "ID", "prompt": "\\ud800"}'}, True),
        ({"data": b'{"request_id": "\\ud800", "prompt": "x"}'}, False),
        ({"data": b'{"request_id": "", "prompt": "x"}'}, False),
        ({"data": b'{"prompt": "x"}'}, False),
        ({"data": b"not json"}, False),
        ({"data": b"\x00\xff"}, False),
        ({"data": b"[" * 100_000}, False),
        ({"other": b"x"}, False),
    ],
)
async def test_an_entry_that_is_no_job_is_answered_where_it_can_be_logged_and_gone(
    wire: RedisWire, redis: Any, key: str, fields: dict[str, bytes], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {k: v.replace(b"ID", f"bad-{key}".encode()) for k, v in fields.items()}
    with fail_after(30):
        async with redis.pubsub(ignore_subscribe_messages=True) as heard, wire.attach() as inbox:
            await heard.subscribe(f"result:bad-{key}")
            await redis.xadd(key, fields)
            assert await inbox.take(1) == []
            assert (await redis.xpending(key, GROUP))["pending"] == 0
            assert await redis.xlen(key) == 0
            await redis.publish(f"result:bad-{key}", '{"error_code": "the end"}')
            while not (message := await heard.get_message(timeout=1)):
                pass
            assert (json.loads(message["data"])["error_code"] == "invalid_job") is told
            assert await answer(wire, inbox) == "ok"
    assert [record.levelno for record in caplog.records if record.name == "wire.serving"] == [logging.WARNING]
    ((_, dead),) = await redis.xrange(f"{key}:inference_dead")
    assert dead[b"data"] == fields.get("data", b"") and b"expected" in dead[b"reason"]


async def test_of_the_dead_the_last_ten_thousand_are_kept(wire: RedisWire, redis: Any, key: str) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for n in range(10_500):
            pipeline.xadd(f"{key}:inference_dead", {"data": "x", "request_id": f"old-{n}"})
        await pipeline.execute()
    await redis.xadd(key, {"data": b"not json"})
    with fail_after(30):
        async with wire.attach() as inbox:
            assert await inbox.take(1) == []
    dead = await redis.xrange(f"{key}:inference_dead")
    assert 10_000 <= len(dead) < 10_200
    assert dead[-1][1][b"data"] == b"not json" and dead[0][1][b"request_id"] != b"old-0"


async def test_a_worker_whose_slots_are_busy_still_counts_and_keeps_its_job(
    redis_url: str, redis: Any, key: str
) -> None:
    async with RedisWire(redis_url, key, lease_s=1) as wire, wire.attach() as inbox, wire.attach() as other:
        with fail_after(30):
            async with wire.send(Job(f"busy-{key}", "why?")):
                (delivery,) = await inbox.take(1)
                async with inbox.hold(delivery) as hold:
                    until = anyio.current_time() + 2.5
                    while anyio.current_time() < until:
                        assert await other.take(1) == []
                    assert await wire.workers() == 2
                    await hold.finish(Final())
                assert hold.ended == "finished"


async def test_a_worker_that_gives_no_sign_of_life_for_two_leases_is_not_counted(
    redis_url: str, redis: Any, key: str
) -> None:
    await redis.xgroup_create(key, GROUP, id="0", mkstream=True)
    await redis.xgroup_createconsumer(key, GROUP, "dead")
    async with RedisWire(redis_url, key, lease_s=0.05) as wire:
        with fail_after(30):
            while await wire.workers():
                pass


async def test_a_piece_that_went_missing_ends_the_answer_instead_of_splicing_it(wire: RedisWire, redis: Any) -> None:
    with fail_after(30):
        async with wire.send(Job("gap", "why?")) as replies:
            for seq in (1, 1, 3):
                await redis.publish("result:gap", json.dumps({"chunk": "x", "is_final": False, "seq": seq}))
            assert await anext(replies) == Delta("x", 1)
            final = await anext(replies)
            assert isinstance(final, Final) and final.error_code == "restarted"


async def test_a_reply_that_cannot_be_read_ends_the_answer_in_words(wire: RedisWire, redis: Any) -> None:
    with fail_after(30):
        async with wire.send(Job("garbled", "why?")) as replies:
            await redis.publish("result:garbled", "{")
            (final,) = [reply async for reply in replies]
            assert isinstance(final, Final) and final.error and final.error_code == "engine"


async def test_readers_that_give_up_at_any_moment_cost_no_connection_and_disturb_nobody(
    wire: RedisWire, redis: Any
) -> None:
    async def give_up_after(steps: int) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel_after, steps, scope)
                async with wire.send(Job(uuid.uuid4().hex, "why?")) as replies:
                    await anext(replies)

    async def cancel_after(steps: int, scope: anyio.CancelScope) -> None:
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    with fail_after(30):
        async with wire.send(Job("steady", "why?")) as steady:
            for n in range(50):
                await give_up_after(n)
            async with anyio.create_task_group() as tasks:
                for n in range(150):
                    tasks.start_soon(give_up_after, n)
            await redis.publish("result:steady", '{"chunk": "still here"}')
            assert await anext(steady) == Delta("still here")
        async with wire.attach(WorkerCard(slots=200)) as inbox:
            while await inbox.take(200):
                pass
            assert await answer(wire, inbox) == "ok"
        channels = await redis.pubsub_channels("result:*")
        while channels:
            channels = await redis.pubsub_channels("result:*")


async def test_all_answers_of_a_process_are_heard_over_one_connection(wire: RedisWire, redis: Any) -> None:
    async def read(n: int, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with wire.send(Job(f"crowd-{n}", "why?")) as replies:
            task_status.started()
            assert [reply.chunk async for reply in replies] == [str(n), ""]

    with fail_after(30):
        async with anyio.create_task_group() as tasks:
            for n in range(100):
                await tasks.start(read, n)
            assert len(await redis.client_list(_type="pubsub")) == 1
            for n in range(100):
                await redis.publish(f"result:crowd-{n}", json.dumps({"chunk": str(n), "is_final": False}))
                await redis.publish(f"result:crowd-{n}", json.dumps({"chunk": "", "is_final": True}))


async def test_a_job_that_names_a_model_goes_to_its_workers_and_is_refused_where_there_are_none(
    wire: RedisWire,
) -> None:
    job = Job(uuid.uuid4().hex, "why?", metadata=Metadata(model="big"))
    with fail_after(30):
        async with wire.attach(WorkerCard("echo", "small")) as small:
            assert await small.take(1) == []
            with pytest.raises(QueueDown, match=r"no worker has the model 'big'.*small"):
                async with wire.send(job):
                    pass
            async with wire.attach(WorkerCard("echo", "big")) as big:
                assert await big.take(1) == []
                async with wire.send(job) as replies:
                    assert await small.take(1) == []
                    await serve(big)
                    assert "".join([reply.chunk async for reply in replies]) == "ok"


async def test_the_same_job_under_two_entries_is_answered_once(wire: RedisWire, redis: Any, key: str) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(Job("twice", "why?")) as replies:
            ((_, fields),) = await redis.xrange(key)
            await redis.xadd(key, fields)
            one, other = await inbox.take(2)

            async def hold_first(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                async with inbox.hold(one) as first:
                    await first.emit(Delta("half, "))
                    task_status.started()
                    await anyio.sleep_forever()
                assert first.ended == "lost"

            async with anyio.create_task_group() as tasks:
                await tasks.start(hold_first)
                begun = await anext(replies)
                async with inbox.hold(other) as second:
                    assert second.said.text == "half, "
                    await second.emit(Delta("whole"))
                    await second.finish(Final())
            assert begun.chunk + "".join([reply.chunk async for reply in replies]) == "half, whole"


async def test_what_a_worker_tells_twice_is_kept_once_and_of_ten_megabytes_one_byte_too_many_is_read(
    redis_url: str, key: str, redis: Any
) -> None:
    trace = "a" * 32
    async with RedisWire(redis_url, key) as wire, wire.send(job := Job(uuid.uuid4().hex, "why?")):
        for _ in range(2):  # the answer to the first call was lost
            await wire.steps.tell(job.request_id, trace, b"spans")
        assert (await wire.spans(job.request_id, trace)).data == b"spans"
        await redis.hset(f"{key}:job:{job.request_id}", f"spans:{trace}", b"x" * 10_000_000)
        assert len((await wire.spans(job.request_id, trace)).data) == SPANS_MOST + 1
        assert (await wire.spans(job.request_id, trace)).data == b""
