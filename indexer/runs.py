"""Text without spaces between words becomes words, by its own statistics (pure): no dictionary, no model.

Two letters that stand together far more often than chance has it are of one word; where that bond is weakest a word
ends (pointwise mutual information, Sproat & Shih 1990). Japanese changes its script between words, and is cut there.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from math import inf, log
from unicodedata import name

_WEAK = 1.5
_MOST_LETTERS = 4
_LENGTHENING = "ー々"


class Runs:
    """What stands together in `runs`, stretches of letters without a blank or a sign."""

    def __init__(self, runs: Iterable[str]) -> None:
        self._letters: Counter[str] = Counter()
        self._pairs: Counter[str] = Counter()
        for run in runs:
            self._letters.update(run)
            self._pairs.update(map("".join, pairwise(run)))
        self._count = max(1, self._letters.total())

    def cut(self, run: str) -> list[str]:
        """The words of a run, in order; together they are the run."""
        bonds = [-inf, *map(self._bond, run, run[1:]), -inf]
        words: list[str] = []
        start = 0
        for at in range(1, len(run)):
            weakest = bonds[at] < bonds[at - 1] and bonds[at] <= bonds[at + 1]
            if weakest or bonds[at] < _WEAK or at - start >= _longest(run[at]):
                words.append(run[start:at])
                start = at
        return [*words, run[start:]]

    def _bond(self, a: str, b: str) -> float:
        script = _script(a)
        if b in _LENGTHENING or script == _script(b) == "KATAKANA":
            return inf
        if script != _script(b):
            return -inf
        together = self._pairs[a + b]
        return log(together * self._count / (self._letters[a] * self._letters[b])) if together else -inf


def is_grammar(word: str) -> bool:
    """Japanese writes its particles and endings in hiragana."""
    return all(_script(letter) == "HIRAGANA" for letter in word)


@cache
def _script(letter: str) -> str:
    return name(letter, "").partition(" ")[0].partition("-")[0]


def _longest(letter: str) -> int:
    return _MOST_LETTERS if _script(letter) == "CJK" else 3 * _MOST_LETTERS
