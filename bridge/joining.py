"""A call over HTTP is part of its caller's trace, where it names one (W3C `traceparent`), and is traced as that is."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:  # a command that only asks need not load it
    from starlette.types import ASGIApp, Receive, Scope, Send

_PROPAGATOR = TraceContextTextMapPropagator()


def joined(app: "ASGIApp") -> "ASGIApp":
    """The app, each of whose requests runs in its caller's trace."""

    async def in_trace(scope: "Scope", receive: "Receive", send: "Send") -> None:
        # MCP names it in each message; a session outlives the request that began it, and would keep its trace.
        joins = scope["type"] == "http" and scope["path"] != "/mcp"
        parent = dict(scope["headers"]).get(b"traceparent") if joins else None
        if parent is None:
            return await app(scope, receive, send)
        token = context.attach(_PROPAGATOR.extract({"traceparent": parent.decode("latin-1")}, context.get_current()))
        try:
            await app(scope, receive, send)
        finally:
            context.detach(token)

    return in_trace


def sent() -> dict[str, str]:
    """The header for a call that is made now; none outside of a trace."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers


@contextmanager
def untraced() -> Generator[None]:
    """What is asked within, here or of a daemon, leaves no trace."""
    unsampled = SpanContext(secrets.randbits(128) or 1, secrets.randbits(64) or 1, is_remote=False)
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(unsampled)))
    try:
        yield
    finally:
        context.detach(token)
