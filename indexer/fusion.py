"""Two rankings become one (pure). The same for every store, since both hand over their raw scores.

Scores of each side are spread over 0..1 and weighed, so a chunk that both sides found gains from both.
"""

from collections.abc import Sequence

Scored = tuple[int, float]

FUSED = 100  # candidates of each side
_BEYOND = 1e-4


def fuse(dense: Sequence[Scored], lexical: Sequence[Scored], dense_weight: float) -> dict[int, float]:
    """Min-max fusion: id -> score in 0..1, each side's best first.

    The FUSED-th score of a side counts 0; what comes after it is a little less, so that the first hits are the same
    however many were asked for. A lexical list shorter than that holds every chunk that has one of the words: the rest
    of the corpus scores 0 there, so 0 is its floor and a chunk that alone has the word gets all of it.
    """
    dense_floor = dense[:FUSED][-1][1] if dense else 0.0
    lexical_floor = lexical[FUSED - 1][1] if len(lexical) >= FUSED else 0.0
    fused: dict[int, float] = {}
    for side, floor, weight in ((dense, dense_floor, dense_weight), (lexical, lexical_floor, 1 - dense_weight)):
        span = max((score for _, score in side), default=0.0) - floor
        for id_, score in side:
            fused[id_] = fused.get(id_, 0.0) + weight * _share(score - floor, span)
    return fused


def _share(above: float, span: float) -> float:
    """`above` the floor, of a side that reaches `span` above it; a trifle below 0 for what is not above it."""
    if above < 0:
        return _BEYOND * above / (span or 1.0)
    return above / span if span > 0 else 1.0
