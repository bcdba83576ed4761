"""Which encoding an older program wrote: the one under which the bytes cost the fewest bits (pure).

A letter costs what it is worth in the language that fits best, what no language writes costs much. So the same few
words decide alike in a file of their own and in the middle of English or a table of numbers.
"""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from indexer.parse.letters import GROUPS

_SAMPLE_BYTES = 8_192
# No encoding here has a byte below "0" within a character, so words can be taken out one by one.
_WORD = re.compile(rb"[\x80-\xff][^\x00-\x2f]{0,400}")
_WORD_START = re.compile(rb"[^\x00-\x2f]*\Z")
_WORD_BYTES = 64

# How much dearer a reading may be that, other than the best, leaves nothing unread.
_NEAR = 1.1
_ASCII_BITS = 4.5
_BROKEN_BITS = 28
_CONTROL_BITS = 20
_RARE_BITS = 15
_COMMON_SIGNS = "’“”„«»–—…•°€£§©®·¿¡\u00a0"
_SIGN_BITS = 6
_OTHER_SIGN_BITS = 10
# A letter of real UTF-16 costs 4 to 8; of 11 360 texts misread as it, none of 8 bytes or more costs below 10.3.
_PLAUSIBLE_BITS = 10
_SHORT_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Encoding:
    """`bits`: what it costs to be this rarely written an encoding. `wide`: its row of a Chinese, Japanese or Korean
    set (codec, first and last lead byte) that holds the everyday characters."""

    name: str
    languages: tuple[str, ...]
    bits: float
    wide: tuple[str, int, int] | None = None


_ENCODINGS = (
    _Encoding("cp1252", ("de", "fr", "es", "pt", "it", "nl", "sv", "da", "fi", "is"), 0),
    _Encoding("cp1250", ("pl", "cs", "sk", "hu", "ro", "hr", "sl"), 3),
    _Encoding("cp1251", ("ru", "uk", "bg", "sr"), 3),
    _Encoding("cp932", ("ja",), 3, ("euc_jp", 0xB0, 0xCF)),
    _Encoding("gb18030", ("zh",), 3, ("gb2312", 0xB0, 0xD7)),
    _Encoding("cp950", ("zh_TW",), 4, ("big5", 0xA4, 0xC6)),
    _Encoding("cp949", ("ko",), 4, ("euc_kr", 0xB0, 0xC8)),
    _Encoding("euc_jp", ("ja",), 5, ("euc_jp", 0xB0, 0xCF)),
    _Encoding("cp1253", ("el",), 5),
    _Encoding("cp1254", ("tr",), 5),
    _Encoding("cp1257", ("lt", "lv", "et"), 5),
    _Encoding("iso8859_2", ("pl", "cs", "sk", "hu", "ro", "hr", "sl"), 7),
    _Encoding("koi8_r", ("ru",), 7),
    _Encoding("cp1255", ("he",), 4),
    _Encoding("cp1256", ("ar", "fa"), 4),
    _Encoding("cp874", ("th",), 4),
    _Encoding("cp866", ("ru",), 9),
)
# A Latin letter outside of ASCII, upper case here, between two others: a vowel stands with consonants and the reverse.
# Means over 16 languages; "-" is no letter.
_CONTEXT_BITS = {
    "cVc": 1, "cV-": 2, "cVv": 4, "-Vc": 4, "vVc": 4, "vV-": 6, "-V-": 7, "vVv": 10, "-Vv": 10,
    "vCv": 1, "vCc": 3, "cCv": 3, "vC-": 4, "-Cv": 4, "cCc": 5, "-Cc": 6, "cC-": 7, "-C-": 12,
}  # fmt: skip
# Italian has them at the end of words, and è is one.
_FINAL_BITS = {"-V-": 1, "cV-": 2, "vV-": 3, "cVc": 4, "cVv": 6, "vVc": 6, "vVv": 7, "-Vv": 10, "-Vc": 10}
_OTHER = r"[\u0370-\u04ff\u0590-\u06ff\u0e00-\u0e7f]"
_HAN = r"[\u4e00-\u9fff\uac00-\ud7a3\uff61-\uff9f]"
_SIGN = r"[\u00a0-\u00b6\u00b8-\u00bf\u00d7\u00f7\u2013-\u2018\u201a-\u20ac]"
_ODD = re.compile(
    # Another alphabet within a word, a capital within one, a sign within one.
    rf"[A-Za-z]{_OTHER}|{_OTHER}[A-Za-z]|[a-z]{_HAN}|{_HAN}[a-z]"
    r"|[a-zß-öø-ÿа-яα-ω][À-ÖØ-ÞА-ЯΑ-Ω]"
    rf"|[A-Za-z]{_SIGN}[a-z]|[a-z][©¦¶±¡¿][^\w]|[©¦¶±][a-zß-ÿ]"
    # Portuguese has ão and ãe, Spanish ñ before a vowel: else it is Romanian and Polish, misread.
    r"|ã(?![oes])|ñ(?=[bcdfghjklmpqrstvwxz])"
)
_ODD_BITS = 5
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f]")


def decode(data: bytes) -> str:
    """The text of bytes that are neither UTF-8 nor UTF-16. What cannot be read is U+FFFD."""
    sample = b" ".join(_words(data))
    costs = {encoding.name: _bits(sample, encoding) for encoding in _ENCODINGS}
    best = min(costs, key=costs.__getitem__)
    near = [name for name, cost in costs.items() if cost <= costs[best] * _NEAR]
    for name in sorted(near, key=costs.__getitem__):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue  # further down stands what the sample had not
    return data.decode(best, "replace")


def _words(data: bytes) -> Iterator[bytes]:
    size = 0
    for word in _WORD.finditer(data):
        before = _WORD_START.search(data[max(0, word.start() - _WORD_BYTES) : word.start()])
        whole = (before[0] if before else b"") + word[0]
        yield whole
        size += len(whole)
        if size > _SAMPLE_BYTES:
            return


def _bits(sample: bytes, encoding: _Encoding) -> float:
    text = sample.decode(encoding.name, "replace")
    return encoding.bits + _text_bits(text, encoding) + _ODD_BITS * len(_ODD.findall(text))


def _text_bits(text: str, encoding: _Encoding) -> float:
    """What the letters cost in the language that fits best."""
    letters = [(letter, count, _letter_bits(letter, encoding.wide)) for letter, count in Counter(text).items()]
    contexts = _contexts(text)

    def cost(language: str) -> float:
        known = _table(language)
        return sum(count * known.get(letter, bits) for letter, count, bits in letters) + sum(
            count * _context_bits(context, language) for context, count in contexts.items()
        )

    return min(map(cost, encoding.languages))


_PLAIN = {"ı": "i", "æ": "a", "ø": "o", "œ": "o"}


class _Kinds(dict[int, str]):
    def __missing__(self, code: int) -> str:
        self[code] = kind = _kind(chr(code))
        return kind


def _kind(letter: str) -> str:
    """v or c, upper case outside of ASCII."""
    if not letter.isalpha() or letter >= "\u0250" or letter in "ªº":
        return "-"
    plain = _PLAIN.get(letter.lower()) or unicodedata.normalize("NFD", letter.lower())[0]
    kind = "v" if plain in "aeiouy" else "c"
    return kind if letter < "\x80" else kind.upper()


_KINDS = _Kinds()


def _contexts(text: str) -> Counter[str]:
    """How often each kind of Latin letter outside of ASCII stands between which."""
    kinds = f"-{text}-".translate(_KINDS)
    around = Counter(zip(kinds.lower(), kinds[1:], kinds[2:].lower(), strict=False))
    return Counter({"".join(three): count for three, count in around.items() if three[1] in "VC"})


def _context_bits(context: str, language: str) -> int:
    special = _FINAL_BITS.get(context) if language == "it" else None
    return special or _CONTEXT_BITS.get(context, 10)


@cache
def _table(language: str) -> dict[str, int]:
    groups = GROUPS[language].split(" ")
    return {letter: bits for bits, letters in enumerate(groups, 1) for letter in letters}


def _letter_bits(letter: str, wide: tuple[str, int, int] | None) -> float:
    """A letter that the language's table does not have."""
    if letter < "\x80":
        return _ASCII_BITS
    if letter == "\ufffd":
        return _BROKEN_BITS
    if letter < "\xa0" or "\ue000" <= letter < "\uf900":
        return _CONTROL_BITS
    if letter in _COMMON_SIGNS:
        return _SIGN_BITS
    if wide is not None:
        return _wide_bits(letter, *wide)
    return _RARE_BITS if letter.isalpha() else _OTHER_SIGN_BITS


def _wide_bits(letter: str, codec: str, first: int, last: int) -> float:
    lead = letter.encode(codec, "ignore")[:1]
    if not lead:
        return 20
    return 12 if first <= lead[0] <= last else 16


def utf16(data: bytes) -> str | None:
    """The byte order of UTF-16 without a mark in a language that has no Latin letters; none where it is not that."""
    if len(data) % 2 or len(data) < _SHORT_BYTES:
        return None
    sample = data[: _SAMPLE_BYTES & ~1]
    return next((name for name in ("utf-16-le", "utf-16-be") if _is_plausible(sample, name)), None)


def _is_plausible(sample: bytes, name: str) -> bool:
    try:
        text = codecs.getincrementaldecoder(name)().decode(sample)
    except UnicodeDecodeError:
        return False
    if _CONTROLS.search(text):
        return False
    return min(_text_bits(text, encoding) for encoding in _ENCODINGS) <= _PLAUSIBLE_BITS * len(text)
