"""What another machine tells of a job becomes spans that this one would send itself (pure).

A worker may say anything. What is taken is what is known of its spans, by name and in the trace of the job; all else
is refused and counted. Times are by its clock: they are moved as little as brings them between the job's beginning and
its end by ours, and cut to these.
"""

# Protobuf's messages are untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from observability.traces import PROJECT, Asked

MOST_BYTES = 65_536
MOST_SPANS = 64
_MOST_EVENTS = 16
_LARGEST = 2**40  # what counts tokens, milliseconds and characters; sums of it are numbers for any database

_NAMES = frozenset(("wait in queue", "generate", "embed"))
_KINDS = frozenset(("CHAIN", "LLM", "EMBEDDING"))
_EVENTS = frozenset(("first token", "taken over", "exception"))
_KEYS = re.compile(
    r"openinference\.span\.kind|(?:input|output)\.value|embedding\.model_name|exception\.(?:type|message|stacktrace)"
    r"|llm\.(?:model_name|finish_reason|invocation_parameters|(?:in|out)put_messages\.\d{1,3}\.message\.(?:role|content))"
    r"|llm\.token_count\.(?:prompt|completion|total|prompt_details\.cache_read)"
    r"|gen_ai\.(?:operation\.name|conversation\.id|request\.(?:model|max_tokens)|response\.(?:model|finish_reasons))"
    r"|gen_ai\.usage\.(?:in|out)put_tokens"
    r"|tandem\.(?:engine|request_id|queue_wait_ms|first_token_ms|tokens|characters|texts)|session\.id"
)
_RESOURCE = Resource({"openinference.project.name": PROJECT, "service.name": "tandem-worker"})
_SCOPE = InstrumentationScope("tandem")


def arrived(data: bytes, asked: Asked) -> tuple[list[ReadableSpan], int]:
    """The spans, and how many were refused: 1 for bytes that are none, or too many."""
    if len(data) > MOST_BYTES:
        return [], 1
    try:
        message = ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        return [], 1
    of_workers = [[one for scope in told.scope_spans for one in scope.spans] for told in message.resource_spans]
    count = sum(map(len, of_workers))
    if count > MOST_SPANS:
        return [], count
    taken = {span.context.span_id: span for told in of_workers for span in _of_one(told, asked) if span.context}
    return list(taken.values()), count - len(taken)


def _of_one(told: Sequence[Any], asked: Asked) -> Iterator[ReadableSpan]:
    """Of one worker, by one clock."""
    ours = [span for span in told if _is_ours(span, asked)]
    ends = [max(span.start_time_unix_nano, span.end_time_unix_nano) for span in ours]
    shift = _shift([span.start_time_unix_nano for span in ours], ends, asked)

    def time_of(told: int) -> int:
        return min(max(told + shift, asked.since), asked.until)

    for span, end in zip(ours, ends, strict=True):
        yield ReadableSpan(
            name=span.name,
            context=_context(asked, int.from_bytes(span.span_id)),
            parent=_context(asked, int.from_bytes(span.parent_span_id)),
            resource=_RESOURCE,
            attributes=_attributes(span.attributes, asked),
            events=[
                Event(one.name, _attributes(one.attributes, asked), time_of(one.time_unix_nano))
                for one in span.events[:_MOST_EVENTS]
                if one.name in _EVENTS
            ],
            status=_status(span.status),
            start_time=time_of(span.start_time_unix_nano),
            end_time=time_of(end),
            instrumentation_scope=_SCOPE,
        )


def _is_ours(span: Any, asked: Asked) -> bool:
    own, parent = int.from_bytes(span.span_id), int.from_bytes(span.parent_span_id)
    return (
        span.name in _NAMES
        and span.status.code in (0, 1, 2)
        and span.trace_id == asked.trace.to_bytes(16)
        and len(span.span_id) == len(span.parent_span_id) == 8
        and own not in (0, parent, asked.span)
        and parent == asked.span
        and any(pair.key == "openinference.span.kind" and pair.value.string_value in _KINDS for pair in span.attributes)
    )


def _shift(starts: Sequence[int], ends: Sequence[int], asked: Asked) -> int:
    """Nanoseconds. Where they last longer than the job did, they begin with it."""
    first, last = min(starts, default=asked.since), max(ends, default=asked.since)
    return max(asked.since - first, min(0, asked.until - last))


def _status(told: Any) -> Status:
    code = StatusCode(told.code)
    return Status(code, _plain(told.message) or None if code is StatusCode.ERROR else None)


def _context(asked: Asked, span: int) -> SpanContext:
    return SpanContext(asked.trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _attributes(told: Any, asked: Asked) -> Mapping[str, AttributeValue]:
    known = {pair.key: _value(pair.value) for pair in told if _KEYS.fullmatch(pair.key)}
    if known.get("session.id") != asked.session:
        known.pop("session.id", None)
    return {key: value for key, value in known.items() if value is not None}


def _value(told: Any) -> AttributeValue | None:
    match told.WhichOneof("value"):
        case "string_value":
            return _plain(told.string_value)
        case "bool_value":
            return told.bool_value
        case "int_value":
            return told.int_value if abs(told.int_value) < _LARGEST else None
        case "double_value":
            return told.double_value if abs(told.double_value) < _LARGEST else None  # nan is not less
        case "array_value":
            return [_plain(one.string_value) for one in told.array_value.values]
        case _:
            return None


def _plain(text: str) -> str:
    # No database of text keeps it.
    return text.replace("\0", "")
