"""Spans become bytes of a limited number, for a way that is no collector's (pure)."""

from collections.abc import Collection, Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status
from opentelemetry.util.types import Attributes, AttributeValue

from observability.copied import copied
from observability.redaction import redacted
from observability.utf8 import in_utf8

_LENGTHS = (16_384, 4_096, 1_024, 256, 64)  # characters of a text


def packed(spans: Sequence[ReadableSpan], hide: Collection[str], most_bytes: int) -> bytes:
    """In OTLP; nothing where they do not fit with all their texts cut."""
    told = [in_utf8(redacted(span, hide)) for span in spans]
    data = encode_spans(told).SerializeToString()
    for length in _LENGTHS:
        if len(data) <= most_bytes:
            return data
        data = encode_spans([_cut(span, length) for span in told]).SerializeToString()
    return data if len(data) <= most_bytes else b""


def _cut(span: ReadableSpan, length: int) -> ReadableSpan:
    why = span.status.description
    return copied(
        span,
        _short(span.attributes, length),
        events=[Event(one.name, _short(one.attributes, length), one.timestamp) for one in span.events],
        status=Status(span.status.status_code, f"{why[:length]}…" if why and len(why) > length else why),
    )


def _short(told: Attributes, length: int) -> dict[str, AttributeValue]:
    return {
        key: f"{value[:length]}…" if isinstance(value, str) and len(value) > length else value
        for key, value in (told or {}).items()
    }
