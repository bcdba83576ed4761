"""What is said of a trace afterwards (pure): by the numbers on its spans, else by the texts that they tell."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bridge.grounding import Checked, checked, is_evidence
from bridge.told import Told, told
from observability.annotations import Annotation
from observability.evaluating import CITED, CLAIMS, GROUNDED, PENDING, RELEVANCES, SUPPORTS, evaluated
from observability.redaction import HIDDEN
from observability.spans_back import Span

UNMEASURED = "made before passages were judged"
UNKNOWN = "made before freshness was told"
HIDDEN_TEXT = "its texts are hidden, and nothing was measured when it was made"
FAILED = "the answer did not end well"


@dataclass(frozen=True, slots=True)
class Hindsight:
    """`unjudged`: of each span that nothing can be said of, why."""

    annotations: tuple[Annotation, ...]
    unjudged: tuple[str, ...]


def in_hindsight(spans: Sequence[Span], evidence: float) -> Hindsight:
    """`spans`: of one trace. `evidence`: the cosine from which the dense side alone made a passage evidence."""
    said = [one for each in told(spans) for one in _of_search(each, evidence)]
    return Hindsight(
        tuple(one for one in said if isinstance(one, Annotation)), tuple(one for one in said if isinstance(one, str))
    )


def _of_search(one: Told, evidence: float) -> Iterator[Annotation | str]:
    yield from _relevant(one)
    if one.chain is None:
        return
    if PENDING in one.chain.attributes:
        yield from evaluated(one.chain.id, one.chain.attributes)
    elif one.chain.status == "OK":
        yield UNKNOWN
    yield from _grounded(one, one.chain, evidence)


def _relevant(one: Told) -> Iterable[Annotation | str]:
    if not one.hits:
        return []
    if RELEVANCES in one.search.attributes:
        return evaluated(one.search.id, one.search.attributes)
    likely = [hit.relevance for hit in one.hits if hit.relevance is not None]
    return evaluated(one.search.id, {RELEVANCES: likely}) if len(likely) == len(one.hits) else [UNMEASURED]


def _grounded(one: Told, chain: Span, evidence: float) -> Iterable[Annotation | str]:
    if one.check and {CLAIMS, SUPPORTS} & one.check.attributes.keys():
        return evaluated(one.check.id, one.check.attributes)
    if one.answer is None:
        return [FAILED]
    if one.answer == HIDDEN or any(hit.text == HIDDEN for hit in one.hits):
        return [HIDDEN_TEXT]
    found = checked(one.answer, [hit for hit in one.hits if is_evidence(hit, evidence)])
    return evaluated((one.check or chain).id, measures(found))


def measures(found: Checked) -> dict[str, object]:
    """As they stand on the span of an answer's check."""
    numbers: dict[str, object] = {
        CLAIMS: tuple(claim.support for claim in found.claims),
        CITED: tuple(one.n for one in found.citations),
        SUPPORTS: found.supports,
    }
    return numbers if found.grounded is None else {**numbers, GROUNDED: found.grounded}
