"""What evaluations and people say of spans, as Phoenix keeps it beside them: annotations over its REST API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["CODE", "LLM", "HUMAN"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """`of`: a span's id in hex, or a trace's where `place` says so; `document`: the passage of a RETRIEVER span that it
    is about, from 0. `score` is 0..1. The same name said again of the same thing with the same `identifier` replaces
    what was said before."""

    of: str
    name: str
    score: float | None
    label: str | None = None
    explanation: str | None = None
    kind: Kind = "CODE"
    place: Literal["span", "document", "trace"] = "span"
    document: int = 0
    identifier: str = ""


PATHS: Mapping[str, str] = {
    "span": "/v1/span_annotations",
    "document": "/v1/document_annotations",
    "trace": "/v1/trace_annotations",
}


def bodies(annotations: Sequence[Annotation]) -> dict[str, dict[str, Any]]:
    """By path what is posted there, as JSON."""
    found: dict[str, dict[str, Any]] = {}
    for one in annotations:
        found.setdefault(PATHS[one.place], {"data": []})["data"].append(_row(one))
    return found


def _row(one: Annotation) -> dict[str, Any]:
    result = {"score": one.score, "label": one.label, "explanation": one.explanation}
    row = {"name": one.name, "annotator_kind": one.kind, "result": result, "identifier": one.identifier}
    row["trace_id" if one.place == "trace" else "span_id"] = one.of
    # Phoenix takes no identifier for a document's.
    return row | {"document_position": one.document, "identifier": ""} if one.place == "document" else row
