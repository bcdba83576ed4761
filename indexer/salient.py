"""A folder's texts become questions, each about one sentence that no other file has (pure).

passages -> sentences -> the words that the file is about -> some are kept; the rarest and each number are hidden

What is hidden is what such a question would ask for. All words that are kept stand together in no other passage but of
this file, so that there is one right file. It also means that a search for all the words at once finds it: figures from
such questions compare settings and show what is never found; how people's own questions fare they do not tell.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import blake2b
from math import log

import numpy as np
from numpy.typing import NDArray

from indexer import lexical
from indexer.lexical import UNSPACED
from indexer.runs import Runs, is_grammar
from indexer.sentences import sentences

LEAST_HIDDEN, LEAST_KEPT, MOST_KEPT = 2, 4, 7
_UNSPACED_KEPT = 3  # at least: where no blanks are, a word says more
_KEPT_SHARE = 0.6
_PALE = 0.4  # of the strongest word kept: a weaker one goes while there are enough
_COMMON = 0.2  # of the passages: a word that so many have says little
_FEW_PASSAGES = 20  # of fewer no share is to be believed
_FEW_WORDS = 8  # a file with fewer, stop words aside, has almost no text
_TRIED = 12  # sentences of a file, the best first

_WORD = re.compile(
    rf"[{UNSPACED}]+"
    rf"|(?:(?![{UNSPACED}])[^\W_])(?:(?![{UNSPACED}])[\w\u0300-\u036f\u0900-\u0963\u0966-\u0dff]|-(?=\w))*"
)
_UNSPACED = re.compile(rf"[{UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Text:
    """A passage of a file."""

    text: str
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A question, the file and the passage that it was made from, and the sentence there that answers it."""

    id: str
    question: str
    path: str
    sentence: str
    passage: Text


@dataclass(frozen=True, slots=True)
class Unasked:
    """A file that nothing can be asked of, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Word:
    """`weight`: how much the file is about it."""

    written: str
    terms: tuple[int, ...]
    idf: float
    weight: float


def in_turn(paths: Iterable[str], seed: int = 0) -> list[str]:
    """An order that is the same each time, whatever other files there are, and another one for each seed."""
    return sorted(paths, key=lambda path: blake2b(f"{seed}\0{path}".encode(errors="replace")).digest())


def questions(files: Mapping[str, Sequence[Text]], most: int, each: int, seed: int = 0) -> list[Item | Unasked]:
    """At most `most` questions, at most `each` of a file: one of every file before the second of any. Files are
    looked at `in_turn` until there are enough."""
    corpus = _Corpus(files)
    found: list[list[Item]] = []
    unasked: list[Unasked] = []
    for path in in_turn(files, seed):
        of_file = corpus.asked(path, each)
        if isinstance(of_file, Unasked):
            unasked.append(of_file)
        else:
            found.append(of_file)
        if len(found) == most:
            break
    turns = [(turn, n, item) for n, of_file in enumerate(found) for turn, item in enumerate(of_file)]
    return [*(item for _, _, item in sorted(turns, key=lambda one: one[:2])[:most]), *unasked]


class _Corpus:
    """In how many passages each term stands, and in which."""

    def __init__(self, files: Mapping[str, Sequence[Text]]) -> None:
        self._files, self._paths = files, list(files)
        texts = [(n, one.text) for n, path in enumerate(files) for one in files[path]]
        self._runs = Runs(word for _, text in texts for word in _WORD.findall(text) if _UNSPACED.match(word))
        self._known: dict[str, tuple[int, ...]] = {}
        self._forms: dict[tuple[int, ...], Counter[str]] = {}
        self._file_of = np.array([n for n, _ in texts], np.int64)
        of_passages = [np.unique(np.array(self._note(text), np.uint32)) for _, text in texts]
        lengths = [len(terms) for terms in of_passages]
        every = np.concatenate([np.empty(0, np.uint32), *of_passages])
        order = np.argsort(every, kind="stable")
        self._terms = every[order]
        self._passages = np.repeat(np.arange(len(texts)), lengths)[order]

    def asked(self, path: str, each: int) -> list[Item] | Unasked:
        """The file's best questions, one a passage."""
        counts = Counter(term for one in self._files[path] for term in self._note(one.text, count=False))
        if counts.total() < _FEW_WORDS:
            return Unasked(path, "it has almost no text")
        found: list[Item] = []
        used: set[int] = set()
        others: set[str] = set()
        candidates = sorted(self._candidates(path, counts), key=lambda one: -one[0])
        for tried, (_, n, sentence, words) in enumerate(candidates):
            if len(found) == each or (tried >= _TRIED and not found):
                break
            if n in used:
                continue
            for kept in _kept(words):
                if also := self._with_all(kept) - {path}:
                    others |= also
                    continue
                used.add(n)
                found.append(self._item(path, sentence, kept, self._files[path][n]))
                break
        if found:
            return found
        if others:
            return Unasked(path, f"what it says stands in other files too, such as {min(others)}")
        return Unasked(path, "no whole sentence to ask about: tables, lists, headings, data or code")

    def _candidates(self, path: str, counts: Mapping[int, int]) -> Iterator[tuple[float, int, str, list[_Word]]]:
        """(how good, the passage's number, a sentence, its content words)."""
        for n, passage in enumerate(self._files[path]):
            for sentence in sentences(passage.text, path, passage.heading):
                words = self._content(sentence, counts)
                if len(words) >= LEAST_HIDDEN + _least(words):
                    best = sorted((word.weight for word in words), reverse=True)
                    yield sum(best[:MOST_KEPT]) / MOST_KEPT, n, sentence, words

    def _content(self, sentence: str, counts: Mapping[int, int]) -> list[_Word]:
        """Each once, in reading order, without numbers and what stands everywhere."""
        found: dict[tuple[int, ...], _Word] = {}
        for n, written in enumerate(self._words(sentence)):
            terms = self._known.get(written.lower()) or _terms(written.lower())
            if terms and terms not in found and _tells(written, first=n == 0):
                idf, share = max(map(self._idf, terms)), min(map(self._share, terms))
                if share <= _COMMON or len(self._file_of) < _FEW_PASSAGES:
                    found[terms] = _Word(written, terms, idf, idf * log(1 + min(counts[term] for term in terms)))
        return list(found.values())

    def _item(self, path: str, sentence: str, kept: Sequence[_Word], passage: Text) -> Item:
        question = " ".join(self._as_usual(word) for word in kept)
        id_ = blake2b(f"{path}\0{sentence}".encode(errors="replace"), digest_size=6).hexdigest()
        return Item(id_, question, path, sentence, passage)

    def _as_usual(self, word: _Word) -> str:
        """In the form that these files use most: `keeps` is asked for as `keep`."""
        forms = self._forms.get(word.terms)
        return max(forms, key=lambda form: (forms[form], form)) if forms else word.written.lower()

    def _note(self, text: str, *, count: bool = True) -> list[int]:
        """Every word's terms."""
        found: list[int] = []
        for written in self._words(text):
            word = written.lower()
            terms = self._known.get(word)
            if terms is None:
                terms = self._known[word] = _terms(word)
            found.extend(terms)
            if count and terms:
                self._forms.setdefault(terms, Counter())[word] += 1
        return found

    def _words(self, text: str) -> Iterator[str]:
        for word in _WORD.findall(text):
            if _UNSPACED.match(word):
                yield from self._runs.cut(word)
            else:
                yield word

    def _with_all(self, words: Iterable[_Word]) -> set[str]:
        """The files with a passage that has every one of the words."""
        passages = reduce(np.intersect1d, (self._with(term) for word in words for term in word.terms))
        return {self._paths[n] for n in self._file_of[passages].tolist()}

    def _with(self, term: int) -> NDArray[np.int64]:
        first, last = (
            np.searchsorted(self._terms, np.uint32(term), "left"),
            np.searchsorted(self._terms, np.uint32(term), "right"),
        )
        return self._passages[first:last]

    def _share(self, term: int) -> float:
        return len(self._with(term)) / max(1, len(self._file_of))

    def _idf(self, term: int) -> float:
        return log((len(self._file_of) + 1) / (len(self._with(term)) + 0.5))


def _terms(word: str) -> tuple[int, ...]:
    return tuple(lexical.terms(word).tolist())


def _tells(word: str, *, first: bool) -> bool:
    """Whether it can be a content word by its looks: most small words of most languages have three letters at most."""
    if not any(map(str.isalpha, word)) or is_grammar(word):
        return False
    if word.lower() == word.upper():
        return len(word) > 1
    return len(word) > 3 or (len(word) > 1 and word[0].isupper() and not first)


def _kept(words: Sequence[_Word]) -> Iterator[list[_Word]]:
    """What of a sentence's content words is asked with, in reading order: without the rarest; or else with it."""
    least = _least(words)
    count = min(MOST_KEPT, max(least, round(_KEPT_SHARE * len(words))))
    rarest = max(words, key=lambda word: word.idf)
    others = sorted((word for word in words if word is not rarest), key=lambda word: -word.weight)
    for kept in (others[:count], [rarest, *others[: count - 1]]):
        pale = _PALE * max(word.weight for word in kept)
        strong = [word for n, word in enumerate(kept) if n < least or word.weight >= pale]
        yield [word for word in words if word in strong]


def _least(words: Sequence[_Word]) -> int:
    unspaced = sum(bool(_UNSPACED.match(word.written)) for word in words)
    return _UNSPACED_KEPT if 2 * unspaced > len(words) else LEAST_KEPT
