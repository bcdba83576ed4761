"""How a wire behaves, whichever adapter carries it."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import anyio
import msgspec
import pytest
from anyio import fail_after
from msgspec.structs import replace

from wire import (
    Busy,
    Delivery,
    Delta,
    Final,
    Inbox,
    Job,
    Malformed,
    Metadata,
    Passage,
    Reply,
    Said,
    Told,
    Turn,
    Unknown,
    Wire,
    WorkerCard,
)
from wire.steps import SPANS_MOST

DEPTH = 60  # of the wires of these tests


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


def text_of(replies: Sequence[Reply]) -> str:
    """Whole, in order, each piece once, ended by its final."""
    assert [reply.seq for reply in replies] == list(range(1, len(replies) + 1))
    assert isinstance(replies[-1], Final)
    return "".join(reply.chunk for reply in replies)


async def test_an_answer_arrives_in_order_and_ends_with_its_final(wire: Wire) -> None:
    chunks = [f"{n} " for n in range(500)]
    with fail_after(30):
        async with wire.attach() as inbox, anyio.create_task_group() as tasks, wire.send(new_job()) as replies:
            tasks.start_soon(serve, inbox, chunks)
            answer = await read(replies)
    assert text_of(answer) == "".join(chunks)
    assert answer[-1] == Final(seq=len(answer), engine="test", epoch=answer[-1].epoch)


async def test_the_depth_counts_jobs_that_wait_and_that_are_under_way_until_they_have_ended(wire: Wire) -> None:
    with fail_after(30):
        assert await wire.depth() == 0
        async with wire.attach() as inbox, wire.send(new_job()) as replies, wire.send(new_job()):
            assert await wire.depth() == 2
            async with inbox.hold(await take_one(inbox)) as hold:
                assert await wire.depth() == 2
                await hold.finish(Final())
            await read(replies)
            assert await wire.depth() == 1


async def test_words_that_come_faster_than_anybody_reads_travel_together(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, anyio.create_task_group() as tasks, wire.send(new_job()) as replies:
            tasks.start_soon(serve, inbox, ["word "] * 500)
            assert len(await read(replies)) < 100


async def test_a_job_sent_before_any_worker_is_served_when_one_comes(wire: Wire) -> None:
    with fail_after(30):
        async with wire.send(new_job()) as replies, wire.attach() as inbox:
            await serve(inbox, ["first"])
            assert text_of(await read(replies)) == "first"


async def test_no_first_token_is_lost_however_fast_the_worker_is(wire: Wire) -> None:
    async def serve_many(inbox: Inbox) -> None:
        for _ in range(40):
            await serve(inbox, ["first"])

    with fail_after(30):
        async with wire.attach() as inbox, anyio.create_task_group() as tasks:
            tasks.start_soon(serve_many, inbox)
            for _ in range(40):
                async with wire.send(new_job()) as replies:
                    assert text_of(await read(replies)) == "first"


async def test_fifty_answers_at_once_do_not_mix(wire: Wire) -> None:
    async def serve_one(inbox: Inbox, delivery: Delivery) -> None:
        async with inbox.hold(delivery) as hold:
            for _ in range(10):
                await hold.emit(Delta(delivery.job.prompt))
            await hold.finish(Final())

    async def ask(prompt: str) -> None:
        async with wire.send(new_job(prompt)) as replies:
            answers[prompt] = text_of(await read(replies))

    answers: dict[str, str] = {}
    with fail_after(30):
        async with wire.attach(WorkerCard(slots=50)) as inbox, anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(ask, f"<{n}>")
            taken = 0
            while taken < 50:
                for delivery in await inbox.take(50 - taken):
                    taken += 1
                    tasks.start_soon(serve_one, inbox, delivery)
    assert answers == {f"<{n}>": f"<{n}>" * 10 for n in range(50)}


@pytest.mark.parametrize(
    "text",
    ["日本語 🦀 \u2028 \x00 e\u0301 \u202e", "x" * 1_500_000, '"\\\r\n\t</script>', ""],
    ids=["unicode", "1.5 MB", "quotes", "empty"],
)
async def test_any_text_comes_through_unchanged_both_ways(wire: Wire, text: str) -> None:
    job = Job(
        uuid.uuid4().hex,
        prompt=text,
        context=(Passage(id="7", text=text, path="/a/é.md", score=0.5, heading="A > B", start_line=3, end_line=9),),
        embedding=(0.25, -1.0),
        metadata=Metadata(turns=(Turn("user", text), Turn("assistant", "so")), max_tokens=5, traceparent="00-1-2-01"),
    )
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job) as replies:
            delivery = await take_one(inbox)
            assert delivery.job == job
            async with inbox.hold(delivery) as hold:
                await hold.emit(Delta(text, tokens=(1, 2)))
                await hold.finish(Final())
            delta, _ = answer = await read(replies)
            assert text_of(answer) == text
            assert isinstance(delta, Delta) and delta.tokens == (1, 2)


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
    with fail_after(30):
        async with wire.attach() as inbox, AsyncExitStack() as left:
            async with wire.send(new_job()) as replies:
                hold = await left.enter_async_context(inbox.hold(await take_one(inbox)))
                await hold.emit(Delta("a"))
                assert (await anext(replies)).chunk == "a"
            async with wire.send(new_job()) as replies:
                await hold.emit(Delta("b"))
                await hold.finish(Final())
                await serve(inbox, ["c"])
                assert text_of(await read(replies)) == "c"


async def test_an_error_of_the_engine_reaches_the_reader_in_words(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(new_job()) as replies:
            async with inbox.hold(await take_one(inbox)) as hold:
                await hold.finish(Final(error="no such model", error_code="engine"))
            (final,) = await read(replies)
    assert isinstance(final, Final)
    assert (final.error, final.error_code, final.seq) == ("no such model", "engine", 1)


async def test_an_error_of_the_readers_body_leaves_as_it_is(wire: Wire) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with wire.send(new_job()):
            raise TimeoutError("mine")


async def test_a_worker_takes_no_more_jobs_than_it_has_slots(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(new_job()), wire.send(new_job()), wire.send(new_job()):
            assert len(await inbox.take(2)) == 2
            assert len(await inbox.take(2)) == 1
            assert await inbox.take(2) == []


async def test_two_workers_never_get_the_same_job(wire: Wire) -> None:
    with fail_after(30):
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


async def test_a_job_sent_twice_is_one_job_and_both_readers_get_its_answer(wire: Wire) -> None:
    job = new_job()
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job) as one, wire.send(job) as other:
            await serve(inbox, ["only", " once"])
            assert await inbox.take(1) == []
            assert text_of(await read(one)) == text_of(await read(other)) == "only once"


async def test_two_requests_with_one_key_of_one_client_are_one_job(wire: Wire) -> None:
    jobs = [msgspec.structs.replace(new_job(), metadata=Metadata(client="me", idem="k")) for _ in range(2)]
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(jobs[0]) as one, wire.send(jobs[1]) as other:
            await serve(inbox, ["only once"])
            assert await inbox.take(1) == []
            assert text_of(await read(one)) == text_of(await read(other)) == "only once"


async def test_an_answer_is_read_again_from_any_place_while_it_runs_and_after_its_end(wire: Wire) -> None:
    job = new_job()
    with fail_after(30):
        async with wire.attach() as inbox:
            async with wire.send(job) as replies, inbox.hold(await take_one(inbox)) as hold:
                await hold.emit(Delta("one "))
                first = await anext(replies)
                async with wire.resume(job.request_id, (first.epoch, first.seq)) as later:
                    await hold.emit(Delta("two "))
                    await hold.finish(Final())
                    assert "".join(reply.chunk for reply in await read(later)) == "two "
            async with wire.resume(job.request_id) as again:
                assert text_of(await read(again)) == "one two "


async def test_what_nobody_asked_cannot_be_resumed(wire: Wire) -> None:
    with pytest.raises(Unknown, match="nobody"):
        async with wire.resume("nobody"):
            pass


async def test_a_job_cancelled_in_the_queue_ends_there(wire: Wire) -> None:
    job = new_job()
    with fail_after(30):
        async with wire.send(job) as replies:
            assert await wire.cancel(job.request_id)
            (final,) = await read(replies)
        assert isinstance(final, Final) and final.error_code == "cancelled"
        async with wire.attach() as inbox:
            assert await inbox.take(1) == []
    assert not await wire.cancel(job.request_id)
    assert not await wire.cancel("nobody")


async def test_cancelling_stops_the_worker_and_tells_the_reader(wire: Wire) -> None:
    job = new_job()
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job) as replies:
            async with inbox.hold(await take_one(inbox)) as hold:
                await hold.emit(Delta("begun"))
                await anext(replies)
                await wire.cancel(job.request_id)
                await anyio.sleep_forever()
            assert hold.ended == "cancelled"
            (final,) = await read(replies)
    assert isinstance(final, Final) and final.error_code == "cancelled"


async def test_an_answer_whose_time_is_up_ends_so(wire: Wire) -> None:
    job = msgspec.structs.replace(new_job(), metadata=Metadata(deadline_ms=1_500))
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job) as replies:
            async with inbox.hold(await take_one(inbox)) as hold:
                await hold.emit(Delta("begun"))
                await anyio.sleep_forever()
            assert hold.ended == "deadline"
            begun, final = await read(replies)
    assert begun.chunk == "begun"
    assert isinstance(final, Final) and final.error_code == "deadline"


async def test_a_job_that_is_handed_back_goes_on_where_it_stopped(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as one, wire.attach() as other, wire.send(new_job()) as replies:
            async with one.hold(await take_one(one)) as hold:
                await hold.emit(Delta("one ", tokens=(7,)))
                first = await anext(replies)
            assert hold.ended is None
            async with other.hold(await take_one(other)) as hold:
                assert hold.said == Said("one ", (7,))
                await hold.emit(Delta("two"))
                await hold.finish(Final())
            assert text_of([first, *await read(replies)]) == "one two"


async def test_more_than_the_queue_takes_is_refused_with_a_time_to_come_back(wire: Wire) -> None:
    with fail_after(30):
        async with AsyncExitStack() as readers:
            for _ in range(DEPTH):
                await readers.enter_async_context(wire.send(new_job()))
            with pytest.raises(Busy, match=f"{DEPTH} jobs") as refused:
                async with wire.send(new_job()):
                    pass
    assert refused.value.retry_after_s >= 1


async def test_what_is_kept_beside_a_job_is_there_for_who_resumes_it_and_for_nobody_else(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox:
            await inbox.take(1)
            async with wire.send(Job("a", "why?"), b"the hits"), wire.send(Job("b", "why?")):
                assert await wire.record("a") == b"the hits"
                assert await wire.record("b") is None
    assert await wire.record("nobody's") is None


TRACE, OTHER = "a" * 32, "b" * 32


async def test_what_a_worker_tells_beside_an_answer_is_handed_out_once_and_to_its_trace(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job := new_job()) as replies:
            async with inbox.hold(await take_one(inbox)) as hold:
                await inbox.tell(job.request_id, TRACE, b"handed back; ")
                assert await wire.spans(job.request_id, OTHER) == Told()
                await hold.finish(Final())
            assert text_of(await read(replies)) == ""
            assert await wire.spans(job.request_id, OTHER) == Told(ended=True)
            await inbox.tell(job.request_id, TRACE, b"ended")
            assert await wire.spans(job.request_id, TRACE) == Told(b"handed back; ended", ended=True, whole=True)
            assert await wire.spans(job.request_id, TRACE) == Told(ended=True, whole=True)


async def test_a_worker_that_tells_nothing_says_so_and_of_an_unknown_job_nothing_is_kept(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job := new_job()):
            await serve(inbox, [])
            await inbox.tell(job.request_id, TRACE, b"")
            assert await wire.spans(job.request_id, TRACE) == Told(ended=True, whole=True)
            await inbox.tell("nobody's", TRACE, b"lost")
            assert await wire.spans("nobody's", TRACE) == Told()


async def test_of_one_job_no_more_is_kept_than_there_is_room_for(wire: Wire) -> None:
    with fail_after(30):
        async with wire.attach() as inbox, wire.send(job := new_job()):
            for told in (b"x" * (SPANS_MOST + 1), b"y" * SPANS_MOST, b"z"):
                await inbox.tell(job.request_id, TRACE, told)
            assert await wire.spans(job.request_id, TRACE) == Told(b"y" * SPANS_MOST)


async def test_who_holds_a_job_is_told_how_long_it_waited_whatever_the_askers_clock_says(wire: Wire) -> None:
    with fail_after(30):
        async with wire.send(replace(new_job(), metadata=Metadata(created_ms=1))), wire.attach() as inbox:
            delivery = await take_one(inbox)
            assert await inbox.take(1) == []  # which takes 0.05 s
            async with inbox.hold(delivery) as hold:
                assert 0.04 <= hold.waited_s < 3600
