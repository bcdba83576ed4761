"""A span becomes annotations (pure): what was measured when it was made, in the shape that Phoenix counts with.

    RETRIEVER  -> of each passage, whether it is relevant: Phoenix makes nDCG, precision and hit of that
    EVALUATOR  -> how far the answer stands on its passages, and each of its citations
    CHAIN      -> whether the index was in step with the files when it answered

The measures stand on the span as numbers, so nothing here reads a text, and what is hidden stays hidden.

What a model judged has names of its own: of a passage Phoenix keeps one annotation of each name, whoever made it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from observability.annotations import Annotation

RELEVANT = 0.5
RELEVANCES, GROUNDED, CLAIMS = "tandem.relevances", "tandem.grounded", "tandem.claims"
RELEVANCE_JUDGED, GROUNDEDNESS_JUDGED = "relevance (judge)", "groundedness (judge)"
CITED, SUPPORTS, PENDING = "tandem.cited", "tandem.supports", "tandem.pending"


def evaluated(span_id: str, attributes: Mapping[str, Any]) -> list[Annotation]:
    """`attributes`: the span's, flat. Empty for a span that nothing was measured of."""
    return [*_relevant(span_id, attributes), *_grounded(span_id, attributes), *_fresh(span_id, attributes)]


def judged(retrieved: str, helpful: Sequence[bool], checked: str, supported: Sequence[bool]) -> Iterator[Annotation]:
    """A model's verdict: on the span `retrieved` of each passage whether it helps, on the span `checked` of each
    sentence of the answer whether the passages support it."""
    for n, helps in enumerate(helpful):
        label = "relevant" if helps else "unrelated"
        yield Annotation(retrieved, RELEVANCE_JUDGED, float(helps), label, None, "LLM", place="document", document=n)
    if supported:
        label = "grounded" if all(supported) else "ungrounded"
        told = f"{sum(supported)} of {len(supported)} sentences are supported"
        yield Annotation(checked, GROUNDEDNESS_JUDGED, sum(supported) / len(supported), label, told, "LLM")


def _relevant(span_id: str, attributes: Mapping[str, Any]) -> Iterator[Annotation]:
    for n, likely in enumerate(attributes.get(RELEVANCES) or ()):
        # Phoenix counts each score but 0 as a hit.
        is_relevant = likely >= RELEVANT
        label = "relevant" if is_relevant else "unrelated"
        told = f"likelihood {likely:.2f}, relevant from {RELEVANT}"
        # No model said it, but of nothing else does Phoenix make nDCG, precision and hit.
        yield Annotation(span_id, "relevance", float(is_relevant), label, told, "LLM", place="document", document=n)


def _grounded(span_id: str, attributes: Mapping[str, Any]) -> Iterator[Annotation]:
    claims: Sequence[float] = attributes.get(CLAIMS) or ()
    supports: Sequence[float] = attributes.get(SUPPORTS) or ()
    grounded: bool | None = attributes.get(GROUNDED)
    if grounded is not None:
        score = min(claims or supports, default=0.0)
        label = "grounded" if grounded else "ungrounded"
        yield Annotation(span_id, "groundedness", score, label, _weakest(claims))
    for n, support in zip(attributes.get(CITED) or (), supports, strict=False):
        told = f"how far passage [{n}] bears out the sentence that cites it"
        yield Annotation(span_id, "citation", support, None, told, identifier=str(n))


def _weakest(claims: Sequence[float]) -> str | None:
    if not claims:
        return None
    weakest = min(range(len(claims)), key=lambda n: claims[n])
    return f"of {len(claims)} sentences the least supported is number {weakest + 1}, by {claims[weakest]:.2f}"


def _fresh(span_id: str, attributes: Mapping[str, Any]) -> Iterator[Annotation]:
    pending: int | None = attributes.get(PENDING)
    if pending is not None:
        label = "behind" if pending else "in step"
        told = f"{pending} files waited to be indexed when this was answered"
        yield Annotation(span_id, "freshness", float(not pending), label, told)
