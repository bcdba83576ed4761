"""What the trace of one answer tells beside its search and its generation. The names: observability/__init__.py.

OpenTelemetry's API alone: without an SDK all of this is nothing.
"""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager

from openinference.semconv.trace import SpanAttributes
from opentelemetry import context, propagate, trace
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from bridge.draft import Draft
from bridge.service import Answer

tracer = trace.get_tracer("tandem")


def answer_span(draft: Draft) -> trace.Span:
    attributes: dict[str, AttributeValue] = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: "CHAIN",
        SpanAttributes.INPUT_VALUE: draft.asked,
        **_named(draft),
    }
    return tracer.start_span("answer", attributes=attributes)


def cache_span(parent: trace.Span, draft: Draft, decision: str, began: int) -> None:
    """What the cache decided, from `began` (nanoseconds since the epoch) to now."""
    parent.set_attribute("cache.decision", decision)
    attributes: dict[str, AttributeValue] = {"cache.decision": decision, SpanAttributes.OUTPUT_VALUE: decision}
    _below(parent, draft, "look in the cache", "CHAIN", attributes, began)


def check_span(parent: trace.Span, draft: Draft, answer: Answer, began: int) -> str | None:
    """How each sentence and each citation of the answer was judged, from `began` to now. Its id."""
    claims = draft.claims
    attributes: dict[str, AttributeValue] = {
        SpanAttributes.INPUT_VALUE: answer.answer,
        SpanAttributes.OUTPUT_VALUE: json.dumps([{"text": one.text, "support": one.support} for one in claims]),
        SpanAttributes.OUTPUT_MIME_TYPE: "application/json",
        "tandem.claims": [one.support for one in claims],
        "tandem.cited": [one.n for one in answer.citations],
        "tandem.supports": [one.support or 0.0 for one in answer.citations],
    }
    if answer.grounded is not None:
        attributes["tandem.grounded"] = answer.grounded
    return _below(parent, draft, "check citations", "EVALUATOR", attributes, began)


def describe(span: trace.Span, draft: Draft, answer: Answer) -> None:
    """The whole answer's own span, at its end."""
    span.set_attribute(SpanAttributes.OUTPUT_VALUE, answer.answer)
    span.set_attribute("tandem.pending", draft.freshness.pending)
    if draft.freshness.as_of:
        span.set_attribute("tandem.as_of", draft.freshness.as_of)
    span.set_status(Status(StatusCode.ERROR, answer.error) if answer.error else StatusCode.OK)


def _below(
    parent: trace.Span, draft: Draft, name: str, kind: str, attributes: dict[str, AttributeValue], began: int
) -> str | None:
    if not parent.is_recording():
        return None
    told = {SpanAttributes.OPENINFERENCE_SPAN_KIND: kind, **_named(draft), **attributes}
    span = tracer.start_span(name, trace.set_span_in_context(parent), attributes=told, start_time=began)
    span.set_status(StatusCode.OK)
    span.end()
    return trace.format_span_id(span.get_span_context().span_id)


@contextmanager
def judging(trace_id: str, question: str) -> Generator[trace.Span]:
    """A trace of its own: what a judge costs is no part of the answer's, which `trace_id` names."""
    attributes = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: "EVALUATOR",
        SpanAttributes.INPUT_VALUE: question,
        "tandem.judged_trace": trace_id,
    }
    span = tracer.start_span("judge", context.Context(), attributes=attributes)
    try:
        yield span
    finally:
        span.end()


def judged(span: trace.Span, well: bool) -> None:
    """What is given up stays without a status."""
    span.set_status(StatusCode.OK if well else Status(StatusCode.ERROR, "no verdict"))


def traceparent(span: trace.Span) -> str | None:
    """W3C's, for who goes on elsewhere."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent")


def _named(draft: Draft) -> dict[str, AttributeValue]:
    named = session(draft)
    return {SpanAttributes.SESSION_ID: named} if named else {}


def session(draft: Draft) -> str | None:
    """The chat that a trace belongs to, else the connection over which was asked."""
    named = draft.session or context.get_value(SpanAttributes.SESSION_ID)
    return str(named) if named else None


now = time.time_ns
