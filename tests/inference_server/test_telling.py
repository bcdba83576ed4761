"""However a job ends, what its spans tell lies beside it for its sender, and only where that asked for it."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import fail_after
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from inference_server.embed_spans import spanned
from inference_server.engines import EngineFailed, Generate
from inference_server.engines.echo import echo
from inference_server.telling import Keep
from inference_server.worker import work
from observability.kept import ROOM, Kept
from observability.traces import keeping
from tests.processes import until
from wire import Delta, Final, Job, Metadata, Reply, Said, Told, Wire

TRACE = "a" * 32
PARENT = f"00-{TRACE}-{'b' * 16}-01"


@pytest.fixture(scope="module")
def keep() -> Iterator[tuple[trace.Tracer, Kept]]:
    with keeping(service="tandem-worker", alone=True) as made:
        yield made


@asynccontextmanager
async def working(wire: Wire, generate: Generate, keep: Keep | None, grace_s: float = 5) -> AsyncGenerator[None]:
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(work, wire, generate, slots=2, stopped=stopped, keep=keep, grace_s=grace_s))
        yield
        stopped.set()


def job(prompt: str = "how many words?", spans: bool = True, traceparent: str | None = PARENT, **more: Any) -> Job:
    return Job(uuid.uuid4().hex, prompt, metadata=Metadata(spans=spans, traceparent=traceparent, **more))


async def told(wire: Wire, one: Job) -> Told:
    async def whole() -> Told | None:
        told = await wire.spans(one.request_id, TRACE)
        data.append(told.data)
        return told if told.whole else None

    data: list[bytes] = []
    last = await until(whole)
    return Told(b"".join(data), last.ended, last.whole)


def spans_of(told: Told) -> list[tuple[str, str, int]]:
    """(name, parent, status)."""
    message = ExportTraceServiceRequest.FromString(told.data)
    spans = [span for each in message.resource_spans for scope in each.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} <= {TRACE}
    return [(span.name, span.parent_span_id.hex(), span.status.code) for span in spans]


async def endless() -> AsyncIterator[Reply]:
    yield Delta("begun")
    await anyio.sleep_forever()


@asynccontextmanager
async def never(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
    yield endless()


async def failing() -> AsyncIterator[Reply]:
    yield Delta("begun")
    raise EngineFailed("no such model")


async def test_a_job_that_ends_well_or_in_an_error_tells_its_span(wire: Wire, keep: tuple[trace.Tracer, Kept]) -> None:
    tracer, kept = keep

    @asynccontextmanager
    async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async with echo()(job, said) as replies:
            yield failing() if job.prompt == "fail" else replies

    with fail_after(30):
        async with working(wire, spanned(generate, tracer), kept.of):
            for prompt, status in (("go", 1), ("fail", 2)):
                async with wire.send(one := job(prompt)) as replies:
                    assert isinstance([reply async for reply in replies][-1], Final)
                    assert spans_of(await told(wire, one)) == [("embed", "b" * 16, status)]


async def test_a_cancelled_job_and_one_that_is_too_late_tell_theirs(
    wire: Wire, keep: tuple[trace.Tracer, Kept]
) -> None:
    tracer, kept = keep
    with fail_after(30):
        async with working(wire, spanned(never, tracer), kept.of):
            async with wire.send(cancelled := job()) as replies:
                await anext(replies)
                await wire.cancel(cancelled.request_id)
                assert spans_of(await told(wire, cancelled)) == [("embed", "b" * 16, 0)]
            async with wire.send(late := job(deadline_ms=1_000)) as replies:
                assert isinstance([reply async for reply in replies][-1], Final)
                assert spans_of(await told(wire, late)) == [("embed", "b" * 16, 0)]


async def test_what_a_worker_handed_back_and_what_the_next_one_ended_are_told_together(
    wire: Wire, keep: tuple[trace.Tracer, Kept]
) -> None:
    tracer, kept = keep
    with fail_after(30):
        async with wire.send(one := job()) as replies:
            async with working(wire, spanned(never, tracer), kept.of, grace_s=0):
                await anext(replies)
            async with working(wire, spanned(echo(), tracer), kept.of):
                assert isinstance([reply async for reply in replies][-1], Final)
                names = spans_of(await told(wire, one))
    assert names == [("embed", "b" * 16, 0), ("embed", "b" * 16, 1)]


@pytest.mark.parametrize(
    "one", [job(spans=False), job(traceparent=None), job(traceparent="garbage")], ids=["old", "untraced", "garbage"]
)
async def test_nothing_is_recorded_or_told_of_a_job_whose_sender_does_not_ask(
    wire: Wire, keep: tuple[trace.Tracer, Kept], one: Job
) -> None:
    tracer, kept = keep
    recorded: list[bool] = []

    @asynccontextmanager
    async def watched(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        with tracer.start_as_current_span("embed") as span:
            recorded.append(span.is_recording())
        async with echo()(job, said) as replies:
            yield replies

    with fail_after(30):
        async with working(wire, spanned(watched, tracer), kept.of), wire.send(one) as replies:
            assert [reply async for reply in replies]
        assert recorded == [False]
        assert await wire.spans(one.request_id, TRACE) == Told(ended=True)


async def test_a_worker_with_a_collector_of_its_own_tells_that_nothing_comes(wire: Wire) -> None:
    with fail_after(30):
        async with working(wire, echo(), None), wire.send(one := job()) as replies:
            assert [reply async for reply in replies]
            assert await told(wire, one) == Told(ended=True, whole=True)


async def test_spans_that_cannot_be_packed_cost_nobody_his_answer(wire: Wire) -> None:
    @contextmanager
    def broken(trace: int) -> Generator[Callable[[int], bytes]]:
        def pack(most_bytes: int) -> bytes:
            raise ValueError("these spans are no spans")

        yield pack

    with fail_after(30):
        async with working(wire, echo(), broken):
            for _ in range(2):
                async with wire.send(one := job("still here")) as replies:
                    assert "".join([reply.chunk async for reply in replies]) == "still here"
                assert (await told(wire, one)).data == b""


def test_of_one_trace_no_more_is_kept_than_somebody_takes_and_nothing_once_nobody_does(
    keep: tuple[trace.Tracer, Kept],
) -> None:
    tracer, kept = keep
    parent = trace.set_span_in_context(
        trace.NonRecordingSpan(trace.SpanContext(0xA, 0xB, True, trace.TraceFlags(trace.TraceFlags.SAMPLED)))
    )
    with kept.of(0xA) as pack:
        for _ in range(200):
            tracer.start_span("embed", parent).end()
        assert pack(1_000_000).count(b"embed") == ROOM
        for _ in range(2):
            tracer.start_span("embed", parent).end()
        first, second = pack(65_536), pack(65_536)
    assert first.count(b"embed") == 2 and second == b""
    assert not tracer.start_span("embed", parent).is_recording()
