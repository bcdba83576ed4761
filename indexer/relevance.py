"""Whether a passage looks like one that holds what was asked for (pure): judged by itself, where a rank only compares.

A logistic of what the search knows already, so it costs nothing: the cosine, and how the query's words stand in the
passage (`nearness`). Fitted on judged questions of several collections: benchmarks/relevance.py.
"""

from math import exp


def relevance(dense: float | None, pairs: float, stretch: float) -> float:
    """0..1: above 0.5 it looks more like those that hold the answer than like those that do not. `dense`: the cosine,
    None where the embedder was away; `pairs` and `stretch`: as `nearness` gives them."""
    if dense is None:
        return _logistic(_WORDS[0] + _WORDS[1] * pairs + _WORDS[2] * stretch)
    return _logistic(_BOTH[0] + _BOTH[1] * pairs + _BOTH[2] * stretch + _BOTH[3] * dense)


# The bias, then the weights of pairs, stretch and the cosine.
_WORDS = (-0.77, 2.18, 1.24)
_BOTH = (-1.81, 1.76, 1.36, 2.66)


def _logistic(x: float) -> float:
    return 1 / (1 + exp(-x))
