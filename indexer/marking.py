"""Which words of a passage are the query's (pure): those that become one of its terms, by the index's own rules."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from indexer import lexical

_STRETCH = re.compile(r"\S+")
_ANYTHING = re.compile(r"\S")
_OTHER = r"[^\x00-\x7f]"
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
# What a stem may have otherwise: 1000 is also 1,000, dying is die, skies is sky.
_UNSURE = re.compile(r"\d|.y|.ie$")
_UNSURE_THIRD = re.compile(r"..(?:[iy]|.$|$)")
_SHORT = 40  # characters; longer ones are sentences of scripts without blanks, which do not come again


def wanted(query: str, languages: Sequence[str]) -> frozenset[int]:
    """The query's terms, by the rules of each language. A letter that is part of a longer word is not looked for."""
    return frozenset(term for language in languages for term in _worth(list(lexical.spans(query, language))))


def likely(query: str) -> re.Pattern[str]:
    """What a stretch between blanks has that can hold one of the query's words or parts: how one of these begins, in
    lower case, or another than a plain letter; or anything, where the query has such letters."""
    if not query.isascii():
        return _ANYTHING
    parts = [part.lower() for part in _PARTS.findall(query) if len(lexical.terms(part))]
    begins = {part[: 1 if _UNSURE.match(part) else 2 if _UNSURE_THIRD.match(part) else 3] for part in parts}
    return re.compile("|".join([*sorted(begins), _OTHER]))


def marks(
    text: str, terms: Collection[int], languages: Sequence[str], likely: re.Pattern[str] = _ANYTHING
) -> tuple[tuple[int, int], ...]:
    """Where `terms` stand: (start, end) in characters, in order, none within another. `likely`: the query's, which
    spares most words of a text the look."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(set(_found(text, terms, languages, likely))):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _found(
    text: str, terms: Collection[int], languages: Sequence[str], likely: re.Pattern[str]
) -> Iterator[tuple[int, int]]:
    for at, word in _stretches(text, likely):
        spans = _spans if len(word) <= _SHORT else _spans.__wrapped__
        for language in languages:
            for start, end, term in spans(word, language):
                if term in terms:
                    yield at + start, at + end


def _stretches(text: str, likely: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    lower, after = text.lower(), 0
    if len(lower) != len(text):
        lower, likely = text, _ANYTHING
    for found in likely.finditer(lower):
        at = found.start()
        if at < after:
            continue
        while at > after and not text[at - 1].isspace():
            at -= 1
        stretch = _STRETCH.match(text, at)
        if stretch:
            after = stretch.end()
            yield at, stretch[0]


@lru_cache(maxsize=8192)
def _spans(word: str, language: str) -> Sequence[tuple[int, int, int]]:
    """Passages share most of their words, and to look one up takes a tenth of the time."""
    return tuple(lexical.spans(word, language))


def _worth(spans: Sequence[tuple[int, int, int]]) -> Iterable[int]:
    longer = {at for start, end, _ in spans if end - start > 1 for at in range(start, end)}
    return (term for start, end, term in spans if end - start > 1 or start not in longer)
