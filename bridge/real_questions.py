"""What people asked becomes the examples of a dataset (pure): the question, its answer, and the evidence for it.

Evidence is what the answer cited, word for word as it stands in the passage; for a search, and for an answer without
citations, the beginnings of the passages that were judged relevant.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.grounding import QUOTE_CHARS, checked, is_evidence
from bridge.told import Told, is_hidden, told
from indexer.filters import BadFilter, Filters, moment
from observability.datasets import Example
from observability.evaluating import GROUNDED, RELEVANT
from observability.redaction import HIDDEN
from observability.spans_back import Span

NO_EVIDENCE = "no passage was cited or judged relevant"


@dataclass(frozen=True, slots=True)
class Gathered:
    """`unfit`: why of each search that became no example. `repeated`: of those that would have."""

    examples: tuple[Example, ...]
    unfit: tuple[str, ...]
    repeated: int


def examples(traces: Iterable[Sequence[Span]], evidence: float, ratings: Mapping[str, float]) -> list[Example | str]:
    """Of each search an example, or why it is none. `ratings`: of traces, 0 to 1."""
    found: list[Example | str] = []
    for spans in traces:
        for n, one in enumerate(told(spans)):
            key = one.search.trace if not n else f"{one.search.trace}:{one.search.id}"
            found.append(is_hidden(one) or _example(key, one, evidence, ratings.get(one.search.trace)) or NO_EVIDENCE)
    return found


def once(found: Iterable[Example | str], known: Iterable[Example]) -> Gathered:
    """Each question once. The latest says what its answer is, one with an answer before one without; what is `known`
    already stays as it is."""
    there = {asked(one): one.key for one in known}
    best: dict[tuple[str, ...], Example] = {}
    unfit: list[str] = []
    count = 0
    for one in found:
        if isinstance(one, str):
            unfit.append(one)
            continue
        count += 1
        before = best.get(asked(one))
        if there.get(asked(one), one.key) == one.key and not (before and _has_answer(before) > _has_answer(one)):
            best[asked(one)] = one
    return Gathered(tuple(best.values()), tuple(unfit), count - len(best))


def asked(one: Example) -> tuple[str, ...]:
    """Equal where the same was asked, however it was written."""
    words = str(one.input.get("question", "")).casefold().split()
    return (" ".join(words), *(str(one.input.get(name, "")) for name in ("in", "type", "since")))


def _has_answer(one: Example) -> bool:
    return one.output.get("answer") is not None


def _example(key: str, one: Told, evidence: float, rating: float | None) -> Example | None:
    hits = [hit for hit in one.hits if is_evidence(hit, evidence)]
    answer = None if one.answer == HIDDEN else one.answer
    judged = checked(answer, hits) if answer else None
    quoted = [{"path": cited.path, "quote": cited.quote} for cited in judged.citations] if judged else []
    quoted = quoted or [
        {"path": hit.path, "quote": _beginning(hit.text)} for hit in one.hits if (hit.relevance or 0.0) >= RELEVANT
    ]
    if not quoted:
        return None
    grounded = one.check.attributes.get(GROUNDED) if one.check else judged.grounded if judged else None
    metadata = {"trace_id": one.search.trace, "engine": one.engine, "grounded": grounded, "asked_at": one.span.started}
    metadata |= {} if one.asked in (None, one.question) else {"asked": one.asked}
    metadata |= {} if rating is None else {"rating": rating}
    return Example(
        key,
        {"question": one.question, **_filters(one.filters, one.span.started)},
        {"answer": answer, "evidence": quoted},
        metadata,
        one.span.id,
    )


def _filters(filters: Filters, asked_at: str) -> dict[str, Any]:
    """A time ago was meant from when it was asked."""
    since = filters.since
    try:
        if since is not None:
            then = datetime.fromisoformat(asked_at).timestamp()
            since = datetime.fromtimestamp(moment(since, then), UTC).isoformat()
    except (ValueError, BadFilter):
        since = None
    words = {"in": filters.within, "type": ",".join(filters.types), "since": since}
    return {name: word for name, word in words.items() if word}


def _beginning(text: str) -> str:
    """Whole lines while they fit, else words."""
    if len(text) <= QUOTE_CHARS:
        return text.strip()
    part = text[: QUOTE_CHARS + 1]
    end = part.rfind("\n")
    end = end if end > QUOTE_CHARS // 2 else max(part.rfind(" "), part.rfind("\n"))
    return text[: end if end > QUOTE_CHARS // 2 else QUOTE_CHARS].strip()
