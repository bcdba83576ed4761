"""Text becomes what two texts are compared by: stems, numbers with their units, names, negations (pure)."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from indexer import lexical

_UNSEEN = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_ALIKE = str.maketrans("‐‑‒–—−“”„«»‘’‚`", '------"""""\'\'\'\'')
_EMPHASIS = re.compile(r"\*+|(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)|'{2,}")
_TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:[ \u00a0\u202f,]\d{3})+(?![\d,])(?:\.\d+)?|\d+(?:[.,]\d+)*)"
    r"|(?P<word>[^\W\d_](?:[^\W_]|[\u0300-\u036f\u0900-\u0dff])*)|(?P<sign>[%‰°$€£¥])"
)
_SENTENCE_END = re.compile(r"[.!?:;。！？]\s*$|\n\s*$")

NEGATIONS = frozenset(
    "no not nor neither never none nothing nobody nowhere without cannot cant dont doesnt didnt isnt arent "
    "wasnt werent "
    "wont wouldnt shouldnt couldnt hasnt havent hadnt non lack lacks lacked lacking absence absent fail fails failed "
    "unable nicht kein keine keinen keiner keinem nie niemals ohne pas jamais sans aucun aucune sin nunca jamás ningún "
    "ninguna senza mai não nem sem niet geen nooit inte ingen ikke не нет без никогда".split()
)
_UNSPACED_NEGATION = re.compile(r"[不没沒無无非未勿]|ない|ません|なかっ|않|없|ไม่")
_NOT_NEGATING = re.compile(r"only\b|just\b|merely\b|least\b", re.IGNORECASE)

_NUMBER_WORDS = {
    word: str(value)
    for value, word in (
        *enumerate("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split(), 2),
        *enumerate("sixteen seventeen eighteen nineteen twenty".split(), 16),
        *zip(range(30, 100, 10), "thirty forty fifty sixty seventy eighty ninety".split(), strict=True),
    )
}
_LARGE = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_UNITS = {
    form: forms.split()[0]
    for forms in (
        "% percent percentage pct", "‰", "° degree degrees", "$ dollar dollars usd", "€ euro euros eur", "£ "
        "pound pounds gbp",
        "¥ yen jpy", "ns nanosecond nanoseconds", "ms millisecond milliseconds", "s sec secs second seconds",
        "min mins minute minutes", "h hr hrs hour hours", "day days", "week weeks", "month months", "year years yr yrs",
        "kg kilogram kilograms", "g gram grams", "mg milligram milligrams", "ug µg μg microgram micrograms", "ng",
        "km kilometre kilometres kilometer kilometers", "m metre metres meter meters", "cm", "mm", "um µm μm", "nm",
        "mile miles", "foot feet ft", "inch inches", "l litre litres liter liters", "ml", "ul µl "
        "μl", "kb", "mb", "gb", "tb",
        "bit bits", "byte "
        "bytes", "hz", "khz", "mhz", "ghz", "w", "kw", "mw", "v", "mv", "ma", "pa", "kpa", "bar", "psi",
        "celsius", "fahrenheit", "kelvin", "times", "fold", "thousand", "million", "billion", "trillion",
    )
    for form in forms.split()
}  # fmt: skip


class Token(NamedTuple):
    """`keys`: what it may be matched by, empty for a stop word or a sign; `glued` to the token before, as in HIV-1."""

    raw: str
    keys: tuple[int | str, ...]
    number: bool
    name: bool
    glued: bool
    unit: str | None


@dataclass(frozen=True, slots=True)
class Read:
    """A text as it is compared."""

    text: str
    tokens: tuple[Token, ...]
    places: dict[int | str, tuple[int, ...]]
    lower: dict[str, tuple[int, ...]]
    negations: tuple[int, ...]


def _plain(text: str) -> str:
    return _EMPHASIS.sub("", unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).translate(_ALIKE))


# The passages of a few answers at once, each looked at by many sentences.
@lru_cache(maxsize=64)
def read(text: str) -> Read:
    plain = _plain(text)
    tokens = tuple(_tokens(plain))
    places: dict[int | str, list[int]] = {}
    lower: dict[str, list[int]] = {}
    for place, token in enumerate(tokens):
        lower.setdefault(token.raw.lower(), []).append(place)
        for key in token.keys:
            places.setdefault(key, []).append(place)
    return Read(
        " ".join(plain.lower().split()),
        tokens,
        {key: tuple(found) for key, found in places.items()},
        {word: tuple(found) for word, found in lower.items()},
        tuple(_negations(plain, tokens)),
    )


def _tokens(plain: str) -> Iterable[Token]:
    matches = list(_TOKEN.finditer(plain))
    shouted = sum(match[0][:1].isupper() for match in matches) > 0.6 * len(matches) and len(matches) > 5
    end = -2
    for n, match in enumerate(matches):
        raw, start, kind = match[0], match.start(), match.lastgroup
        glued = start - end <= 1 and n > 0 and plain[start - 1] not in " \n\t,;(|"
        end = match.end()
        value = _NUMBER_WORDS.get(raw.lower()) if kind == "word" else None
        if kind == "number" or value:
            after = matches[n + 1] if n + 1 < len(matches) and matches[n + 1].start() - end <= 1 else None
            yield Token(raw, (value,) if value else _values(raw, after), True, False, glued, _unit(plain, match, after))
        elif kind == "word":
            name = len(raw) > 1 and not raw.islower() and _is_name(plain, match, n == 0, shouted)
            yield Token(raw, stems(raw), False, name, glued, None)
        else:
            yield Token(raw, (), False, False, glued, None)


def _is_name(plain: str, match: re.Match[str], first: bool, shouted: bool) -> bool:
    """HIV, H1N1 and camelCase anywhere; other words with a capital where no sentence begins."""
    raw, start = match[0], match.start()
    if any(sign.isupper() or sign.isdigit() for sign in raw[1:]) and not (shouted and raw.isupper()):
        return True
    if shouted or not raw[0].isupper():
        return False
    before = plain[max(0, start - 3) : start].rstrip("\"'(-*# ") or "\n"
    return not first and not _SENTENCE_END.search(before)


def _values(raw: str, after: re.Match[str] | None) -> tuple[str, ...]:
    """The number as it is compared; "3 million" is 3000000 too."""
    text = re.sub(r"(?<=\d)[ \u00a0\u202f,](?=\d{3}(?!\d))", "", raw)
    text = re.sub(r"^(\d+),(\d+)$", r"\1.\2", text)
    if text.count(".") == 1:
        text = text.rstrip("0").rstrip(".")
    text = text.lstrip("0") or "0"
    text = "0" + text if text.startswith(".") else text
    power = _LARGE.get(after[0].lower()) if after else None
    if power and text.count(".") <= 1 and len(text) < 12:
        return text, f"{round(float(text) * 10**power)}"
    return (text,)


def _unit(plain: str, match: re.Match[str], after: re.Match[str] | None) -> str | None:
    if match.start() and plain[match.start() - 1] in "$€£¥":
        return plain[match.start() - 1]
    return _UNITS.get(after[0].lower()) if after else None


@lru_cache(maxsize=50_000)
def stems(word: str) -> tuple[int, ...]:
    """One for a word, several for a run of a script without spaces, none for a stop word."""
    return tuple(lexical.terms(word[:200]).tolist())


def _negations(plain: str, tokens: Sequence[Token]) -> Iterable[int]:
    apart = [token.raw.lower() for token in tokens]
    for place, word in enumerate(apart):
        after = apart[place + 1] if place + 1 < len(apart) else ""
        if word == "t" and tokens[place].glued and place and apart[place - 1].endswith("n"):
            yield place
        elif word == "no" and after.isdigit():
            continue
        elif word in NEGATIONS:
            if word not in ("not", "nicht", "pas") or not _NOT_NEGATING.match(after):
                yield place
        elif not word.isascii() and _UNSPACED_NEGATION.search(word):
            yield place
