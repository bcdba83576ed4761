"""Two rankings become one (pure). The same for every store, since both hand over their raw scores.

Scores of each side are spread over 0..1 and weighed, so a chunk that both sides found gains from both.
"""

from collections.abc import Sequence

Scored = tuple[int, float]


def fuse(dense: Sequence[Scored], lexical: Sequence[Scored], depth: int, dense_weight: float) -> dict[int, float]:
    """Min-max fusion: id -> score in 0..1. `depth`: how many of each side were asked for.

    A side's lowest score counts 0. A lexical list shorter than `depth` holds every chunk that has one of the words:
    the rest of the corpus scores 0 there, so 0 is its floor and a chunk that alone has the word gets all of it.
    """
    dense_floor = min((score for _, score in dense), default=0.0)
    lexical_floor = min((score for _, score in lexical), default=0.0) if len(lexical) >= depth else 0.0
    fused: dict[int, float] = {}
    for side, floor, weight in ((dense, dense_floor, dense_weight), (lexical, lexical_floor, 1 - dense_weight)):
        span = max((score for _, score in side), default=0.0) - floor
        for id_, score in side:
            fused[id_] = fused.get(id_, 0.0) + weight * ((score - floor) / span if span > 0 else 1.0)
    return fused
