"""One question, read (pure): its words without what asks nothing, spelt out, and what stands in front put behind."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from bridge import wording as w
from bridge.clause import AUXILIARY, Asked, Word, infinitive, linked, order
from bridge.endings import lemma

_QUOTED = re.compile(r'"([^"]+)"|`([^`]+)`|«([^»]+)»|(?<!\w)\'([^\']+)\'(?!\w)')
_PLAIN = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*(?:'s|')?")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*(?:st|nd|rd|th|s)?")
_SIDES = "?!.,;:)]}…"
_AT_END = "?!.,;:)]}…"


def read(text: str) -> Asked:
    rest, quoted = _unquoted(text)
    rest, asks_if = _asked_only(rest)
    for pattern, other in w.REWRITES:
        rest = pattern.sub(other, rest)
    words = _fronted_last(_to_do(_words(rest, quoted)))
    asked = Asked("what", lower=text[1:] == text[1:].lower())
    if asks_if and words and words[0].text in ("if", "whether"):
        words, asked.kind = words[1:], "whether"
    order(asked, words)
    asked.words = linked(asked.words)
    return asked


def _ended(text: str) -> str:
    """Without the signs that end it; 5! is no exclamation."""
    bare = text.rstrip()
    while bare and bare[-1] in _AT_END and not (bare[-1] == "!" and bare[-2:-1].isdigit()):
        bare = bare[:-1] if bare[-1] == "!" else bare.rstrip(_AT_END.replace("!", "") + " ")
    return bare


def _unquoted(text: str) -> tuple[str, list[str]]:
    """The text with a mark for each quotation, and the quotations, which are compared letter by letter."""
    quoted: list[str] = []

    def kept(found: re.Match[str]) -> str:
        quoted.append(next(group for group in found.groups() if group))
        return f" \x00{len(quoted) - 1} "

    return _QUOTED.sub(kept, text), quoted


def _asked_only(text: str) -> tuple[str, bool]:
    """Without greetings and thanks; whether something was said before the question."""
    text = _ended(w.AFTER.sub("", text.strip()))
    begun = text
    shorter = True
    while shorter:
        shorter = False
        for pattern in w.AROUND:
            if (found := pattern.match(text)) and found.end() < len(text):
                text, shorter = text[found.end() :], True
    return text, text != begun


def _words(text: str, quoted: Sequence[str]) -> list[Word]:
    found: list[Word] = []
    link = ""
    for n, part in enumerate(text.split()):
        if part.startswith("\x00"):
            found.append(Word(f'"{quoted[int(part[1:])]}"', link=link, raw="quoted"))
            link = ""
            continue
        bare = _ended(part).lstrip("([{")
        comma = part.endswith((",", ";", ":"))
        if not bare:
            continue
        if _PLAIN.fullmatch(bare) and (bare == bare.lower() or bare[1:] == bare[1:].lower()):
            owner = bare.endswith(("'s", "'"))
            stem = bare.lower().removesuffix("'s").removesuffix("'")
            capital = None if n == 0 or bare == "I" else bare[0].isupper()
            if bare == "A" and n:
                found.append(Word("A", link=link, comma=comma, raw=bare))
            else:
                text_ = w.MISSPELT.get(stem, stem)
                found.append(Word(text_, link=link, cased=capital, comma=comma, raw=bare))
            link = "'s" if owner else ""
        else:
            found += _odd(bare, link, comma)
            link = ""
    return found


def _odd(bare: str, link: str, comma: bool) -> list[Word]:
    """Numbers and names that are no words: as they are written."""
    owner = bare.endswith("'s")
    bare = bare.removesuffix("'s")
    if bare.endswith("%") and _NUMBER.fullmatch(bare[:-1]):
        return [Word(_number(bare[:-1]), link=link, raw=bare), Word("percent", comma=comma, raw=bare)]
    text = _number(bare) if _NUMBER.fullmatch(bare) else bare
    words = [Word(text, link=link, comma=comma, raw=bare)]
    return [*words, Word("'s", raw="'s")] if owner else words


def _number(text: str) -> str:
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    return re.sub(r"(?:st|nd|rd|th)$", "th", text)


def _to_do(words: list[Word]) -> list[Word]:
    """ "The rules for joining the club", "the rules to join the club"."""
    for n in range(len(words) - 1):
        doing, after = words[n + 1], words[n + 2].text if n + 2 < len(words) else "the"
        if words[n].text == "for" and after in w.DETERMINERS and lemma(doing.text)[1] == "ing":
            words[n : n + 2] = [replace(words[n], text="to"), infinitive(doing)]
    return words


def _fronted_last(words: list[Word]) -> list[Word]:
    """ "In Rome, how …" becomes "how … in Rome", "on which port …" "which port … on"."""
    if len(words) < 3 or words[0].text not in w.FRONTED | {"to", "by", "of"}:
        return words
    second = words[1].text
    if second in w.WH and words[0].text not in ("if", "when", "since"):
        return [*words[1:], words[0]]
    end = next((n for n, word in enumerate(words) if word.comma), None)
    if end is None and words[0].text not in ("if", "when"):
        end = next((n - 1 for n, word in enumerate(words) if n > 1 and word.text in w.WH), None)
    if end is None or end + 1 >= len(words) or words[end + 1].text not in w.WH | AUXILIARY:
        return words
    moved = [replace(word, comma=False) for word in words[: end + 1]]
    return [*words[end + 1 :], *moved]


def tidied(question: str) -> str:
    text = unicodedata.normalize("NFC", question.replace("\x00", " ")).translate(_QUOTES)
    return _ended(" ".join(text.split()))


def bare_words(text: str) -> list[str]:
    """Word by word as they are written."""
    return [bare for part in text.split() if (bare := _ended(part).lstrip("([{¿¡"))]


def is_word(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text))


def is_foreign(text: str) -> bool:
    """Not in English, or not for certain."""
    words = [word.casefold() for word in bare_words(text)]
    if not w.FOREIGN.isdisjoint(words):
        return True
    return w.ENGLISH.isdisjoint(words) and not (text.isascii() and w.ELSEWHERE.isdisjoint(words))


_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "\u00a0": " "})
