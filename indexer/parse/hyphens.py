"""Words that were broken at the end of a line are made whole; a hyphen of their own stays."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

MARK = "\x02"
"""Stands where a hyphen and the end of a line stood."""

_LINE_END = re.compile(r"(?<=[^\W\d_])-\r?\n(?=[^\W\d_])")
_SIGNS = "!\"#$%&'()*+,./:;<=>?@[\\]^_`{|}~-“”„‘’«»…•–—"
_BEFORE = re.compile(r"[^\W_]+(?:-[^\W_]+)*$")
_AFTER = re.compile(r"[^\W_]{0,60}")
_WORD_MOST_CHARS = 60
# Shorter ones are syllables as often as words: "re", "ed".
_LEAST_CHARS = 3


def joined(texts: Sequence[str]) -> list[str]:
    """`texts`: the parts of one document, whose other words tell what a broken one is: "infor-mation" is one word
    where "information" stands elsewhere, "well-known" two where it does, or else where both halves are words."""
    texts = [_LINE_END.sub(MARK, text) if "-\n" in text else text for text in texts]
    if not any(MARK in text for text in texts):
        return list(texts)
    words = _words(texts)
    return ["".join(_pieces(text.split(MARK), words)) for text in texts]


def _words(texts: Sequence[str]) -> Counter[str]:
    """How often each stands there; a broken one is none."""
    found, words = Counter[str](), Counter[str]()
    for text in texts:
        found.update(text.lower().split())
    for word, count in found.items():
        words[word.strip(_SIGNS)] += count
    return words


def _halves(part: str, following: str) -> tuple[str, str]:
    before, after = _BEFORE.search(part[-_WORD_MOST_CHARS:]), _AFTER.match(following)
    return before[0] if before else "", after[0] if after else ""


def _pieces(parts: Sequence[str], words: Counter[str]) -> Iterator[str]:
    yield parts[0]
    for part, following in pairwise(parts):
        yield "-" if _has_hyphen(*_halves(part, following), words) else ""
        yield following


def _has_hyphen(before: str, after: str, words: Counter[str]) -> bool:
    one, two = words[f"{before}{after}".lower()], words[f"{before}-{after}".lower()]
    if one or two:
        return two > one
    last = before.rpartition("-")[2].lower()
    if not last or not after or words[last + after.lower()]:
        return False
    if last.isdigit() or after[0].isdigit() or (after[0].isupper() and not before[-1].isupper()):
        return True
    return min(len(last), len(after)) >= _LEAST_CHARS and bool(words[last] and words[after.lower()])
