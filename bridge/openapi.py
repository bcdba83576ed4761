"""The calls that anybody may make, described: as OpenAPI 3.1 for programs, and as a page for people.

The shapes come from the types that the gateway reads and writes; what `streaming` adds to an answer is added here.
"""

from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec

from bridge.bodies import AskBody, RatingBody, SearchBody
from bridge.service import Answer, Document, Piece, Status
from indexer.hits import Found

_REFS = "#/components/schemas/{name}"
_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {"error": {"type": "object", "properties": {"code": {}, "message": {}}}},
}
# `error` alone, with no answer beside it, where the question was refused after the stream had begun.
_LAST: dict[str, Any] = {
    "allOf": [{"$ref": _REFS.format(name=Answer.__name__)}],
    "properties": {"chunk": {"const": ""}, "is_final": {"const": True}},
    "required": ["chunk", "is_final"],
}


class Begun(msgspec.Struct, frozen=True):
    request: str


class Stopped(msgspec.Struct, frozen=True):
    cancelled: bool


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    does: str
    body: Any = None
    gives: Any = None
    streams: bool = False
    parameters: tuple[tuple[str, str, str], ...] = ()
    statuses: tuple[int, ...] = ()
    good: int = 200


_ID = ("request", "path", "the answer's id, as `POST /answers` and the header Tandem-Answer give it")
_DOCUMENT = ("document", "path", "the id that hits and citations give")
_CALLS = (
    _Call("post", "/search", "Passages that fit a query, best first.", SearchBody, Found, statuses=(400, 503)),
    _Call(
        "post",
        "/build-context",
        "An answer as server-sent events: pieces, then the whole with its sources, then [DONE]. Each event's id is "
        "<request>:<epoch>-<seq>.",
        AskBody,
        streams=True,
        statuses=(400, 429, 503),
    ),
    _Call("post", "/answers", "Begins an answer without reading it.", AskBody, Begun, statuses=(400,)),
    _Call(
        "get",
        "/answers/{request}",
        "Reads an answer on from the event that Last-Event-ID names, or from its beginning. An answer that nobody "
        "has read for 30 s is given up; one that has ended is kept for 10 minutes.",
        streams=True,
        parameters=(_ID, ("Last-Event-ID", "header", "the last event that was read")),
        statuses=(400, 404, 429, 503),
    ),
    _Call(
        "delete", "/answers/{request}", "Stops an answer; its engine stops too.", None, Stopped, False, (_ID,), (404,)
    ),
    _Call(
        "post",
        "/ratings",
        "Notes what a person thinks of an answer, beside its trace in Phoenix; said again it replaces what was said.",
        RatingBody,
        statuses=(400, 503),
        good=204,
    ),
    _Call(
        "get", "/documents/{document}", "A document's text, and its pages.", None, Document, False, (_DOCUMENT,), (404,)
    ),
    _Call("get", "/documents/{document}/file", "The file itself.", parameters=(_DOCUMENT,), statuses=(404,)),
    _Call("get", "/status", "What the index holds, what waits and what failed.", gives=Status),
    _Call("get", "/metrics", "Figures for Prometheus."),
    _Call("get", "/health", "Whether the daemon is there; never asks for a token."),
)
_MEANS = {
    400: "the input is at fault; the message says what was expected",
    404: "nothing is known by this id (any more)",
    429: "more is asked than the workers can do; Retry-After says when to come back",
    503: "a part that this needs is away; the message says which and what to do",
}


def described(version: str) -> dict[str, Any]:
    """The OpenAPI document."""
    kinds = [kind for call in _CALLS for kind in (call.body, call.gives) if kind] + [Piece, Answer]
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REFS)
    paths: dict[str, dict[str, Any]] = {}
    for call in _CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tandem", "version": version, "description": "Your own files, searchable and answerable."},
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas | {"Error": _ERROR, "LastEvent": _LAST},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "TANDEM_TOKEN, if set"}},
        },
    }


def page(version: str) -> bytes:
    """The same in HTML, without a script or anything from elsewhere."""
    calls = "".join(_section(call) for call in _CALLS)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Tandem {escape(version)}: HTTP</title><h1>Tandem {escape(version)}</h1>"
        f"<p>All calls, for programs: <a href=/openapi.json>openapi.json</a>. Errors are "
        f"<code>{{&quot;error&quot;: {{&quot;code&quot;, &quot;message&quot;}}}}</code>. Where TANDEM_TOKEN is set, "
        f"send <code>Authorization: Bearer …</code>.</p>{calls}"
    ).encode()


def _operation(call: _Call) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": call.does, "responses": _responses(call)}
    if call.body:
        operation["requestBody"] = {"required": True, "content": _json(call.body)}
    if call.parameters:
        operation["parameters"] = [
            {"name": name, "in": place, "required": place == "path", "description": what, "schema": {"type": "string"}}
            for name, place, what in call.parameters
        ]
    return operation


def _responses(call: _Call) -> dict[str, Any]:
    good: dict[str, Any] = {"description": call.does}
    if call.streams:
        either = {"oneOf": [{"$ref": _REFS.format(name=name)} for name in (Piece.__name__, "LastEvent")]}
        good["content"] = {"text/event-stream": {"schema": either}}
    elif call.gives:
        good["content"] = _json(call.gives)
    errors = {
        str(status): {"description": _MEANS[status], "content": {"application/json": {"schema": _ERROR}}}
        for status in call.statuses
    }
    return {str(call.good): good} | errors


def _json(kind: Any) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFS.format(name=kind.__name__)}}}


def _section(call: _Call) -> str:
    fields = ""
    if call.body:
        names = ", ".join(field.encode_name for field in msgspec.structs.fields(call.body))
        fields = f"<p>Body: <code>{{{escape(names)}}}</code></p>"
    parameters = "".join(
        f"<li><code>{escape(name)}</code> ({place}): {escape(what)}</li>" for name, place, what in call.parameters
    )
    errors = "".join(f"<li>{status}: {escape(_MEANS[status])}</li>" for status in call.statuses)
    head = f"<h2><code>{call.method.upper()} {escape(call.path)}</code></h2><p>{escape(call.does)}</p>"
    return f"{head}{fields}<ul>{parameters}{errors}</ul>"
