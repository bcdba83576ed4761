"""How a wire behaves, whichever adapter carries it."""

import uuid
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio import fail_after

from wire import Delivery, Delta, Final, Inbox, Job, Malformed, Metadata, Passage, Reply, Turn, Wire


def new_job(prompt: str = "why?") -> Job:
    return Job(uuid.uuid4().hex, prompt)


async def take_one(inbox: Inbox) -> Delivery:
    while True:
        for delivery in await inbox.take(1):
            return delivery


async def serve(inbox: Inbox, chunks: list[str]) -> None:
    async with inbox.hold(await take_one(inbox)) as hold:
        for chunk in chunks:
            await hold.emit(Delta(chunk))
        await hold.finish(Final(engine="test"))


async def read(replies: AsyncIterator[Reply]) -> list[Reply]:
    return [reply async for reply in replies]


async def test_an_answer_arrives_in_order_and_ends_with_its_final(wire: Wire) -> None:
    chunks = [f"{n} " for n in range(500)]
    with fail_after(5):
        async with wire.attach() as inbox, anyio.create_task_group() as tasks, wire.send(new_job()) as replies:
            tasks.start_soon(serve, inbox, chunks)
            *deltas, final = await read(replies)
    assert [delta.chunk for delta in deltas] == chunks
    assert final == Final(seq=501, engine="test")


async def test_a_job_sent_before_any_worker_is_served_when_one_comes(wire: Wire) -> None:
    with fail_after(5):
        async with wire.send(new_job()) as replies, wire.attach() as inbox:
            await serve(inbox, ["first"])
            assert [reply.chunk for reply in await read(replies)] == ["first", ""]


async def test_no_first_token_is_lost_however_fast_the_worker_is(wire: Wire) -> None:
    async def serve_many(inbox: Inbox) -> None:
        for _ in range(40):
            await serve(inbox, ["first"])

    with fail_after(5):
        async with wire.attach() as inbox, anyio.create_task_group() as tasks:
            tasks.start_soon(serve_many, inbox)
            for _ in range(40):
                async with wire.send(new_job()) as replies:
                    assert [reply.chunk for reply in await read(replies)] == ["first", ""]


async def test_fifty_answers_at_once_do_not_mix(wire: Wire) -> None:
    async def serve_in_turns(inbox: Inbox) -> None:
        deliveries: list[Delivery] = []
        while len(deliveries) < 50:
            deliveries += await inbox.take(50 - len(deliveries))
        for seq in range(1, 11):
            for delivery in deliveries:
                await inbox.emit(delivery, Delta(delivery.job.prompt, seq))
        for delivery in deliveries:
            await inbox.finish(delivery, Final(seq=11))

    async def ask(prompt: str) -> None:
        async with wire.send(new_job(prompt)) as replies:
            text = "".join(reply.chunk for reply in await read(replies))
            answers[prompt] = text

    answers: dict[str, str] = {}
    with fail_after(5):
        async with wire.attach() as inbox, anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(ask, f"<{n}>")
            await serve_in_turns(inbox)
    assert answers == {f"<{n}>": f"<{n}>" * 10 for n in range(50)}


@pytest.mark.parametrize(
    "text",
    ["日本語 🦀 \u2028 \x00 e\u0301 \u202e", "x" * 2_000_000, '"\\\r\n\t</script>', ""],
    ids=["unicode", "2 MB", "quotes", "empty"],
)
async def test_any_text_comes_through_unchanged_both_ways(wire: Wire, text: str) -> None:
    job = Job(
        uuid.uuid4().hex,
        prompt=text,
        context=(Passage(id="7", text=text, path="/a/é.md", score=0.5, heading="A > B", start_line=3, end_line=9),),
        embedding=(0.25, -1.0),
        metadata=Metadata(turns=(Turn("user", text), Turn("assistant", "so")), max_tokens=5, traceparent="00-1-2-01"),
    )
    with fail_after(5):
        async with wire.attach() as inbox, wire.send(job) as replies:
            delivery = await take_one(inbox)
            assert delivery.job == job
            await inbox.emit(delivery, Delta(text, 1))
            await inbox.finish(delivery, Final(seq=2))
            assert await read(replies) == [Delta(text, 1), Final(seq=2)]


async def test_a_job_that_cannot_be_written_is_refused_before_it_is_queued(wire: Wire) -> None:
    for job in (
        Job("a", "half a pair \ud800"),
        Job("a", "nan", embedding=(float("nan"),)),
        Job("a", "inf", context=(Passage(score=float("inf")),)),
        Job("", "no id"),
    ):
        with pytest.raises(Malformed):
            async with wire.send(job):
                pass
    async with wire.attach() as inbox:
        assert await inbox.take(9) == []


async def test_a_reader_that_leaves_early_disturbs_nobody(wire: Wire) -> None:
    with fail_after(5):
        async with wire.attach() as inbox:
            async with wire.send(new_job()) as replies:
                left = await take_one(inbox)
                await inbox.emit(left, Delta("a", 1))
                assert await anext(replies) == Delta("a", 1)
            async with wire.send(new_job()) as replies:
                await inbox.emit(left, Delta("b", 2))
                await inbox.finish(left, Final(seq=3))
                await serve(inbox, ["c"])
                assert [reply.chunk for reply in await read(replies)] == ["c", ""]


async def test_an_error_of_the_engine_reaches_the_reader_in_words(wire: Wire) -> None:
    final = Final(error="no such model", error_code="engine", seq=1)
    with fail_after(5):
        async with wire.attach() as inbox, wire.send(new_job()) as replies:
            await inbox.finish(await take_one(inbox), final)
            assert await read(replies) == [final]


async def test_an_error_of_the_readers_body_leaves_as_it_is(wire: Wire) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with wire.send(new_job()):
            raise TimeoutError("mine")


async def test_a_worker_takes_no_more_jobs_than_it_has_slots(wire: Wire) -> None:
    with fail_after(5):
        async with wire.attach() as inbox, wire.send(new_job()), wire.send(new_job()), wire.send(new_job()):
            assert len(await inbox.take(2)) == 2
            assert len(await inbox.take(2)) == 1
            assert await inbox.take(2) == []


async def test_two_workers_never_get_the_same_job(wire: Wire) -> None:
    with fail_after(5):
        async with wire.attach() as one, wire.attach() as other, wire.send(new_job()), wire.send(new_job()):
            taken = await take_one(one), await take_one(other)
    assert taken[0].job.request_id != taken[1].job.request_id


async def test_workers_are_counted_while_they_are_attached(wire: Wire) -> None:
    assert await wire.workers() == 0
    async with wire.attach() as one:
        await one.take(1)
        async with wire.attach() as other:
            await other.take(1)
            assert await wire.workers() == 2
        assert await wire.workers() == 1
    assert await wire.workers() == 0


async def test_a_second_reader_of_the_same_request_is_refused(wire: Wire) -> None:
    job = new_job()
    async with wire.send(job):
        with pytest.raises(ValueError, match=job.request_id):
            async with wire.send(job):
                pass
