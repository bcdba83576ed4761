"""Spans of a search or an answer as they are read back from Phoenix."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from observability.spans_back import Span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
AT = "2026-03-01T12:00:00+00:00"
Passage = tuple[str, str, float | None]
"""path, text, relevance"""


def searched(
    question: str, passages: Sequence[Passage], parent: str | None = None, trace: str = TRACE, **more: Any
) -> Span:
    attributes: dict[str, Any] = {"input.value": question, **{name.replace("__", "."): more[name] for name in more}}
    for n, (path, text, relevance) in enumerate(passages):
        document = f"retrieval.documents.{n}.document"
        attributes |= {
            f"{document}.id": f"{path}:1",
            f"{document}.content": text,
            f"{document}.score": 1 / (1 + n),
            f"{document}.metadata.path": path,
            f"{document}.metadata.lexical_score": 4.2,
        }
        if relevance is not None:
            attributes[f"{document}.metadata.relevance"] = relevance
    return Span(f"{trace[:15]}2", trace, parent, "retrieve", "RETRIEVER", "OK", AT, attributes)


def answered(
    question: str,
    answer: str,
    passages: Sequence[Passage],
    *,
    trace: str = TRACE,
    status: str = "OK",
    check: dict[str, Any] | None = None,
    asked: str | None = None,
    **more: Any,
) -> list[Span]:
    """`check`: the attributes of the span of the answer's check, which an old trace has none of."""
    chain = f"{trace[:15]}1"
    above = {"input.value": asked or question, "output.value": answer}
    made = {"llm.model_name": "small", "tandem.engine": "echo"}
    spans = [
        Span(chain, trace, None, "answer", "CHAIN", status, AT, above),
        searched(question, passages, chain, trace, **more),
        Span(f"{trace[:15]}3", trace, chain, "generate", "LLM", "OK", AT, made),
    ]
    if check is not None:
        spans.append(Span(f"{trace[:15]}4", trace, chain, "check citations", "EVALUATOR", "OK", AT, check))
    return spans


def found_by_likeness_alone(spans: list[Span], n: int, cosine: float) -> list[Span]:
    """The same with passage `n` having none of the question's words."""
    search = next(span for span in spans if span.kind == "RETRIEVER")
    document = f"retrieval.documents.{n}.document.metadata"
    attributes = {**search.attributes, f"{document}.dense_score": cosine}
    del attributes[f"{document}.lexical_score"]
    return [replace(span, attributes=attributes) if span is search else span for span in spans]
