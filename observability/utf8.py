"""A span becomes one that protobuf can carry."""

# An attribute's value is a JSON-like tree of Any.
# pyright: reportUnknownVariableType=false
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from observability.copied import copied


def in_utf8(span: ReadableSpan) -> ReadableSpan:
    """The span, or a copy with its lone surrogates spelled out: file names and questions can bring them."""
    return span if _fits(span) else _spelled_out(span)


def _fits(span: ReadableSpan) -> bool:
    """Quick, and sure for plain values only: whatever holds others gets a copy."""
    values: list[Any] = [span.name, span.status.description or "", *(span.attributes or {}).values()]
    for event in span.events:
        values += [event.name, *(event.attributes or {}).values()]
    try:
        for value in values:
            if isinstance(value, str):
                value.encode()
            elif not isinstance(value, int | float):
                return False
    except UnicodeEncodeError:
        return False
    return True


def _spelled_out(span: ReadableSpan) -> ReadableSpan:
    return copied(
        span,
        _utf8(span.attributes or {}),
        name=_utf8(span.name),
        events=[Event(_utf8(event.name), _utf8(event.attributes or {}), event.timestamp) for event in span.events],
        status=Status(span.status.status_code, _utf8(span.status.description)),
    )


def _utf8(value: Any) -> Any:
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
        case bytes():
            return value
        case Mapping():
            return {_utf8(key): _utf8(item) for key, item in value.items()}
        case Sequence():
            return [_utf8(item) for item in value]
        case _:
            return value
