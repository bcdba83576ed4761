"""What a span's numbers become as annotations, and how these reach a Phoenix or any other collector."""

import json
from collections.abc import Generator
from queue import Empty

import pytest
from opentelemetry.sdk.trace import TracerProvider

from observability.annotations import Annotation
from observability.collector import address
from observability.evaluating import evaluated, judged
from observability.outbox import Outbox
from tests.observability.collector import Collector, collecting

SPAN = "00f067aa0ba902b7"


def test_passages_are_relevant_or_not_for_phoenix_counts_each_score_but_0() -> None:
    found = evaluated(SPAN, {"tandem.relevances": (0.91, 0.5, 0.49)})
    assert [(one.place, one.document, one.name, one.score, one.label) for one in found] == [
        ("document", 0, "relevance", 1.0, "relevant"),
        ("document", 1, "relevance", 1.0, "relevant"),
        ("document", 2, "relevance", 0.0, "unrelated"),
    ]


def test_an_answer_is_as_grounded_as_its_least_supported_sentence() -> None:
    numbers = {"tandem.claims": (0.9, 0.3, 0.8), "tandem.cited": (2, 1), "tandem.supports": (0.9, 0.3)}
    groundedness, *citations = evaluated(SPAN, numbers | {"tandem.grounded": False})
    assert (groundedness.name, groundedness.score, groundedness.label) == ("groundedness", 0.3, "ungrounded")
    assert groundedness.explanation == "of 3 sentences the least supported is number 2, by 0.30"
    assert [(one.name, one.identifier, one.score) for one in citations] == [
        ("citation", "2", 0.9),
        ("citation", "1", 0.3),
    ]


def test_of_an_answer_that_claims_nothing_nothing_is_said() -> None:
    assert evaluated(SPAN, {"tandem.claims": (), "tandem.cited": (), "tandem.supports": ()}) == []


@pytest.mark.parametrize(("pending", "score", "label"), [(0, 1.0, "in step"), (3, 0.0, "behind")])
def test_an_answer_is_as_fresh_as_the_index_was(pending: int, score: float, label: str) -> None:
    [freshness] = evaluated(SPAN, {"tandem.pending": pending})
    assert (freshness.name, freshness.score, freshness.label) == ("freshness", score, label)


def test_a_verdict_replaces_no_measure_of_ours_for_phoenix_keeps_one_of_a_name_and_passage() -> None:
    found = list(judged(SPAN, (True, False), "ab" * 8, (True, True, False)))
    assert [(one.of, one.place, one.document, one.name, one.score, one.label) for one in found] == [
        (SPAN, "document", 0, "relevance (judge)", 1.0, "relevant"),
        (SPAN, "document", 1, "relevance (judge)", 0.0, "unrelated"),
        ("ab" * 8, "span", 0, "groundedness (judge)", pytest.approx(2 / 3), "ungrounded"),
    ]
    assert {one.kind for one in found} == {"LLM"}
    ours = evaluated(SPAN, {"tandem.relevances": (0.9,), "tandem.claims": (0.9,), "tandem.grounded": True})
    assert {one.name for one in ours}.isdisjoint(one.name for one in found)


def test_an_answer_without_statements_is_no_more_or_less_grounded() -> None:
    assert [one.name for one in judged(SPAN, (True,), SPAN, ())] == ["relevance (judge)"]


@pytest.fixture
def collector() -> Generator[Collector]:
    with collecting() as collector:
        yield collector


def sending(collector: Collector) -> tuple[TracerProvider, Outbox]:
    outbox = Outbox(every_s=0.01, hide=["passages", "answers"])
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    outbox.send_to(address(f"{collector.url}/prefix", "key"))
    return provider, outbox


def test_what_is_measured_follows_the_span_and_tells_no_text(collector: Collector) -> None:
    provider, outbox = sending(collector)
    with provider.get_tracer("test").start_as_current_span("retrieve") as span:
        span.set_attributes({"tandem.relevances": [0.9, 0.1], "retrieval.documents.0.document.content": "secret"})
    assert collector.request().path == "/prefix/v1/traces"
    rows = [collector.annotation(), collector.annotation()]
    assert [(path, row["document_position"], row["result"]["score"]) for path, row in rows] == [
        ("/prefix/v1/document_annotations", 0, 1.0),
        ("/prefix/v1/document_annotations", 1, 0.0),
    ]
    assert {row["span_id"] for _, row in rows} == {f"{span.get_span_context().span_id:016x}"}
    assert "secret" not in json.dumps(rows)
    outbox.close()
    assert outbox.problem is None


def test_what_a_person_says_goes_without_waiting_for_a_span(collector: Collector) -> None:
    _, outbox = sending(collector)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    outbox.annotate(Annotation(trace, "rating", 1.0, "up", kind="HUMAN", place="trace"))
    path, row = collector.annotation()
    assert path == "/prefix/v1/trace_annotations"
    assert (row["trace_id"], row["annotator_kind"], row["result"]["score"]) == (trace, "HUMAN", 1.0)
    outbox.close()


def test_while_spans_do_not_get_through_nothing_that_is_said_of_them_does(collector: Collector) -> None:
    provider, outbox = sending(collector)
    assert outbox.annotations_problem is None
    collector.answer = 401
    for _ in range(2):  # the first answer is known once the second span is posted
        provider.get_tracer("test").start_span("retrieve").end()
        collector.request()
    assert "refuses the key with 401" in (outbox.annotations_problem or "")
    outbox.close()


def test_a_collector_that_is_no_phoenix_is_asked_once_and_gets_its_spans(collector: Collector) -> None:
    collector.to_annotations = 404
    provider, outbox = sending(collector)
    for name in ("first", "second"):
        with provider.get_tracer("test").start_as_current_span(name) as span:
            span.set_attribute("tandem.pending", 0)
        assert collector.span_names(1) == [name]
    outbox.close()
    assert (outbox.problem, outbox.dropped) == (None, 0)
    assert f"{collector.url}/prefix/v1/traces takes traces and is no Phoenix" in (outbox.annotations_problem or "")
    collector.annotation()
    with pytest.raises(Empty):
        collector.annotations.get_nowait()


def test_annotations_wait_while_their_collector_fails(collector: Collector) -> None:
    provider, outbox = sending(collector)
    with provider.get_tracer("test").start_as_current_span("answer") as span:
        span.set_attribute("tandem.pending", 0)
    collector.request()
    collector.annotation()
    outbox.close()
    collector.answer = 503
    _, outbox = sending(collector)
    outbox.annotate(Annotation(SPAN, "rating", 1.0))
    collector.annotation()
    collector.answer = 200
    outbox.annotate(Annotation(SPAN, "other", 0.0))
    assert [collector.annotation()[1]["name"] for _ in range(2)] == ["rating", "other"]
    outbox.close()
