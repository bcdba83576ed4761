"""Terms become a sparse vector: BM25's two sides (Robertson & Zaragoza 2009). The store multiplies by the IDF."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.lexical import Word

K1 = 1.2
B = 0.75
# Above the usual count (about 100 terms a chunk once stop words are gone): long chunks are forgiven a little.
AVERAGE_TERMS = 150
FIELD = 1.0
PART = 0.5  # of a word's weight has each part of it, where the query names an identifier

_NO_TERMS: NDArray[np.uint32] = np.array([], np.uint32)


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: `indices` are distinct 32-bit term hashes, `values` their weights."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


def document_vector(document: NDArray[np.uint32], fields: NDArray[np.uint32] = _NO_TERMS) -> Sparse:
    """Saturated term frequencies of one chunk's terms. A term of what it stands under (`fields`, each once) counts as
    if it stood in the text FIELD times more (BM25F: Robertson, Zaragoza & Taylor 2004)."""
    counts: Counter[int] = Counter(document.tolist())
    weights: dict[int, float] = {**counts, **{term: counts[term] + FIELD for term in fields.tolist()}}
    long = K1 * (1 - B + B * len(document) / AVERAGE_TERMS)
    values = [n * (K1 + 1) / (n + long) for n in weights.values()]
    return Sparse(np.fromiter(weights, np.uint32, len(weights)), np.array(values, np.float32))


def query_vector(words: Iterable[Word]) -> Sparse:
    """Each form of each word counts once, each part of one PART."""
    weights: dict[int, float] = {}
    for word in words:
        weights |= dict.fromkeys(word.forms, 1.0)
        weights |= {part: max(PART, weights.get(part, 0.0)) for part in word.parts}
    distinct = sorted(weights)
    return Sparse(np.array(distinct, np.uint32), np.array([weights[term] for term in distinct], np.float32))
