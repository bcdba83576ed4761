"""How a query's words stand in the candidates of a search (pure): near each other, and many in one place.

Each word weighs what it tells, its IDF: two rare words side by side say more than two common ones. Measured:
README, `benchmarks/quality.py`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.lexical import Forms, Word

WINDOW = 8  # terms: words further apart are no pair
STRETCH = 20  # terms: about two sentences without their stop words

_NOTHING: Mapping[int, NDArray[np.uint32]] = {}
_Places = list[tuple[int, int]]  # (where, which word) in reading order


class Nearness(NamedTuple):
    """Shares of what the query's words weigh. `pairs`: of words that follow each other in the query, by their
    smallest distance (0..1.5); `stretch`: of those that stand in the best STRETCH terms or above all of them (0..1)."""

    pairs: float = 0.0
    stretch: float = 0.0


def nearness(
    words: Sequence[Word],
    weights: Mapping[int, float],
    documents: Mapping[int, NDArray[np.uint32]],
    above: Mapping[int, NDArray[np.uint32]] = _NOTHING,
) -> dict[int, Nearness]:
    """Candidate id -> how the query's words stand in it.

    Args:
        words: the query's, as `lexical.asked` gives them.
        weights: of each term, 0 where none is given; a word weighs as much as the heaviest of its forms.
        documents: candidate id -> its terms in reading order.
        above: candidate id -> the terms of what it stands under (path, title, headings).
    """
    distinct = list(dict.fromkeys(word.forms for word in words))
    weight = [max((weights.get(form, 0.0) for form in forms), default=0.0) for forms in distinct]
    whole = sum(weight)
    if not whole:
        return dict.fromkeys(documents, Nearness())
    pairs = [(a, b) for gap in (1, 2) for a, b in zip(range(len(distinct)), range(gap, len(distinct)), strict=False)]
    heads = _found(distinct, above)
    return {
        id_: Nearness(
            _pairs(places, pairs, weight) / (2 * whole),
            _stretch(places, {word for _, word in heads.get(id_, ())}, weight) / whole,
        )
        for id_, places in _found(distinct, documents).items()
    }


def _pairs(places: _Places, pairs: Sequence[tuple[int, int]], weight: Sequence[float]) -> float:
    of: dict[int, list[int]] = {}
    for at, word in places:
        of.setdefault(word, []).append(at)
    near = 0.0
    for a, b in pairs:
        if a in of and b in of:
            distance = max(1, _distance(of[a], of[b]))
            if distance <= WINDOW:
                near += (weight[a] + weight[b]) / distance
    return near


def _distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Between the nearest two of two rising sequences, in one walk over both."""
    at = other = 0
    nearest = abs(a[0] - b[0])
    while at < len(a) and other < len(b):
        nearest = min(nearest, abs(a[at] - b[other]))
        if a[at] < b[other]:
            at += 1
        else:
            other += 1
    return nearest


def _stretch(places: _Places, above: Collection[int], weight: Sequence[float]) -> float:
    best = held = sum(weight[word] for word in above)
    first, counts = 0, Counter(above)
    for at, word in places:
        counts[word] += 1
        if counts[word] == 1:
            held += weight[word]
        while at - places[first][0] >= STRETCH:
            gone = places[first][1]
            counts[gone] -= 1
            if not counts[gone]:
                held -= weight[gone]
            first += 1
        best = max(best, held)
    return best


def _found(words: Sequence[Forms], documents: Mapping[int, NDArray[np.uint32]]) -> dict[int, _Places]:
    """One pass over all candidates' terms: a pass each costs ten times that."""
    found: dict[int, _Places] = {id_: [] for id_ in documents}
    word_of = {form: word for word in reversed(range(len(words))) for form in words[word]}
    if not documents or not word_of:
        return found
    ids, lengths = list(documents), [len(terms) for terms in documents.values()]
    every = np.concatenate(list(documents.values()))
    at = np.flatnonzero(np.isin(every, np.array(list(word_of), np.uint32)))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    owners = np.searchsorted(starts, at, side="right") - 1
    within = (at - starts[owners]).tolist()
    for owner, place, term in zip(owners.tolist(), within, every[at].tolist(), strict=True):
        found[ids[owner]].append((place, word_of[term]))
    return found
