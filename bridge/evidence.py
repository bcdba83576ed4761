"""How well a search and an answer do what they did for a question before (pure, by words alone).

Texts are compared by their letters and digits, so neither a passage's borders nor blanks, marks or case matter.
"""

from collections.abc import Sequence

from bridge.claims import claiming, sentences
from bridge.grounding import Checked, checked
from bridge.service import Answer
from bridge.support import support
from indexer.hits import Hit

_RUN = 20  # letters that quote and passage share in a row, before they count: some four words
_HELD = 0.5  # of a quote makes a passage the one that has it


def found(quotes: Sequence[str], passages: Sequence[str]) -> float | None:
    """0..1: how much of the quotes stands in the passages, together. Null without a quote."""
    shares = [share for quote in quotes if (share := _cover(quote, passages)) is not None]
    return sum(shares) / len(shares) if shares else None


def first_at(quotes: Sequence[str], passages: Sequence[str]) -> float | None:
    """1 / the rank of the first passage that has the better part of a quote; 0 where none has."""
    if found(quotes, ()) is None:
        return None
    for rank, passage in enumerate(passages, 1):
        if any((_cover(quote, [passage]) or 0.0) >= _HELD for quote in quotes):
            return 1 / rank
    return 0.0


def kept(reference: str, answer: str) -> float | None:
    """0..1: how far the answer still says what the reference said, sentence by sentence. Null where that claims
    nothing."""
    said = [one.text for one in claiming(list(sentences(reference)))]
    bare = "\n".join(one.text for one in sentences(answer))
    return sum(support(one, bare) for one in said) / len(said) if said else None


def groundedness(answer: Answer) -> float | None:
    """0..1: by its least supported sentence. Null where nothing is claimed."""
    return min((claim.support for claim in _checked(answer).claims), default=None)


def _checked(answer: Answer) -> Checked:
    """By the passages that it cites: no other bears out a sentence."""
    passages = {one.n: one.passage for one in answer.citations}
    hits = [Hit("", "", 0.0, passages.get(n, "")) for n in range(1, max(passages, default=0) + 1)]
    return checked(answer.answer, hits)


def _cover(quote: str, passages: Sequence[str]) -> float | None:
    letters = _letters(quote)
    if not letters:
        return None
    run = min(_RUN, len(letters))
    texts = [_letters(passage) for passage in passages]
    runs = {text[at : at + run] for text in texts for at in range(len(text) - run + 1)}
    covered = bytearray(len(letters))
    for at in range(len(letters) - run + 1):
        if letters[at : at + run] in runs:
            covered[at : at + run] = b"\x01" * run
    return sum(covered) / len(letters)


def _letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())
