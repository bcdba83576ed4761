"""Whose trace a call over HTTP is part of."""

import pytest
from opentelemetry import trace
from starlette.types import Receive, Scope, Send

from bridge.joining import joined, sent, untraced

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("path", "header", "expected"),
    [
        ("/search", f"00-{TRACE}-{SPAN}-01", TRACE),
        ("/search", "nonsense \xff", "0" * 32),
        ("/mcp", f"00-{TRACE}-{SPAN}-01", "0" * 32),  # its sessions outlive the request
    ],
)
async def test_a_call_is_part_of_the_trace_that_it_names(path: str, header: str, expected: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(f"{trace.get_current_span().get_span_context().trace_id:032x}")

    async def nothing(*_: object) -> None:
        raise AssertionError

    scope = {"type": "http", "path": path, "headers": [(b"traceparent", header.encode("latin-1"))]}
    await joined(app)(scope, nothing, nothing)  # type: ignore[arg-type]
    assert seen == [expected]
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_leaves_no_trace_says_so_to_whom_it_asks() -> None:
    assert sent() == {}
    with untraced():
        assert sent()["traceparent"].endswith("-00")
    assert sent() == {}
