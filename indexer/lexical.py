"""Text becomes terms, 32-bit hashes of its words: stemmed, unaccented, identifiers by their parts too.

`VERSION` is part of the index's signature: raise it when `terms` changes, or what `bm25` makes of them.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from py_rust_stemmers import SnowballStemmer  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

from indexer.language import ENGLISH

VERSION = 4

# Scripts without spaces between words. They and Hangul, whose words carry their particles, are cut into overlapping
# pairs.
_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_HANGUL = r"\u1100-\u11ff\uac00-\ud7ff"
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaa7f"
    rf"\u3040-\u312f\u31f0-\u31ff{_HAN}"
)
PAIRED = UNSPACED + _HANGUL
# Signs that say how a letter is read, which most writers leave out: stress, Hebrew and Arabic points, variants.
_OPTIONAL_SIGNS = (
    r"\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f"
    r"\u0670\u06d6-\u06dc\ufe00-\ufe0f\U000e0100-\U000e01ef"
)
_OPTIONAL = re.compile(f"[{_OPTIONAL_SIGNS}]+")


def _marks() -> str:
    """Vowel signs and the like: letters of the scripts of India and their neighbours, but none to `\\w`."""
    marks = [code for code in range(0x0900, 0xAC00) if unicodedata.category(chr(code)) in ("Mn", "Mc")]
    return "".join(rf"\u{code:04x}" for code in marks)


_MARKS = _marks()
_JOINING = rf"{_OPTIONAL_SIGNS}{_MARKS}\u1160-\u11ff\uff9e\uff9f"
_NUMBER = r"\d{1,3}(?:,\d{3})+(?!\d)"
_ASCII_WORD = re.compile(rf"{_NUMBER}|\w+")
# Khmer's and Burmese's joiner takes the next consonant into the letter.
_LETTER = rf"\w(?:[{_MARKS}]|(?<=[\u17d2\u1039])\w)*"
_WORD = re.compile(rf"{_NUMBER}|(?:(?=[{PAIRED}]){_LETTER})+|[^\W{PAIRED}](?:[^\W{PAIRED}]|[{_MARKS}])*")
_LETTERS = re.compile(_LETTER)
_PAIRED_RUN = re.compile(rf"[{PAIRED}]")
_HAN_LETTER = re.compile(rf"[{_HAN}]")
_HANGUL_LETTER = re.compile(rf"[{_HANGUL}]")
# What normalising may make one character of: a letter with its marks, a syllable of Hangul letters.
_CLUSTER = re.compile(rf"[\x00-\x7f]+(?![{_JOINING}])|.[{_JOINING}]*", re.DOTALL)
_STOP_WORDS = frozenset(
    "a about above after again against all am an and any are as at be because been before being below between both "
    "but by can did do does doing down during each few for from further had has have having he her here hers herself "
    "him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only "
    "or other our ours ourselves out over own same she should so some such than that the their theirs them themselves "
    "then there these they this those through to too under until up very was we were what when where which while who "
    "whom why will with you your yours yourself yourselves".split()
)
# Latin and Greek letters that bear an accent.
_ACCENTED = re.compile("[\u00c0-\u024f\u0370-\u03ff\u1e00-\u1fff]")
_NAME_PART = re.compile(
    r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+(?:\d+[a-z]*)*|[A-Z]+(?:\d+(?:[A-Z]+(?![a-z]))?)*|\d+[A-Za-z]*"
)
_BETWEEN_UNDERSCORES = re.compile("[^_]+")
_PLAIN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[\d,]+")
# covid19 and FY2019 are written apart as well; h1n1, mp3 and NL63 are not.
_NUMBERED = re.compile(r"([A-Za-z]{3,}|[A-Za-z]{2}(?=\d{4}))(\d{2,})")
_PART_CHARS = 3  # by its capitals alone less is no part: RNAs, IgG, CoV


Forms = tuple[int, ...]


class Word(NamedTuple):
    """A word of a query. `forms`: the terms that it may have become, one for each language of the index in which its
    stem is another. `parts`: those of an identifier's parts."""

    forms: Forms
    parts: Forms = ()


@lru_cache(maxsize=200_000)
def _term(word: str, language: str) -> int | None:
    """The hash of a lower-case word's stem; none for a stop word."""
    if word in _STOP_WORDS:
        return None
    # English writes accents or leaves them out; in other languages they tell its stemmer something.
    stem = _stemmer(language).stem_word(_unaccented(word) if language == ENGLISH else word)
    return zlib.crc32(_unaccented(stem).encode())


@cache
def _stemmer(language: str) -> Any:
    return SnowballStemmer(language)  # pyright: ignore[reportUnknownVariableType]


def _unaccented(word: str) -> str:
    """Müller and Muller, résumé and resume are one word. Other alphabets keep theirs: й is no и."""
    if word.isascii() or not _ACCENTED.search(word):
        return word
    plain = (unicodedata.normalize("NFD", letter)[0] if _ACCENTED.match(letter) else letter for letter in word)
    return "".join(plain).replace("ß", "ss")


def terms(text: str, language: str = ENGLISH) -> NDArray[np.uint32]:
    """The term hashes of a text, in reading order, stop words left out. An identifier (getUserName, max_size, FY2019)
    is followed by its parts; a number is one term however its thousands are set apart.

    `language`: one of `LANGUAGES`, by whose rules words are stemmed.
    """
    found: list[int] = []
    for word in _words(text):
        if _PAIRED_RUN.match(word):
            found.extend(zlib.crc32(part.lower().encode()) for _, part in _parts(word))
        else:
            found.extend(_terms_of(word, language))
    return np.array(found, np.uint32)


def asked(text: str, languages: Sequence[str] = (ENGLISH,)) -> list[Word]:
    """The words of a query in reading order, as often as they stand there."""
    words = list[Word]()
    for word in _words(text):
        read = [[term for _, _, term in _placed(word, language)] for language in languages]
        if _PAIRED_RUN.match(word):
            words += [Word((term,)) for term in read[0]]
        elif read[0]:
            forms, *parts = (tuple(dict.fromkeys(same)) for same in zip(*read, strict=True))
            words.append(Word(forms, tuple(chain.from_iterable(parts))))
    return words


def spans(text: str, language: str = ENGLISH) -> Iterator[tuple[int, int, int]]:
    """The same terms as `terms` with the characters of `text` that each is made of: (start, end, term)."""
    plain, starts, ends = _traced(text)
    for word in (_ASCII_WORD if plain.isascii() else _WORD).finditer(plain):
        at = word.start()
        for start, length, term in _placed(word[0], language):
            yield starts[at + start], ends[at + start + length - 1], term


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return _WORD.findall(_OPTIONAL.sub("", unicodedata.normalize("NFKC", text)))


def _traced(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """`text` as `_words` looks at it, and where in `text` each of its characters begins and ends."""
    if text.isascii():
        return text, range(len(text)), range(1, len(text) + 1)
    plain, starts, ends = "", list[int](), list[int]()
    for cluster in _CLUSTER.finditer(text):
        if cluster[0].isascii():
            piece, (start, end) = cluster[0], cluster.span()
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            piece = _OPTIONAL.sub("", unicodedata.normalize("NFKC", cluster[0]))
            starts.extend([cluster.start()] * len(piece))
            ends.extend([cluster.end()] * len(piece))
        plain += piece
    return plain, starts, ends


@lru_cache(maxsize=200_000)
def _terms_of(word: str, language: str) -> tuple[int, ...]:
    return tuple(term for _, _, term in _placed(word, language))


def _placed(word: str, language: str) -> list[tuple[int, int, int]]:
    """(where it begins in `word`, its length, its term)."""
    if _PAIRED_RUN.match(word):
        return [(at, len(part), zlib.crc32(part.lower().encode())) for at, part in _parts(word)]
    found = [(0, len(word), _term(_lower(word).replace(",", ""), language))]
    if "_" in word or (word.isascii() and not _PLAIN.fullmatch(word)):
        found += [(at, len(part), _term(_lower(part), language)) for at, part in _named(word)]
    return [(at, length, term) for at, length, term in found if term is not None]


def _lower(word: str) -> str:
    return _OPTIONAL.sub("", word.lower())  # of İ more than a letter is left


def _named(word: str) -> Iterator[tuple[int, str]]:
    """The parts of an identifier, and where each begins; none of a word that has only one."""
    parts = list(_name_parts(word))
    for at, part in parts:
        if len(parts) > 1 and (len(part) >= _PART_CHARS or "_" in word):
            yield at, part
        if numbered := _NUMBERED.fullmatch(part):
            yield at, numbered[1]
            yield at + len(numbered[1]), numbered[2]


def _name_parts(word: str) -> Iterator[tuple[int, str]]:
    """Capitals tell parts apart in plain letters only."""
    for piece in _BETWEEN_UNDERSCORES.finditer(word):
        if piece[0].isascii():
            yield from ((piece.start() + part.start(), part[0]) for part in _NAME_PART.finditer(piece[0]))
        else:
            yield piece.start(), piece[0]


def _parts(run: str) -> Iterator[tuple[int, str]]:
    """The pairs of neighbouring letters, and those single letters that can be words (猫, ดี, 책을), and where each
    begins."""
    letters = _LETTERS.findall(run)
    before, at = "", 0
    for letter, after in zip_longest(letters, letters[1:]):
        begins_word = _HANGUL_LETTER.match(letter) and not _HANGUL_LETTER.match(before)
        if begins_word or len(letter) > 1 or _HAN_LETTER.match(letter) or len(letters) == 1:
            yield at, letter
        if after:
            yield at, letter + after
        before = letter
        at += len(letter)


def pack(document: NDArray[np.uint32]) -> bytes:
    return document.astype("<u4").tobytes()


def unpack(packed: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(packed, "<u4")
