"""What another machine tells of a job: what is taken, and that anything else is only counted."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.util.types import AttributeValue

from observability.arriving import MOST_BYTES, MOST_SPANS, arrived
from observability.collector import address
from observability.outbox import Outbox
from observability.packing import packed
from observability.redaction import TEXTS
from observability.traces import Asked, exporting
from tests.observability.collector import Collector, collecting

S = 1_000_000_000
NOTHING: Mapping[str, AttributeValue] = {}
NOW = time.time_ns() // S * S
ASKED = Asked(trace=0xA, span=0xB, since=NOW, until=NOW + 10 * S, session="talk-1")


def span(
    name: str = "generate",
    trace: int = 0xA,
    parent: int = 0xB,
    start: int = NOW + S,
    end: int = NOW + 2 * S,
    told: Mapping[str, AttributeValue] = NOTHING,
) -> ReadableSpan:
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    above = NonRecordingSpan(SpanContext(trace, parent, is_remote=True, trace_flags=TraceFlags(1)))
    attributes = {"openinference.span.kind": "LLM", **told}
    one = provider.get_tracer("t").start_span(name, set_span_in_context(above), attributes=attributes, start_time=start)
    one.add_event("first token", timestamp=start)
    one.set_status(StatusCode.OK)
    one.end(end)
    (made,) = memory.get_finished_spans()
    return made


def message(*spans: ReadableSpan) -> ExportTraceServiceRequest:
    return encode_spans(spans)


def data(*spans: ReadableSpan) -> bytes:
    return message(*spans).SerializeToString()


def changed(change: Callable[[Any], None]) -> bytes:
    told = message(span())
    change(told.resource_spans[0].scope_spans[0].spans[0])
    return told.SerializeToString()


def test_what_a_worker_tells_is_taken_whole_but_for_whose_it_says_it_is() -> None:
    told = {"llm.model_name": "llama", "llm.token_count.completion": 7, "tandem.first_token_ms": 1.5}
    (taken,), refused = arrived(data(span(told={**told, "session.id": "talk-1"})), ASKED)
    assert refused == 0
    assert taken.context and taken.parent
    assert (taken.name, taken.context.trace_id, taken.parent.span_id) == ("generate", 0xA, 0xB)
    assert taken.attributes == {"openinference.span.kind": "LLM", **told, "session.id": "talk-1"}
    assert (taken.start_time, taken.end_time) == (NOW + S, NOW + 2 * S)
    assert [(event.name, event.timestamp) for event in taken.events] == [("first token", NOW + S)]
    assert taken.status.status_code is StatusCode.OK
    assert dict(taken.resource.attributes) == {
        "openinference.project.name": "tandem",
        "service.name": "tandem-worker",
    }


HOSTILE = {
    "not OTLP": b"\xff" * 1_000,
    "ten megabytes": data(span(told={"input.value": "x" * 10_000_000})),
    "another trace": data(span(trace=0xC)),
    "below another span": data(span(parent=0xD)),
    "no parent": changed(lambda one: setattr(one, "parent_span_id", b"")),
    "the id of the asker's own span": changed(lambda one: setattr(one, "span_id", (0xB).to_bytes(8))),
    "an id too long": changed(lambda one: setattr(one, "span_id", b"x" * 5_000)),
    "no name of a worker's": data(span(name="answer")),
    "a kind that is measured": data(span(told={"openinference.span.kind": "EVALUATOR"})),
    "no kind": changed(lambda one: one.ClearField("attributes")),
    "a status of its own": changed(lambda one: setattr(one.status, "code", 77)),
}


@pytest.mark.parametrize("told", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_workers_span_of_this_job_is_refused_and_counted(told: bytes) -> None:
    assert arrived(told, ASKED) == ([], 1)


def test_a_thousand_spans_are_refused_together_and_the_same_one_is_taken_once() -> None:
    many = message(span())
    (scope,) = many.resource_spans[0].scope_spans
    scope.spans.extend([scope.spans[0]] * 999)
    for n, one in enumerate(scope.spans):
        one.ClearField("events")
        one.span_id = (n + 100).to_bytes(8)
    assert arrived(many.SerializeToString(), ASKED) == ([], 1)
    del scope.spans[MOST_SPANS + 1 :]
    assert arrived(many.SerializeToString(), ASKED) == ([], MOST_SPANS + 1)
    del scope.spans[MOST_SPANS]
    assert len(arrived(many.SerializeToString(), ASKED)[0]) == MOST_SPANS
    twice = data(span())
    spans, refused = arrived(twice + twice, ASKED)
    assert (len(spans), refused) == (1, 1)


def test_of_a_span_only_what_is_known_is_taken_and_no_number_that_breaks_a_sum() -> None:
    told = {
        "tandem.grounded": True,
        "retrieval.documents": "[",
        "of.tomorrow": "x",
        "llm.token_count.prompt": 2**62,
        "tandem.queue_wait_ms": float("nan"),
        "tandem.first_token_ms": 1e308,
        "llm.model_name": "lla\0ma",
        "session.id": "another's",
    }
    (taken,), _ = arrived(data(span(told=told)), ASKED)
    assert taken.attributes == {"openinference.span.kind": "LLM", "llm.model_name": "llama"}


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        ((1, 2), (1, 2)),
        ((-3_600, -3_599), (0, 1)),
        ((3_601, 3_603), (8, 10)),
        ((-5, 20), (0, 10)),
        ((20, -5), (10, 10)),
        ((-NOW // S, 2**34 - NOW // S), (0, 10)),
    ],
)
def test_times_of_another_clock_are_moved_to_where_the_job_was(told: tuple[int, int], taken: tuple[int, int]) -> None:
    def say(one: Any) -> None:
        one.start_time_unix_nano, one.end_time_unix_nano = (NOW + second * S for second in told)
        one.events[0].time_unix_nano = one.end_time_unix_nano

    (one,), refused = arrived(changed(say), ASKED)
    assert (one.start_time, one.end_time, refused) == (NOW + taken[0] * S, NOW + taken[1] * S, 0)
    assert NOW <= one.events[0].timestamp <= NOW + 10 * S


def test_each_workers_clock_is_told_apart_and_its_spans_keep_their_distance() -> None:
    waited = span("wait in queue", start=NOW - 100 * S, end=NOW - 98 * S)
    first, second = span(start=NOW - 98 * S, end=NOW - 97 * S), span(start=NOW + 900 * S, end=NOW + 901 * S)
    spans, _ = arrived(data(waited, first) + data(second), ASKED)
    assert [(one.start_time or 0) - NOW for one in spans] == [0, 2 * S, 9 * S]


@contextmanager
def taking(**options: Any) -> Generator[tuple[Collector, Outbox]]:
    with collecting() as collector, exporting(service="test", every_s=0.02, **options) as (_, outbox):
        outbox.send_to(address(collector.url))
        yield collector, outbox


def test_what_arrived_is_sent_like_what_was_seen_here_and_no_measure_is_made_of_it() -> None:
    with taking() as (collector, outbox):
        for told in HOSTILE.values():
            outbox.arrived(told, ASKED)
        outbox.arrived(data(span()), ASKED)
        request = collector.request()
        assert [one.name for one in request.spans] == ["generate"]
        assert request.resource["service.name"] == "tandem-worker"
        outbox.close()
        assert collector.requests.empty() and collector.annotations.empty()
    assert (outbox.refused, outbox.dropped, outbox.problem) == (len(HOSTILE), 0, None)


def test_what_arrives_after_leaving_or_while_nobody_opens_it_is_counted_as_lost() -> None:
    outbox = Outbox()
    for _ in range(130):
        outbox.arrived(data(span()), ASKED)
    assert outbox.dropped == 2
    outbox.close(0.1)
    outbox.arrived(data(span()), ASKED)
    assert outbox.dropped == 131


@pytest.mark.parametrize("hide", [TEXTS, ("questions", "answers")])
def test_what_is_hidden_here_leaves_in_no_byte_that_a_worker_told(hide: tuple[str, ...]) -> None:
    canary = "canary-of-the-worker"

    def say(one: Any) -> None:
        one.events[0].name = "exception"
        for key in ("exception.message", "exception.stacktrace", canary, f"llm.{canary}", "input.value"):
            one.events[0].attributes.add(key=key).value.string_value = canary
            one.attributes.add(key=key).value.string_value = canary
        one.attributes.add(key="llm.output_messages.0.message.content").value.string_value = canary
        one.events.add(name=canary)
        one.links.add(trace_id=b"x" * 16, span_id=b"x" * 8).attributes.add(key=canary)
        one.status.code, one.status.message, one.trace_state = 2, canary, f"{canary}=1"

    told = ExportTraceServiceRequest.FromString(changed(say))
    told.resource_spans[0].resource.attributes.add(key=canary).value.string_value = canary
    told.resource_spans[0].schema_url = told.resource_spans[0].scope_spans[0].scope.name = canary
    with taking() as (collector, outbox):
        outbox.arrived(told.SerializeToString(), ASKED)
        collector.request()
        assert canary.encode() in b"".join(collector.bodies)
    with taking(hide=hide) as (collector, outbox):
        outbox.arrived(told.SerializeToString(), ASKED)
        collector.request()
        outbox.close()
        assert canary.encode() not in b"".join(collector.bodies)


def test_spans_are_packed_into_what_there_is_room_for_with_their_longest_texts_cut() -> None:
    long = span(told={"input.value": "word " * 50_000, "llm.model_name": "llama", "llm.token_count.prompt": 9})
    told = packed([long, span("wait in queue")], (), MOST_BYTES)
    assert MOST_BYTES // 8 < len(told) <= MOST_BYTES
    spans, refused = arrived(told, ASKED)
    cut = dict(spans[0].attributes or {})
    assert (len(spans), refused, cut["llm.model_name"], cut["llm.token_count.prompt"]) == (2, 0, "llama", 9)
    assert str(cut["input.value"]).startswith("word word") and str(cut["input.value"]).endswith("…")
    assert packed([long], (), 100) == b""
    assert b"word" not in packed([long], ("questions",), MOST_BYTES)
