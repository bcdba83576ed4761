"""Two rankings become one (pure). The same for every store, since both hand over their raw scores.

Scores of each side are spread over 0..1 and weighed; then candidates in which neighbouring words of the query
stand near each other gain. Measured: see README, `benchmarks/quality.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scored = tuple[int, float]

PROXIMITY_WINDOW = 8  # terms


@dataclass(frozen=True, slots=True)
class Weights:
    """`dense`: the vectors' share of the fused score, BM25 has the rest. `proximity` comes on top of 1."""

    dense: float = 0.35
    proximity: float = 0.5


WEIGHTS = Weights()


def fuse(
    dense: Sequence[Scored], lexical: Sequence[Scored], depth: int, dense_weight: float = WEIGHTS.dense
) -> dict[int, float]:
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


def proximity(
    query: Sequence[int],
    documents: Mapping[int, NDArray[np.uint32]],
    window: int = PROXIMITY_WINDOW,
) -> dict[int, float]:
    """Candidate id -> how near to each other the query's neighbouring terms stand in it, 0..1 over the candidates.

    A pair is two terms at most two apart in the query; it counts 1 / (the smallest distance between them in the
    document), nothing beyond the window. Weighing pairs by IDF gained nothing (benchmarks/quality.py).
    """
    words = list(dict.fromkeys(query))
    pairs = [(a, b) for gap in (1, 2) for a, b in zip(words, words[gap:], strict=False)]
    scores = {
        id_: sum(_nearness(places, a, b, window) for a, b in pairs) for id_, places in _places(words, documents).items()
    }
    top = max(scores.values(), default=0.0)
    return {id_: score / top for id_, score in scores.items()} if top else {}


def _places(words: Sequence[int], documents: Mapping[int, NDArray[np.uint32]]) -> dict[int, dict[int, list[int]]]:
    """document -> word -> where it stands. One pass over all candidates' terms: a pass each costs ten times that."""
    places: dict[int, dict[int, list[int]]] = {id_: {} for id_ in documents}
    if not documents or not words:
        return places
    ids, lengths = list(documents), [len(terms) for terms in documents.values()]
    every = np.concatenate(list(documents.values()))
    found = np.flatnonzero(np.isin(every, np.array(words, np.uint32)))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    owners = np.searchsorted(starts, found, side="right") - 1
    for at, owner, word in zip(found.tolist(), owners.tolist(), every[found].tolist(), strict=True):
        places[ids[owner]].setdefault(word, []).append(at)
    return places


def _nearness(places: Mapping[int, list[int]], a: int, b: int, window: int) -> float:
    if a not in places or b not in places:
        return 0.0
    nearest = min(abs(i - j) for i in places[a] for j in places[b])
    return 1 / nearest if nearest <= window else 0.0
