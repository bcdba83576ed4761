"""Text becomes terms, terms become a sparse vector: BM25's document side (Robertson & Zaragoza 2009).

The store multiplies by the IDF. `VERSION` is part of the index's signature: raise it when `terms` changes.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from py_rust_stemmers import SnowballStemmer  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

VERSION = 2
K1 = 1.2
B = 0.75
# Above the usual count (about 100 terms a chunk once stop words are gone): long chunks are forgiven a little.
AVERAGE_TERMS = 150

# A run of CJK or Thai letters has no spaces: it is cut into overlapping pairs.
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]")
_STOP_WORDS = frozenset(
    "a about above after again against all am an and any are as at be because been before being below between both "
    "but by can did do does doing down during each few for from further had has have having he her here hers herself "
    "him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only "
    "or other our ours ourselves out over own same she should so some such than that the their theirs them themselves "
    "then there these they this those through to too under until up very was we were what when where which while who "
    "whom why will with you your yours yourself yourselves".split()
)
_stemmer: Any = SnowballStemmer("english")  # pyright: ignore[reportUnknownVariableType]


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector: `indices` are distinct 32-bit term hashes, `values` their weights."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


@lru_cache(maxsize=200_000)
def _term(word: str) -> int | None:
    """The hash of a lower-case word's stem; none for a stop word."""
    return None if word in _STOP_WORDS else zlib.crc32(_stemmer.stem_word(word).encode())


def terms(text: str) -> NDArray[np.uint32]:
    """The term hashes of a text, in reading order, stop words left out."""
    found: list[int] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        if _UNSPACED_RUN.match(word):
            pairs = [word[i : i + 2] for i in range(len(word) - 1)] or [word]
            found.extend(zlib.crc32(pair.encode()) for pair in pairs)
        elif (term := _term(word)) is not None:
            found.append(term)
    return np.array(found, np.uint32)


def pack(document: NDArray[np.uint32]) -> bytes:
    return document.astype("<u4").tobytes()


def unpack(packed: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(packed, "<u4")


def document_vector(document: NDArray[np.uint32]) -> Sparse:
    """Saturated term frequencies of one chunk's terms."""
    counts: Counter[int] = Counter(document.tolist())
    long = K1 * (1 - B + B * len(document) / AVERAGE_TERMS)
    values = [n * (K1 + 1) / (n + long) for n in counts.values()]
    return Sparse(np.fromiter(counts, np.uint32, len(counts)), np.array(values, np.float32))


def query_vector(query: Sequence[int] | NDArray[np.uint32]) -> Sparse:
    """Each distinct term counts once."""
    distinct = np.unique(np.asarray(query, np.uint32))
    return Sparse(distinct, np.ones(len(distinct), np.float32))
