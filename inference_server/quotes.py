"""The sentences of some passages that answer a question best, word for word (pure).

No model: stemmed question words are counted, rare ones more; what a passage's heading and a sentence's neighbours say
counts a little, and so does how well search liked the passage. Measured: benchmarks/answers.py.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import Any

from py_rust_stemmers import SnowballStemmer  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

from wire import Passage

MAX_CHARS = 600
ENOUGH = 0.25
NEAR_BEST = 0.6
# Of `_evidence`: below it the passages are of something else than the question.
EVIDENT = 1.25
HEADING_SHARE = 0.3
NEIGHBOUR_SHARE = 0.3
SEARCH_SHARE = 0.6
QUESTION_SHARE = 0.3

# A run of CJK or Thai letters has no spaces: it is cut into overlapping pairs.
_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be because been before being between both but by can could did do "
    "does doing for from get had has have having he her him his how i if in into is it its just many may me might more "
    "most much must my no nor not of off on once only or other our out over own s same she should so some such t than "
    "that the their them then there these they this those to too under until up upon use very was we were what when "
    "where which while who whom whose why will with would you your "
    # Verbs that ask more than they tell.
    "come comes find found get gets give gives go goes happen happens keep let make makes mean means put say says see "
    "show shows take takes tell work works".split()
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
# A passage's own reference marks would read as ours, in each form in which models write them: [3], 【3-5】.
_MARK = re.compile(
    r"(?:[\[【［]\s{0,3}\^?(?:[Pp]assages?\s{0,3})?\d{1,3}(?:\s{0,3}(?:[-–—,;，、]|and)\s{0,3}\d{1,3}){0,50}"
    r"\s{0,3}(?:†[^】\]\n]{0,60})?[\]】］])+"
)


@dataclass(frozen=True, slots=True)
class Quote:
    """`text` is an exact part of passage `n` (from 1)."""

    n: int
    text: str


def quotes(question: str, passages: Sequence[Passage], limit: int = 3) -> list[Quote]:
    """At most `limit`, in reading order; none where the passages have too little of what the question asks."""
    asked = words(question)
    candidates = list(_candidates(passages))
    headings = [words(passage.heading or "") for passage in passages]
    said = [words(quote.text) for quote in candidates]
    frequency = Counter(word for sentence in said for word in sentence)
    weights = {word: log(1 + len(candidates) / (frequency[word] or 0.5)) for word in asked}
    placed = [sentence | headings[quote.n - 1] for quote, sentence in zip(candidates, said, strict=True)]
    if _evidence(weights, candidates, placed, passages) < EVIDENT:
        return []
    weights = {word: weight if frequency[word] else 1.0 for word, weight in weights.items()}
    usual = sum(map(len, said)) / max(1, len(said))
    favourite = max((passage.score for passage in passages), default=0.0)
    scored: list[tuple[float, int]] = []
    for position, (quote, sentence) in enumerate(zip(candidates, said, strict=True)):
        if sentence <= asked or len(asked & placed[position]) < ENOUGH * len(asked):
            continue
        score = _weight(asked & sentence, weights)
        score += HEADING_SHARE * _weight(asked & placed[position] - sentence, weights)
        score += NEIGHBOUR_SHARE * _weight(asked & _beside(position, candidates, said) - placed[position], weights)
        score *= (1 + 0.3 / quote.n) / (0.75 + 0.25 * len(sentence) / usual)
        if favourite > 0:
            score *= 1 - SEARCH_SHARE + SEARCH_SHARE * passages[quote.n - 1].score / favourite
        score *= QUESTION_SHARE if quote.text.endswith(("?", "？")) else 1
        if score:
            scored.append((-score, position))
    best = [pair for pair in sorted(scored)[:limit] if pair[0] <= NEAR_BEST * min(scored)[0]]
    return [candidates[position] for position in sorted(position for _, position in best)]


def _evidence(
    weights: Mapping[str, float], candidates: Sequence[Quote], placed: Sequence[set[str]], passages: Sequence[Passage]
) -> float:
    """How much there is to answer from: the shares of the question's words in the best passage and in the best sentence
    (with its heading), and half of the best score of search, 1 where search gave none."""
    whole = sum(weights.values())
    if not candidates or not whole:
        return 0.0
    of_passage: dict[int, set[str]] = {}
    for quote, sentence in zip(candidates, placed, strict=True):
        of_passage.setdefault(quote.n, set()).update(sentence)
    shares = [
        max(_weight(weights.keys() & part, weights) for part in parts) / whole
        for parts in (of_passage.values(), placed)
    ]
    return sum(shares) + 0.5 * (max(passage.score for passage in passages) or 1.0)


def _beside(position: int, candidates: Sequence[Quote], said: Sequence[set[str]]) -> set[str]:
    near = (other for other in (position - 1, position + 1) if 0 <= other < len(said))
    return set[str]().union(*(said[other] for other in near if candidates[other].n == candidates[position].n))


def _weight(found: Iterable[str], weights: Mapping[str, float]) -> float:
    return sum(weights[word] for word in found)


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
