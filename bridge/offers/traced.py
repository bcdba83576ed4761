"""A call of a tool as a span of the client's trace."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec
from mcp.server.mcpserver import Context
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

tracer = trace.get_tracer("tandem")


@contextmanager
def tool_span(ctx: Context, tool: str, arguments: dict[str, Any]) -> Generator[trace.Span]:
    """The TOOL span that the service's spans nest under, in the client's own trace where it sent one. All of them
    belong to the chat that the client named, else to its connection.

    OpenInference's names, written out: its package need not be loaded for them.
    """
    attributes = {
        "openinference.span.kind": "TOOL",
        "tool.name": tool,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "input.value": msgspec.json.encode(arguments).decode(),
        "input.mime_type": "application/json",
    }
    session = arguments.get("session") or context.get_value("session.id") or _http_session(ctx)
    if session:
        attributes["session.id"] = str(session)
    sent = {name: value for name, value in (ctx.request_context.meta or {}).items() if isinstance(value, str)}
    parent = TraceContextTextMapPropagator().extract(sent, context.get_current())
    with tracer.start_as_current_span(tool, context=parent, attributes=attributes) as span:
        token = context.attach(context.set_value("session.id", session))
        try:
            yield span
        finally:
            context.detach(token)


def _http_session(ctx: Context) -> str | None:
    """A client's session over HTTP, by a name that opens nothing: its id is a key to it."""
    key = (ctx.headers or {}).get("mcp-session-id")
    return f"mcp-{hashlib.sha256(key.encode()).hexdigest()[:12]}" if key else None


def ended(span: trace.Span, output: str, error: str | None = None) -> None:
    span.set_attribute("output.value", output)
    span.set_status(trace.StatusCode.ERROR if error else trace.StatusCode.OK, error)
