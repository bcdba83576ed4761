"""A worker knows of no collector: what its spans tell of a job is in the asker's trace all the same, each once.

By the real commands, through a real Redis, to a collector that only the daemon knows.
"""

import json
import signal
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from anyio import fail_after
from redis.asyncio import Redis

from tests.observability.receivers import Receiver, Span, at_collector, tree
from tests.observability.test_arriving import HOSTILE
from tests.processes import Daemon, Place, place, until
from tests.test_one_trace import ANSWERED, NOTES, ask, sending_to, write_notes
from wire import Delta, Final
from wire.embedding import queue
from wire.redis import RedisWire

pytestmark = pytest.mark.slow

LEASE_S = 3

QUESTION = " ".join(f"word{n}" for n in range(60))
OURS = {one for one in ANSWERED if one[0] not in ("wait in queue", "generate")}


@pytest.fixture
def wired(redis_url: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": f"test-{uuid.uuid4().hex}", "TANDEM_LEASE_S": str(LEASE_S)}


@asynccontextmanager
async def asking(here: Place, wired: dict[str, str], receiver: Receiver) -> AsyncGenerator[Daemon]:
    write_notes(here)
    async with here.daemon(here.docs, settings=wired | sending_to(receiver)) as daemon:
        await daemon.in_step(len(NOTES))
        yield daemon


async def manned(daemon: Daemon) -> None:
    async def listens() -> bool:
        return (await daemon.status())["workers"] > 0

    await until(listens)


async def whole(receiver: Receiver, trace: str, count: int = 7) -> list[Span]:
    """The spans of a trace, each of which came once."""
    spans = await receiver.once_there(count, lambda span: span.trace == trace)
    assert len({span.id for span in spans}) == len(spans) == count
    return spans


async def test_when_a_worker_is_killed_in_mid_answer_the_next_ones_spans_are_in_the_trace(
    wired: dict[str, str],
) -> None:
    words = ("worker", "--engine", "echo", "--tokens-per-second")
    with at_collector() as receiver, place() as here:
        async with asking(here, wired, receiver) as daemon:
            async with here.program(*words, "5", settings=wired) as first:
                await manned(daemon)
                begun = daemon.http.stream("POST", "/build-context", json={"text": QUESTION})
                async with begun as response:
                    pieces = response.aiter_bytes()
                    await anext(pieces)
                    first.process.send_signal(signal.SIGKILL)
                    await first.process.wait()
                    async with here.program(*words, "100", settings=wired):
                        with fail_after(60):
                            said = b"".join([piece async for piece in pieces]).decode()
            final = json.loads(said.split("\n\n")[-3].partition("data: ")[2])
            assert final["answer"] == QUESTION
            spans = await whole(receiver, final["trace_id"])
    assert tree(spans) == ANSWERED
    (generated,) = [span for span in spans if span.name == "generate"]
    assert generated.service == "tandem-worker"
    assert 0 < len(generated.attributes["output.value"]) < len(QUESTION), "it began where the first one ended"
    assert QUESTION.endswith(generated.attributes["output.value"])
    (waited,) = [span for span in spans if span.name == "wait in queue"]
    assert waited.attributes["tandem.queue_wait_ms"] >= 1_000 * LEASE_S, "the first worker's lease was a part of it"


@asynccontextmanager
async def lying(wired: dict[str, str], lie: Callable[[str, str], Awaitable[None]]) -> AsyncGenerator[None]:
    """A worker that answers well, and tells of each job what `lie` writes: (request id, trace)."""

    async def serve() -> None:
        while True:
            for delivery in await inbox.take(1):
                async with inbox.hold(delivery) as hold:
                    await hold.emit(Delta("twelve hours"))
                    await hold.finish(Final(engine="liar"))
                _, trace, _, _ = (delivery.job.metadata.traceparent or "---").split("-")
                await lie(delivery.job.request_id, trace)
                await inbox.tell(delivery.job.request_id, trace, b"")

    async with (
        RedisWire(wired["REDIS_URL"], wired["REDIS_STREAM_KEY"], patience_s=0.05) as wire,
        wire.attach() as inbox,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(serve)
        yield
        tasks.cancel_scope.cancel()


async def test_whatever_a_hostile_worker_tells_the_trace_is_the_daemons_own_and_the_lies_are_counted(
    wired: dict[str, str],
) -> None:
    lies = iter(HOSTILE.values())

    async def lie(request_id: str, trace: str) -> None:
        async with Redis.from_url(wired["REDIS_URL"]) as redis:
            await redis.hset(f"{wired['REDIS_STREAM_KEY']}:job:{request_id}", f"spans:{trace}", next(lies))

    with at_collector() as receiver, place() as here:
        # A worker that beats each second, as here, is alive to a daemon with a usual lease.
        usual = wired | {"TANDEM_LEASE_S": "15", "TANDEM_NO_WORKER": "refuse"}
        async with asking(here, usual, receiver) as daemon, lying(wired, lie):
            await manned(daemon)
            traces = [(await ask(daemon, f"How long is {n}?"))["trace_id"] for n in range(len(HOSTILE))]
            count = f"tandem_traces_refused_total {len(HOSTILE)}"

            async def counted() -> bool:
                return count in (await daemon.http.get("/metrics")).text

            await until(counted)
            assert (await daemon.status())["warnings"] == []
            for trace in traces:
                assert tree(await whole(receiver, trace, len(OURS))) == OURS
        strangers = [span for span in receiver.spans() if span.trace not in traces and span.name == "generate"]
        assert strangers == [] and "Traceback" not in daemon.program.err


async def test_a_command_without_a_daemon_waits_a_moment_for_them(wired: dict[str, str]) -> None:
    with at_collector() as receiver, place() as here:
        write_notes(here)
        async with here.program("worker", "--engine", "echo", settings=wired) as worker:
            await worker.says("takes jobs from")
            asked = await here.tandem("ask", "--json", "How long does it cool?", settings=wired | sending_to(receiver))
        assert asked.status == 0 and asked.lines[-1]["engine"].startswith("echo"), asked.err
        assert tree(await whole(receiver, asked.lines[-1]["trace_id"])) == ANSWERED


async def test_those_of_an_answer_that_the_next_daemon_read_to_its_end_come_to_that_one(wired: dict[str, str]) -> None:
    with at_collector() as receiver, place() as here:
        async with here.program("worker", "--engine", "echo", "--tokens-per-second", "15", settings=wired):
            async with asking(here, wired, receiver) as daemon:
                await manned(daemon)
                asked = {"text": QUESTION, "session": "about kilns"}
                async with daemon.http.stream("POST", "/build-context", json=asked) as response:
                    await anext(response.aiter_bytes())
                    request = response.headers["tandem-answer"]
                    daemon.program.process.kill()
                    await daemon.program.process.wait()
            async with asking(here, wired, receiver) as daemon:
                answer = await daemon.http.get(f"/answers/{request}")
                final = json.loads(answer.text.split("\n\n")[-3].partition("data: ")[2])
                of_worker = {"wait in queue", "generate"}
                spans = await receiver.once_there(
                    2, lambda span: span.trace == final["trace_id"] and span.name in of_worker
                )
    assert final["answer"] == QUESTION
    assert {span.name for span in spans} == of_worker and len(spans) == 2
    assert {span.attributes.get("session.id") for span in spans} == {"about kilns"}


async def test_batches_that_workers_embed_stand_below_the_run_that_sent_them(wired: dict[str, str]) -> None:
    with at_collector() as receiver, place() as here:
        write_notes(here)
        remote = wired | {"TANDEM_EMBED": "remote"}
        async with here.program("worker", "--engine", "onnx", "--task", "embed", settings=remote):
            async with RedisWire(remote["REDIS_URL"], queue(remote["REDIS_STREAM_KEY"])) as wire:
                await until(wire.workers)
            indexed = await here.tandem("index", "--json", here.docs, settings=remote | sending_to(receiver))
        assert indexed.json["added"] == len(NOTES), indexed.err

        async def all_told() -> list[Span] | None:
            spans = [span for span in await anyio.to_thread.run_sync(receiver.spans) if span.trace == trace]
            texts = [span.attributes["tandem.texts"] for span in spans if span.name == "embed"]
            return spans if sum(texts) == len(NOTES) else None

        (index,) = await receiver.once_there(1, lambda span: span.name == "index")
        trace = index.trace
        spans = await until(all_told)
    assert tree([span for span in spans if span.name != "index file"]) == {
        ("index", "CHAIN", None),
        ("embed chunks", "EMBEDDING", "index"),
        ("embed", "EMBEDDING", "embed chunks"),
    }
    assert {span.service for span in spans if span.name == "embed"} == {"tandem-worker"}
