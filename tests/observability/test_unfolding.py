"""A span's passages, as a search sets them and as they leave."""

import json

from opentelemetry.sdk.trace import ReadableSpan

from observability.unfolding import unfolded

ID, METADATA = "/notes/kiln.md:3", {"path": "/notes/kiln.md", "start_line": 3}


def test_each_passage_gets_attributes_of_its_own_and_all_else_stays() -> None:
    documents = [{"id": ID, "content": "It cools.", "score": 0.5, "metadata": METADATA}, {"id": "b", "score": 0.25}]
    span = ReadableSpan("retrieve", attributes={"input.value": "kiln?", "retrieval.documents": json.dumps(documents)})
    made = unfolded(span)
    assert made.name == "retrieve"
    told = dict(made.attributes or {})
    assert json.loads(str(told.pop("retrieval.documents.0.document.metadata"))) == METADATA
    assert told == {
        "input.value": "kiln?",
        "retrieval.documents.0.document.id": ID,
        "retrieval.documents.0.document.content": "It cools.",
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.1.document.id": "b",
        "retrieval.documents.1.document.score": 0.25,
    }


def test_a_span_without_passages_is_itself() -> None:
    span = ReadableSpan("answer", attributes={"input.value": "kiln?"})
    assert unfolded(span) is span
