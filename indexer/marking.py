"""Which words of a passage are the query's (pure): those that become one of its terms, by the index's own rules."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from indexer import lexical

_BETWEEN_BLANKS = re.compile(r"\S+")
_SHORT = 40  # characters; longer ones are sentences of scripts without blanks, which do not come again


def wanted(query: str, languages: Sequence[str]) -> frozenset[int]:
    """The query's terms, by the rules of each language. A letter that is part of a longer word is not looked for."""
    return frozenset(term for language in languages for term in _worth(list(lexical.spans(query, language))))


def marks(text: str, terms: Collection[int], languages: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Where `terms` stand: (start, end) in characters, in order, none within another."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(set(_found(text, terms, languages))):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _found(text: str, terms: Collection[int], languages: Sequence[str]) -> Iterator[tuple[int, int]]:
    for word in _BETWEEN_BLANKS.finditer(text):
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
