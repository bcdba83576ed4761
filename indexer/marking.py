"""Which words of a passage are the query's (pure): those that become one of its terms, by the index's own rules."""

from collections.abc import Collection, Iterable, Sequence

from indexer import lexical


def wanted(query: str, languages: Sequence[str]) -> frozenset[int]:
    """The query's terms, by the rules of each language. A letter that is part of a longer word is not looked for."""
    return frozenset(term for language in languages for term in _worth(list(lexical.spans(query, language))))


def marks(text: str, terms: Collection[int], languages: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Where `terms` stand: (start, end) in characters, in order, none within another."""
    found = {
        (start, end) for language in languages for start, end, term in lexical.spans(text, language) if term in terms
    }
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _worth(spans: Sequence[tuple[int, int, int]]) -> Iterable[int]:
    longer = {at for start, end, _ in spans if end - start > 1 for at in range(start, end)}
    return (term for start, end, term in spans if end - start > 1 or start not in longer)
