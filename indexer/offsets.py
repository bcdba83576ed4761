"""Where the tokens of a text lie, in less than half of the time the tokenizer takes for a whole text.

A WordPiece tokenizer cuts a word the same way wherever it stands, and the same few thousand words make up most text:
each is given to the tokenizer once. The offsets are the tokenizer's own to the character.
"""
# tokenizers has no types for its parts.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import re
from functools import cache
from typing import TYPE_CHECKING

from indexer.tokens import Offsets

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# What stands between two ASCII separators goes to the tokenizer as one: accents and scripts are its own business.
_WORD = re.compile(r"[A-Za-z0-9\x80-\U0010ffff]+|[!-/:-@\[-`{-~]")
# BERT drops these before it cuts, which joins the words on both sides.
_DROPPED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LONG_CHARS = 64

_Spans = list[tuple[int, int]]
_Shape = tuple[tuple[int, int], ...]


@cache
def offsets(tokenizer_file: str, most_words: int = 100_000) -> Offsets:
    """`text -> [(start, end) of each token]`, without truncation, padding and special tokens.

    Args:
        most_words: so many are remembered, in about 200 bytes each.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    whole = _Whole(tokenizer)
    return _ByWord(tokenizer, whole, most_words) if _cuts_by_word(tokenizer) else whole


def _cuts_by_word(tokenizer: "Tokenizer") -> bool:
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.model)
    added = tokenizer.get_added_tokens_decoder().values()
    names = [type(part).__name__ for part in parts]
    return names == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and not any(token.normalized for token in added)


class _Whole:
    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> _Spans:
        # encode_batch, for encode holds the GIL all along.
        return self._tokenizer.encode_batch([text], add_special_tokens=False)[0].offsets


class _ByWord:
    """`_known`: the offsets within a word, none where the word is one token from end to end.

    `_shapes`: each of these but once, for many words are cut at the same places.
    """

    def __init__(self, tokenizer: "Tokenizer", whole: _Whole, most_words: int) -> None:
        self._tokenizer, self._whole, self._most_words = tokenizer, whole, most_words
        self._added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._known: dict[str, _Shape | None] = {}
        self._shapes: dict[_Shape, _Shape] = {}

    def __call__(self, text: str) -> _Spans:
        # The text "[MASK]" is one token to the tokenizer, and three words here.
        if _DROPPED.search(text) or any(token in text for token in self._added):
            return self._whole(text)
        if len(self._known) > self._most_words:
            self._known.clear()
            self._shapes.clear()
        # `-` would walk through all that is known.
        new = set(_WORD.findall(text)).difference(self._known)
        self._learn(list(new))
        found: _Spans = []
        for word in _WORD.finditer(text):
            inner = self._known[word[0]]
            if inner is None:
                found.append(word.span())
            else:
                start = word.start()
                found.extend([(start + first, start + after) for first, after in inner])
        for word in new:
            if len(word) > _LONG_CHARS:
                del self._known[word]
        return found

    def _learn(self, words: list[str]) -> None:
        made = self._tokenizer.encode_batch(words, add_special_tokens=False)
        for word, tokens in zip(words, made, strict=True):
            shape = tuple(tokens.offsets)
            self._known[word] = None if shape == ((0, len(word)),) else self._shapes.setdefault(shape, shape)
