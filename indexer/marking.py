"""Which words of a passage are the query's (pure): those that become one of its terms, by the index's own rules."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from indexer import lexical

_BETWEEN_BLANKS = re.compile(r"\S+")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_UNSURE = re.compile(r"\d|.y|.ie$", re.IGNORECASE)  # 1000 is also 1,000, and dying is die
_SHORT = 40  # characters; longer ones are sentences of scripts without blanks, which do not come again


def wanted(query: str, languages: Sequence[str]) -> frozenset[int]:
    """The query's terms, by the rules of each language. A letter that is part of a longer word is not looked for."""
    return frozenset(term for language in languages for term in _worth(list(lexical.spans(query, language))))


def beginnings(query: str) -> re.Pattern[str] | None:
    """What a word in plain letters holds if it is the query's or has a part that is: how one of the query's begins.
    None where the query has other letters too."""
    if not query.isascii():
        return None
    parts = [part for part in _PARTS.findall(query) if len(lexical.terms(part))]
    words = {part[: 1 if _UNSURE.match(part) else 2] for part in parts}
    return re.compile("|".join(map(re.escape, sorted(words))) or "(?!)", re.IGNORECASE)


def marks(
    text: str, terms: Collection[int], languages: Sequence[str], beginnings: re.Pattern[str] | None = None
) -> tuple[tuple[int, int], ...]:
    """Where `terms` stand: (start, end) in characters, in order, none within another. `beginnings`: those of the query,
    which spare most words of a text the look."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(set(_found(text, terms, languages, beginnings))):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _found(
    text: str, terms: Collection[int], languages: Sequence[str], sparing: re.Pattern[str] | None
) -> Iterator[tuple[int, int]]:
    for word in _BETWEEN_BLANKS.finditer(text):
        if sparing and word[0].isascii() and not sparing.search(word[0]):
            continue
        at, spans = word.start(), _spans if len(word[0]) <= _SHORT else _spans.__wrapped__
        for language in languages:
            for start, end, term in spans(word[0], language):
                if term in terms:
                    yield at + start, at + end


@lru_cache(maxsize=8192)
def _spans(word: str, language: str) -> Sequence[tuple[int, int, int]]:
    """Passages share most of their words, and to look one up takes a tenth of the time."""
    return tuple(lexical.spans(word, language))


def _worth(spans: Sequence[tuple[int, int, int]]) -> Iterable[int]:
    longer = {at for start, end, _ in spans if end - start > 1 for at in range(start, end)}
    return (term for start, end, term in spans if end - start > 1 or start not in longer)
