"""Two experiments over the same questions become a verdict on each measure (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from indexer.bootstrap import Difference, difference

FEWEST = 5  # questions that an interval can be made of
_SAME = 1e-9  # what is written and read again

Scores = Mapping[str, Mapping[str, float]]
"""measure -> question's id -> score."""

Verdict = Literal["better", "no change", "worse", "too few questions"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure over the questions that both have. `lost`: their ids, those first that lost most."""

    questions: int
    now: float
    before: float
    difference: Difference
    verdict: Verdict
    lost: tuple[str, ...]


def compared(now: Scores, before: Scores) -> dict[str, Compared]:
    """Of the measures that both have."""
    return {name: _one(now[name], before[name]) for name in now if before.get(name, {}).keys() & now[name].keys()}


def is_worse(measures: Mapping[str, Compared]) -> bool:
    return any(one.verdict == "worse" for one in measures.values())


def most_lost(measures: Mapping[str, Compared], now: Scores, before: Scores) -> list[str]:
    """Questions that lost in any measure, those first that lost most in all of them together."""
    lost: dict[str, float] = {}
    for name, one in measures.items():
        for id_ in one.lost:
            lost[id_] = lost.get(id_, 0.0) + before[name][id_] - now[name][id_]
    return sorted(lost, key=lambda id_: -lost[id_])


def _one(now: Mapping[str, float], before: Mapping[str, float]) -> Compared:
    both = [id_ for id_ in now if id_ in before]
    new = [now[id_] for id_ in both]
    old = [before[id_] if abs(before[id_] - now[id_]) > _SAME else now[id_] for id_ in both]
    by = difference(new, old)
    lost = sorted((id_ for id_ in both if before[id_] - now[id_] > _SAME), key=lambda id_: now[id_] - before[id_])
    return Compared(len(both), _mean(new), _mean(old), by, _verdict(by, len(both)), tuple(lost))


def _verdict(by: Difference, questions: int) -> Verdict:
    if by.wins == by.losses == 0:
        return "no change"
    if questions < FEWEST:
        return "too few questions"
    return "worse" if by.high < 0 else "better" if by.low > 0 else "no change"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
