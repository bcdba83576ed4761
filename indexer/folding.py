"""A passage that stands in several files is found once (pure).

Two chunks are the same passage where they have the same words in the same order, whatever their case, punctuation and
layout; a letter more, less or another within a long word is a slip of the pen. What has another number, name or
negation, or a word more, is another passage: it may be why somebody searches.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from indexer import lexical
from indexer.presenting import Ranked
from indexer.records import searched

_ALIKE = 0.8  # of the shingles that either has: a slip in thirty words; the words themselves decide
_AS_GOOD = 0.98  # of the best copy's score: the freshest of these leads
_SLIP_CHARS = 6
_COMPARED = 16  # with so many before it each is compared
_FEW = 6  # that share a shingle: these are compared whatever their kind
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_NONE = np.uint64(2**64 - 1)
# A sign beside a number is as good as a word.
_WORDS = re.compile(r"\w+|[-−+±<>≤≥](?=\s?\d)|[%‰°€$£¥]")


def folded(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Best first, as `ranked` is. The freshest of the copies that score about best stands for all; a file that stands
    for one passage stands for the next one too, so that neighbours can merge. No file has two passages in one."""
    groups = _near(_equal(ranked))
    if len(groups) == len(ranked):
        return list(ranked)
    leading: set[int] = set()
    led = [_led(group, leading) for group in groups]
    return sorted(led, key=lambda one: -one.score)


def _equal(ranked: Sequence[Ranked]) -> list[list[Ranked]]:
    groups: list[list[Ranked]] = []
    first: dict[bytes, list[Ranked]] = {}
    within: dict[bytes, set[int]] = {}
    for one in ranked:
        key, document = one.candidate.chunk.key, one.candidate.document
        documents = within.setdefault(key, set())
        if documents and document not in documents:
            first[key].append(one)
        else:
            groups.append([one])
            first.setdefault(key, groups[-1])
        documents.add(document)
    return groups


def _near(groups: list[list[Ranked]]) -> list[list[Ranked]]:
    @cache
    def words(at: int) -> tuple[list[str], list[str]]:
        return _words(groups[at][0])

    @cache
    def kind(at: int) -> int:
        return hash(tuple(map(_but_for_slips, words(at)[1])))

    joined: set[int] = set()
    for at, other in _likely([lexical.unpack(group[0].candidate.chunk.terms) for group in groups], kind):
        if joined.isdisjoint((at, other)) and _may_join(groups[at], groups[other]) and _same(words(at), words(other)):
            groups[other] += groups[at]
            joined.add(at)
    return [group for at, group in enumerate(groups) if at not in joined]


def _led(group: Sequence[Ranked], leading: set[int]) -> Ranked:
    if len(group) == 1:
        return group[0]
    best = [one for one in group if one.score >= _AS_GOOD * group[0].score]
    leader = max(best, key=lambda one: (one.candidate.document in leading, one.candidate.mtime_ns))
    leading.add(leader.candidate.document)
    return replace(leader, also_in=tuple(one.candidate.path for one in group if one is not leader))


def _may_join(these: Sequence[Ranked], group: Sequence[Ranked]) -> bool:
    return {one.candidate.document for one in these}.isdisjoint(one.candidate.document for one in group)


def _likely(texts: Sequence[NDArray[np.uint32]], kind: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    """Those that share so much with one before them of their kind, and which: the first pair first."""
    shingles = _shingles(texts)
    # Sets that share so much share one of the least of each: as many as may be missing, and one more.
    least = [own[: len(own) - ceil(_ALIKE * len(own)) + 1] for own in shingles]
    values = np.concatenate(least) if least else np.zeros(0, np.uint64)
    owners = np.repeat(np.arange(len(least)), [len(own) for own in least])
    order = np.argsort(values, kind="stable")
    values, owners = values[order], owners[order].tolist()
    begins = (
        np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1]))) if len(values) else np.zeros(0, np.int64)
    )
    ends = np.append(begins[1:], len(values))
    shared = ends - begins > 1
    pairs: set[tuple[int, int]] = set()
    for begin, end in zip(begins[shared].tolist(), ends[shared].tolist(), strict=True):
        pairs.update(_pairs(owners[begin:end], kind))
    return (pair for pair in sorted(pairs) if _share(shingles[pair[0]], shingles[pair[1]]) >= _ALIKE)


def _pairs(run: Sequence[int], kind: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    """Form letters share nearly all, by the thousand, and each has its own name or number: these are no pairs."""
    if len(run) <= _FEW:
        yield from ((at, other) for place, at in enumerate(run) for other in run[:place])
        return
    before: dict[int, deque[int]] = {}
    for at in run:
        alike = before.setdefault(kind(at), deque(maxlen=_COMPARED))
        yield from ((at, other) for other in alike)
        alike.append(at)


def _shingles(texts: Sequence[NDArray[np.uint32]]) -> list[NDArray[np.uint64]]:
    """The distinct runs of three terms of each text, hashed, in ascending order."""
    lengths = np.array([len(text) for text in texts], np.int64)
    padded = np.zeros((len(texts), int(lengths.max(initial=0)) + 2), np.uint64)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    runs = padded[:, :-2] * _MIX[0] ^ padded[:, 1:-1] * _MIX[1] ^ padded[:, 2:] * _MIX[2]
    runs[np.arange(runs.shape[1]) >= lengths[:, None]] = _NONE
    runs.sort(axis=1)
    runs[:, 1:][runs[:, 1:] == runs[:, :-1]] = _NONE
    runs.sort(axis=1)
    return [row[:count] for row, count in zip(runs, (runs != _NONE).sum(axis=1).tolist(), strict=True)]


def _share(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    if min(len(a), len(b)) < _ALIKE * max(len(a), len(b)):
        return 0.0
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def _words(one: Ranked) -> tuple[list[str], list[str]]:
    """As they are written, and in lower case."""
    written = searched(one.candidate.chunk.context, one.candidate.chunk.text)
    return _WORDS.findall(written), _WORDS.findall(written.lower())


def _same(a: tuple[list[str], list[str]], b: tuple[list[str], list[str]]) -> bool:
    return a[1] == b[1] or (len(a[0]) == len(b[0]) == len(a[1]) == len(b[1]) and all(map(_is_one_word, a[0], b[0])))


def _is_one_word(a: str, b: str) -> bool:
    return a == b or a.lower() == b.lower() or _is_slip(a, b)


def _but_for_slips(word: str) -> str:
    """What words that are one by `_is_one_word` have in common."""
    return word[0] if len(word) >= _SLIP_CHARS and word.isalpha() else word


def _is_slip(a: str, b: str) -> bool:
    """One letter differs in a long word that is no name, in an alphabet that tells names by their capitals."""
    if min(len(a), len(b)) < _SLIP_CHARS or a[0] != b[0] or abs(len(a) - len(b)) > 1:
        return False
    if not all(word.isalpha() and word.islower() for word in (a, b)):
        return False
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[at + (len(a) >= len(b)) :] == b[at + (len(b) >= len(a)) :]
