"""Where the tokens of a text start, for whatever tokenizer: odd stretches are divided, no word is cut."""

from array import array
from collections.abc import Callable, Iterator, Sequence

# The tokenizer holds the GIL while it lists the offsets of one piece.
_PIECE_CHARS = 50_000
# No word's token is this long: a longer stretch is data (base64, a minified line), counted by its length.
_LONG_CHARS = 24
_DATA_CHARS_PER_TOKEN = 5
_BLANK_CHARS = 1_000

Offsets = Callable[[str], Sequence[tuple[int, int]]]
"""The (start, end) of each token of a text."""


def token_starts(text: str, offsets: Offsets) -> "array[int]":
    """Where each token starts, in rising order; stretches that the tokenizer skips or takes whole are divided."""
    starts, last = array("q"), 0
    for begin, end in _pieces(text):
        for first, after in offsets(text[begin:end]):
            if after > first:
                at = begin + first
                if at - last > _LONG_CHARS:
                    starts.extend(_divided(text, last, at))
                # One letter can be several tokens (Hangul), and marks can be reordered.
                last = max(last, at)
                starts.append(last)
    if starts:
        starts.extend(_divided(text, last, len(text)))
    return starts


def between_words(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    # Chinese and Japanese characters are words of their own here, as they are to WordPiece.
    if "\u2e80" <= before < "\uac00" or "\u2e80" <= after < "\uac00":
        return True
    # Letters, digits and the marks that go with them.
    return not ("_" + before + after).isidentifier()


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Spans to tokenize one by one, cut where that changes no token: at a newline, else between words."""
    begin = 0
    while len(text) - begin > _PIECE_CHARS:
        limit = begin + _PIECE_CHARS
        end = text.rfind("\n", begin, limit) + 1 or text.rfind(" ", begin, limit) + 1
        if end <= begin:
            end = next((at for at in range(limit, begin, -1) if between_words(text, at)), limit)
        yield begin, end
        begin = end
    yield begin, len(text)


def _divided(text: str, begin: int, end: int) -> range:
    stretch = text[begin:end]
    visible = len(stretch.rstrip())
    if visible <= _LONG_CHARS and len(stretch) <= _BLANK_CHARS:
        return range(0)
    until = end if len(stretch) > _BLANK_CHARS else begin + visible
    return range(begin + _DATA_CHARS_PER_TOKEN, until, _DATA_CHARS_PER_TOKEN)
