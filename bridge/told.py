"""What a trace tells of a search or an answer, read back from its spans (pure).

The spans of one trace, in the shape that `observability` draws, become one `Told` each search: what was asked, the
passages that were found, and, where an answer was made of them, its words.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer.filters import EVERYTHING, Filters
from indexer.hits import Hit
from observability.redaction import HIDDEN
from observability.spans_back import Span

_DOCUMENT = "retrieval.documents.{}.document."


@dataclass(frozen=True, slots=True)
class Told:
    """`question`: what was searched for; `asked`: what was typed, where an answer was asked for. `answer`: null for a
    search, and for an answer that did not end well. `chain` and `check`: the spans of the answer, and of its check. Any
    text may be HIDDEN."""

    search: Span
    question: str
    hits: tuple[Hit, ...]
    filters: Filters = EVERYTHING
    chain: Span | None = None
    check: Span | None = None
    asked: str | None = None
    answer: str | None = None
    engine: str | None = None

    @property
    def span(self) -> Span:
        """The one that stands for all of it."""
        return self.chain or self.search


def told(spans: Sequence[Span]) -> Iterator[Told]:
    """`spans`: of one trace."""
    by_id = {span.id: span for span in spans}
    for search in spans:
        if search.kind != "RETRIEVER":
            continue
        above = by_id.get(search.parent or "")
        if above is None or (above.kind, above.name) != ("CHAIN", "answer"):
            yield Told(search, _text(search, "input.value"), _hits(search), _filters(search))
            continue
        beside = [span for span in spans if span.parent == above.id]
        answer = _text(above, "output.value") if above.status == "OK" else ""
        yield Told(
            search,
            _text(search, "input.value"),
            _hits(search),
            _filters(search),
            above,
            next((span for span in beside if span.kind == "EVALUATOR"), None),
            _text(above, "input.value"),
            answer or None,
            next((_engine(span) for span in beside if (span.kind, span.status) == ("LLM", "OK")), None),
        )


def _text(span: Span, name: str) -> str:
    value = span.attributes.get(name)
    return value if isinstance(value, str) else ""


def _engine(span: Span) -> str | None:
    named = (span.attributes.get("tandem.engine"), span.attributes.get("llm.model_name"))
    return " ".join(dict.fromkeys(str(one) for one in named if one)) or None


def _filters(search: Span) -> Filters:
    try:
        words = json.loads(_text(search, "tandem.filters") or "{}")
        return Filters.asked(words.get("in"), words.get("type"), words.get("since"))
    except (ValueError, AttributeError, TypeError):
        return EVERYTHING


def _hits(search: Span) -> tuple[Hit, ...]:
    hits: list[Hit] = []
    while (prefix := _DOCUMENT.format(len(hits))) + "content" in search.attributes:
        hits.append(_hit(search.attributes, prefix))
    return tuple(hits)


def _hit(attributes: Mapping[str, Any], prefix: str) -> Hit:
    def number(name: str) -> float | None:
        value = attributes.get(f"{prefix}metadata.{name}")
        return float(value) if isinstance(value, int | float) else None

    path = attributes.get(f"{prefix}metadata.path") or str(attributes.get(f"{prefix}id", "")).rpartition(":")[0]
    return Hit(
        path=str(path),
        uri="",
        score=float(attributes.get(f"{prefix}score") or 0.0),
        text=str(attributes[f"{prefix}content"]),
        dense_score=number("dense_score"),
        lexical_score=number("lexical_score"),
        relevance=number("relevance"),
    )


def is_hidden(one: Told) -> str | None:
    """What of it nobody may read, in words; null where question and passages are there."""
    if HIDDEN in (one.question, one.asked):
        return "the question is hidden"
    return "the passages are hidden" if any(hit.text == HIDDEN for hit in one.hits) else None
