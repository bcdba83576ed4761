"""Two ways to do the same thing, measured in pairs: how much more the one costs, and how sure that is (pure)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWN = 2_000

Values = NDArray[np.float64]
"""Rounds x pairs."""


def more(than: Values, of: Values) -> dict[str, Any]:
    """By how many per cent `of` is above `than`, with intervals of 95 %: `percent` by their sums, `median_percent` by
    the median of the differences, which does not mind the few pairs that another process got into.

    Rounds are drawn anew with replacement, and pairs within each: what differs from one start of the processes to
    the next widens the interval too.
    """
    rounds, pairs = than.shape
    rng = np.random.default_rng(0)
    draws = [(rng.integers(rounds, size=(rounds, 1)), rng.integers(pairs, size=(rounds, pairs))) for _ in range(DRAWN)]
    sums = [_by_sums(than[drawn], of[drawn]) for drawn in draws]
    medians = [_by_median(than[drawn], of[drawn]) for drawn in draws]
    return {
        "percent": round(_by_sums(than, of), 2),
        "interval": _interval(sums),
        "median_percent": round(_by_median(than, of), 2),
        "median_interval": _interval(medians),
    }


def _by_sums(than: Values, of: Values) -> float:
    return float(100 * (of.sum() / than.sum() - 1))


def _by_median(than: Values, of: Values) -> float:
    return float(100 * np.median(of - than) / np.median(than))


def _interval(drawn: list[float]) -> list[float]:
    return [round(float(end), 2) for end in np.percentile(drawn, [2.5, 97.5])]
