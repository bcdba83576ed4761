"""The sentences of some passages that answer a question best, word for word (pure).

No model: stemmed question words are counted, rare ones more, and what a passage's heading says counts a little.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import Any

from py_rust_stemmers import SnowballStemmer  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

from wire import Passage

MAX_CHARS = 600
ENOUGH = 0.25
NEAR_BEST = 0.6
HEADING_SHARE = 0.3
QUESTION_SHARE = 0.3

# A run of CJK or Thai letters has no spaces: it is cut into overlapping pairs.
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be because been before being between both but by can could did do "
    "does doing for from get had has have having he her him his how i if in into is it its just many may me might more "
    "most much must my no nor not of off on once only or other our out over own s same she should so some such t than "
    "that the their them then there these they this those to too under until up upon use very was we were what when "
    "where which while who whom whose why will with would you your".split()
)
_stemmer: Any = SnowballStemmer("english")  # pyright: ignore[reportUnknownVariableType]

_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s")
_ROW = re.compile(r"\s*\|")
# Bounded runs: a passage may be one word of a megabyte.
_PROSE_LINE = re.compile(r"(?:[^\W\d_][^\W\d_'’-]{0,30}[,;.]?\s{1,3}){3}\w")
_END = re.compile(r"[.!?…][\"'”’)\]*_]*(?=\s+[\"'“‘(\[*_]*[^\W_a-zß-ÿ])|[。！？][」』）]*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|e\.g|i\.e|cf|vs|etc|al|approx|ca|no|nos|vol|pp?|figs?|eqs?|refs?|sec|tab|dr|mrs?|ms|prof|st|jr|inc|ltd)\.$",
    re.IGNORECASE,
)
# A passage's own reference marks would read as ours.
_MARK = re.compile(r"(?:\[\d+\])+")


@dataclass(frozen=True, slots=True)
class Quote:
    """`text` is an exact part of passage `n` (from 1)."""

    n: int
    text: str


def quotes(question: str, passages: Sequence[Passage], limit: int = 3) -> list[Quote]:
    """At most `limit`, in reading order; none where no sentence shares enough words with the question."""
    asked = words(question)
    candidates = list(_candidates(passages))
    said = [words(quote.text) for quote in candidates]
    frequency = Counter(word for sentence in said for word in sentence)
    weights = {word: log(1 + len(candidates) / frequency[word]) for word in asked if frequency[word]}
    usual = sum(map(len, said)) / max(1, len(said))
    headings = [words(passage.heading or "") for passage in passages]
    scored: list[tuple[float, int]] = []
    for position, (quote, sentence) in enumerate(zip(candidates, said, strict=True)):
        heading = headings[quote.n - 1] - sentence
        if sentence <= asked or len(asked & (sentence | heading)) < ENOUGH * len(asked):
            continue
        score = sum(weights[word] for word in asked & sentence)
        score += HEADING_SHARE * sum(weights.get(word, 1.0) for word in asked & heading)
        score *= (1 + 0.3 / quote.n) / (0.75 + 0.25 * len(sentence) / usual)
        score *= QUESTION_SHARE if quote.text.endswith(("?", "？")) else 1
        if score:
            scored.append((-score, position))
    best = [pair for pair in sorted(scored)[:limit] if pair[0] <= NEAR_BEST * min(scored)[0]]
    return [candidates[position] for position in sorted(position for _, position in best)]


def words(text: str) -> set[str]:
    """Stems of the words that carry meaning; of all words where a text has no others."""
    found = _WORD.findall(text.lower())
    telling = [word for word in found if word not in _STOP_WORDS] or found
    return {part for word in telling for part in _parts(word)}


def _parts(word: str) -> Iterable[str]:
    if re.match(rf"[{_UNSPACED}]", word):
        return [word[i : i + 2] for i in range(len(word) - 1)] or [word]
    return [_stem(word[:64])]


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    return _stemmer.stem_word(word)


def _candidates(passages: Sequence[Passage]) -> Iterable[Quote]:
    """Every sentence once: neighbouring passages overlap."""
    seen: set[str] = set()
    for n, passage in enumerate(passages, start=1):
        for sentence in sentences(passage.text):
            text = max(_MARK.split(sentence), key=len).strip(" \t\n,;:")
            same = " ".join(text.split())
            if same and same not in seen:
                seen.add(same)
                yield Quote(n, text)


def sentences(text: str) -> list[str]:
    """Exact parts of `text` in reading order: sentences of prose, else lines of code, rows and items.

    Headings and lines without a word are left out. At most MAX_CHARS each.
    """
    return [sentence for block in _blocks(text) if block for sentence in _in_block(block)]


def _blocks(text: str) -> Iterable[str]:
    """Paragraphs, items, rows and lines of fenced code."""
    block = ""
    fenced = False
    for line in text.splitlines(keepends=True):
        fence = bool(_FENCE.match(line))
        apart = fence or fenced or not line.strip() or bool(_HEADING.match(line) or _ROW.match(line))
        if apart or _ITEM.match(line):
            yield block
            block = ""
        if fence:
            fenced = not fenced
        elif fenced or _ROW.match(line):
            yield line
        elif not apart:
            block += line
    yield block


def _in_block(block: str) -> Iterable[str]:
    lines = block.splitlines(keepends=True)
    prose = sum(bool(_PROSE_LINE.search(line)) for line in lines)
    for part in [block] if 2 * prose >= len(lines) else lines:
        for sentence in _split(part):
            yield from filter(_WORD.search, _short(sentence.strip()))


def _split(prose: str) -> Iterable[str]:
    start = 0
    for end in _END.finditer(prose):
        if not _ABBREVIATION.search(prose[max(0, end.end() - 12) : end.end()]):
            yield prose[start : end.end()]
            start = end.end()
    yield prose[start:]


def _short(sentence: str) -> Iterable[str]:
    """Cut at the end of a line or a clause, else between words, else anywhere."""
    start = 0
    while len(sentence) - start > MAX_CHARS:
        end = start + MAX_CHARS
        cuts = (sentence.rfind(mark, start, end) + 1 for mark in ("\n", ";", " "))
        cut = next((cut for cut in cuts if cut > start), end)
        yield sentence[start:cut].strip()
        start = cut
    yield sentence[start:].strip()
