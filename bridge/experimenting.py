"""Questions that were asked before are asked again, of the index and the settings as they are now.

example -> search (and answer) -> scores -> a run of Phoenix's experiment
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anyio import to_thread
from msgspec import Struct, ValidationError, convert

from bridge import evidence
from bridge.service import Answer, BadInput, Service, Status, Unavailable, asking
from bridge.settings import Settings
from indexer import chunk, lexical, parse
from indexer.filters import Filters
from indexer.hits import Hit
from observability.datasets import Example, Run
from observability.redaction import HIDDEN, TEXTS

MADE_BY = "tandem trace experiment"
FOUND, FIRST, GROUNDED, KEPT = "evidence found", "first at", "groundedness", "answer kept"
_SHOWN_CHARS = 500  # of a passage
_TEXTS = frozenset(TEXTS)


@dataclass(frozen=True, slots=True)
class Asking:
    """`k`: the passages that are looked at. `answers`: whether an answer is made too. `hide`: what no run may tell."""

    k: int
    answers: bool
    hide: frozenset[str]


class _Evidence(Struct):
    quote: str


def settings_that_matter(settings: Settings, status: Status, how: Asking) -> dict[str, Any]:
    """What an experiment was made with: who compares two of them sees what was changed between."""
    return {
        "made_by": MADE_BY,
        "k": how.k,
        "answers": how.answers,
        "embedding": status.embedding,
        "store": status.store,
        "engine": status.engine,
        "model": settings.model,
        "rerank": settings.rerank,
        "evidence_threshold": settings.rag_score_threshold,
        "versions": f"parse {parse.VERSION}, chunk {chunk.VERSION}, lexical {lexical.VERSION}",
        "documents": status.documents,
        "chunks": status.chunks,
        "pending": status.pending,
        "as_of": status.as_of,
    }


def fit(examples: Sequence[Example]) -> list[Example]:
    """Those that ask something and say what the answer rests on."""
    return [one for one in examples if str(one.input.get("question") or "").strip() and quotes(one)]


def quotes(example: Example) -> list[str]:
    """The evidence, word for word."""
    try:
        rows = convert(example.output.get("evidence"), list[_Evidence])
    except ValidationError:
        return []
    return [row.quote for row in rows if any(map(str.isalnum, row.quote))]


async def asked_again(service: Service, example: Example, how: Asking) -> Run:
    """What cannot be asked is a run with its error. Raises Unavailable."""
    began = _now()
    question, filters = str(example.input["question"]), _filters(example)
    try:
        hits = (await service.search(question, how.k, filters)).hits
        answer = await _answered(service, question, filters) if how.answers else None
    except BadInput as error:
        return Run(example.id, None, began, _now(), {}, error=str(error))
    if answer and answer.error:
        # An engine may repeat in its error what it was asked.
        error = _shown(answer.error, how.hide & _TEXTS)
        return Run(example.id, None, began, _now(), {}, error=error, trace=answer.trace_id)
    ended = _now()
    scores = await to_thread.run_sync(_scores, example, hits, answer)
    trace = answer.trace_id if answer else None
    return Run(example.id, _output(hits, answer, how.hide), began, ended, scores, trace=trace)


def _filters(example: Example) -> Filters:
    words = [example.input.get(name) for name in ("in", "type", "since")]
    return Filters.asked(*(word if isinstance(word, str) and word else None for word in words))


async def _answered(service: Service, question: str, filters: Filters) -> Answer:
    async with asking(service, question, filters) as parts:
        async for part in parts:
            if isinstance(part, Answer):
                return part
    raise Unavailable("an answer stopped without its end: run the experiment again")


def _scores(example: Example, hits: Sequence[Hit], answer: Answer | None) -> dict[str, tuple[float | None, str]]:
    wanted, passages = quotes(example), [hit.text for hit in hits]
    first = evidence.first_at(wanted, passages)
    scores: dict[str, tuple[float | None, str]] = {
        FOUND: (
            evidence.found(wanted, passages),
            f"how much of {len(wanted)} quotes stands in the first {len(hits)} passages",
        ),
        FIRST: (first, f"the evidence comes at {round(1 / first)}" if first else "no passage has the evidence"),
    }
    if answer is None:
        return scores
    grounded = evidence.groundedness(answer)
    scores[GROUNDED] = (grounded, "its least supported sentence" if grounded is not None else "it claims nothing")
    reference = example.output.get("answer")
    if isinstance(reference, str) and reference.strip():
        kept = evidence.kept(reference, answer.answer)
        scores[KEPT] = (kept, "how far it says what the reference says" if kept is not None else "that claims nothing")
    return scores


def _output(hits: Sequence[Hit], answer: Answer | None, hide: frozenset[str]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "passages": [
            {"path": hit.path, "text": _shown(hit.text, hide & {"passages"}), "score": round(hit.score, 4)}
            for hit in hits
        ]
    }
    if answer:
        output["answer"] = _shown(answer.answer, hide & _TEXTS, len(answer.answer))
        output["engine"], output["cache_hit"] = answer.engine, answer.cache_hit
        output["citations"] = [one.path for one in answer.citations]
    return output


def _shown(text: str, hidden: frozenset[str], most: int = _SHOWN_CHARS) -> str:
    if hidden:
        return HIDDEN
    return text if len(text) <= most else text[:most] + "…"


def _now() -> str:
    return datetime.now(UTC).isoformat()
