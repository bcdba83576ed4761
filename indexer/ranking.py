"""What both sides of the store found becomes one order: fused, and the best of it looked at more closely.

The second look asks of each candidate how the query's words stand in it (`nearness`), and how near its document's best
chunk comes to the query's vector: a document that is about the question is the likelier place of its answer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from indexer import fusion, lexical
from indexer.catalog import Catalog
from indexer.embed import Vectors
from indexer.laps import Laps
from indexer.lexical import Word
from indexer.nearness import Nearness, nearness
from indexer.presenting import Ranked
from indexer.records import Candidate
from indexer.schema import EVERY
from indexer.store import Rankings

LOOKED_AT = 50  # candidates of the second look
_WORDS = 64  # of a longer query the first ones are looked at


@dataclass(frozen=True, slots=True)
class Weights:
    """`dense`: the vectors' share of the fused score, BM25 has the rest. The others are the second look's, beside that
    score's 1. Chosen on one half of each collection, confirmed on the other: benchmarks/quality.py."""

    dense: float = 0.35
    pairs: float = 1.25
    stretch: float = 0.35
    document: float = 1.0

    @property
    def whole(self) -> float:
        return 1 + self.pairs + self.stretch + self.document


WEIGHTS = Weights()


def exact(catalog: Catalog, signature: str, query: Vectors | None, rankings: Rankings, depth: int) -> Rankings:
    """The best `depth` of each side, the dense side by the vectors as they were made: each store then ranks alike."""
    # One store counts in single, the other in double precision.
    rounded = [(id_, round(score, 4)) for id_, score in rankings.lexical]
    words = tuple(sorted(rounded, key=lambda found: (-found[1], found[0]))[:depth])
    cosines = _cosines(catalog, signature, query, [id_ for id_, _ in rankings.dense])
    dense = sorted(cosines.items(), key=lambda found: (-found[1], found[0]))
    return Rankings(tuple(dense[:depth]), words)


def ranked(
    catalog: Catalog,
    signature: str,
    query: Vectors | None,
    words: Sequence[Word],
    rankings: Rankings,
    limit: int,
    laps: Laps,
    weights: Weights = WEIGHTS,
) -> list[Ranked]:
    """The best candidates, more than `limit`. `rankings`: as `exact` gives them."""
    fused = fusion.fuse(rankings.dense, rankings.lexical, weights.dense)
    laps.lap("fuse")
    # A point without its row in the catalog belongs to a deleted or not yet recorded document.
    standing = catalog.standing(list(fused))
    best = sorted(standing, key=lambda id_: (-fused[id_], id_))[: max(LOOKED_AT, 2 * limit)]
    candidates = catalog.candidates(best)
    laps.lap("read")
    looked_at = {id_: candidates[id_] for id_ in best[:LOOKED_AT] if id_ in candidates}
    near = nearness(
        words[:_WORDS],
        _tell(catalog, {form for word in words[:_WORDS] for form in word.forms}),
        {id_: lexical.unpack(one.chunk.terms) for id_, one in looked_at.items()},
        {id_: lexical.unpack(one.chunk.fields) for id_, one in looked_at.items()},
    )
    cosines = dict(rankings.dense)
    cosines |= _cosines(catalog, signature, query, [id_ for id_ in looked_at if id_ not in cosines])
    documents = _documents(looked_at, cosines)
    found = dict(rankings.lexical)
    return sorted(
        (
            _one(one, fused[id_], near.get(id_, Nearness()), documents.get(one.document, 0.0), cosines, found, weights)
            for id_, one in candidates.items()
        ),
        key=lambda one: (-one.score, one.candidate.chunk.id),
    )


def _one(
    candidate: Candidate,
    fused: float,
    near: Nearness,
    document: float,
    cosines: Mapping[int, float],
    found: Mapping[int, float],
    weights: Weights,
) -> Ranked:
    id_ = candidate.chunk.id
    own = (fused + weights.pairs * near.pairs + weights.stretch * near.stretch) / weights.whole
    parts = {"fused": fused, "pairs": near.pairs, "stretch": near.stretch, "document": document}
    score = own + weights.document * document / weights.whole
    return Ranked(score, cosines.get(id_), found.get(id_), candidate, own, parts)


def _tell(catalog: Catalog, terms: Collection[int]) -> dict[int, float]:
    """The IDF of each term that some chunk holds, as the store's BM25 has it."""
    frequencies = catalog.frequencies(terms)
    chunks = frequencies.pop(EVERY, 0)
    return {term: log(1 + (chunks - n + 0.5) / (n + 0.5)) for term, n in frequencies.items()}


def _cosines(catalog: Catalog, signature: str, query: Vectors | None, ids: Sequence[int]) -> dict[int, float]:
    vectors = {} if query is None or not ids else catalog.vectors_of(signature, ids)
    if query is None or not vectors:
        return {}
    scores = np.stack(list(vectors.values())).astype(np.float32) @ query
    return dict(zip(vectors, (round(score, 6) for score in scores.tolist()), strict=True))


def _documents(candidates: Mapping[int, Candidate], cosines: Mapping[int, float]) -> dict[int, float]:
    """The best cosine of each document's candidates."""
    best: dict[int, float] = {}
    for id_, one in candidates.items():
        if id_ in cosines:
            best[one.document] = max(best.get(one.document, 0.0), cosines[id_])
    return best
