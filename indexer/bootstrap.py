"""Scores of questions become 95 % intervals: the percentile bootstrap (Efron & Tibshirani 1993, ch. 13), pure.

Questions are drawn again with replacement, from a fixed seed: the same scores give the same interval. Where every
question scores alike it is a point, however few they are; and it takes questions to be independent, which several about
one file are not quite.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 5_000
_SEED = 6
_AT_ONCE = 1 << 20  # draws held in memory


@dataclass(frozen=True, slots=True)
class Difference:
    """Now less before, a question: the mean and its interval, and on how many questions now is better or worse."""

    mean: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """In which the mean lies. Of no score: (0, 0)."""
    return _middle(np.asarray(scores, np.float64))


def difference(now: Sequence[float], before: Sequence[float]) -> Difference:
    """Paired: `now` and `before` are scores of the same questions in the same order."""
    if len(now) != len(before):
        raise ValueError(f"expected scores of the same questions, got {len(now)} and {len(before)}")
    by_question = np.asarray(now, np.float64) - np.asarray(before, np.float64)
    mean = float(by_question.mean()) if len(by_question) else 0.0
    wins, losses = int((by_question > 0).sum()), int((by_question < 0).sum())
    return Difference(mean, *_middle(by_question), wins, losses, len(by_question) - wins - losses)


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    if not len(values):
        return 0.0, 0.0
    low, high = np.quantile(_means(values), (0.025, 0.975))
    return float(low), float(high)


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each resample."""
    draws, count = np.random.default_rng(_SEED), len(values)
    rows = max(1, _AT_ONCE // count)
    means: list[NDArray[np.float64]] = []
    for first in range(0, RESAMPLES, rows):
        drawn = draws.integers(0, count, (min(rows, RESAMPLES - first), count))
        means.append(values[drawn].mean(axis=1))
    return np.concatenate(means)
