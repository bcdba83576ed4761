"""A chunk becomes its sentences: those that read as something somebody wrote to be read (pure).

No headings, tables, lists of references, data or code; of code, what its comments and docstrings say.
"""

import re
from collections.abc import Iterator
from unicodedata import category

from indexer import lexical

_CODE = re.compile(
    r"\.(?:py|pyi|pyw|[mc]?[jt]s|[jt]sx|vue|svelte|go|rs|java|kts?|scala|[ch]|cc|[ch]pp|cxx|hh|cs|swift|mm?|rb|php|p[lm]|"
    r"lua|r|jl|dart|exs?|erl|hs|clj|ml|fs|sh|bash|zsh|fish|ps1|bat|sql|graphql|proto|tf|s?css|less|cmake|mk|nix|zig)$",
    re.IGNORECASE,
)
# Scripts without spaces between words. Korean has them.
_UNSPACED = re.compile(rf"[{lexical.UNSPACED}]")
_NO_STOPS = re.compile(r"[\u0e00-\u0eff]$")  # Thai and Lao end a sentence with a blank

_END = re.compile(
    r"[.!?…؟।][\"'”’»)\]]*(?=\s+[\"'“„«‘¿¡(\[]*[^\Wa-zß-öø-ÿα-ωа-џ_])|[。！？។။][」』”’）]*"
    r"|(?<=[\u0e00-\u0eff])(?=\s+[\u0e00-\u0eff])"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[^\W\d_]|e\.g|i\.e|cf|vs|al|approx|ca|nos?|vol|pp?|figs?|eqs?|refs?|dr|mrs?|ms|prof|st|jr|inc|ltd|"
    r"z\.B|d\.h|u\.a|bzw|ggf|Nr|Abb|S)\.$",
    re.IGNORECASE,
)
_ENDED = re.compile(r"[.!?…؟।。！？។။][\"'”’»)\]」』）]*$")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s|\s*\*\*[^*\n]+\*\*:?\s*$|={2,}\s|\s*[-=~^]{3,}\s*$")
_TABLE = re.compile(r"\s*\||.*\t.*\t|.*\S {3,}\S.* {3,}\S")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_COMMENT = re.compile(r"\s*(?:#+!?|//+!?|--+|;+|%+)(?:\s|$)")
_BLOCK_COMMENT = re.compile(r"/\*+(.*?)\*+/", re.DOTALL)
_STAR = re.compile(r"^\s*\*+\s?", re.MULTILINE)
_DOCSTRING = re.compile(r"(\"\"\"|''')(.*?)\1", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]\n]{1,200})\]\([^)\n]{1,500}\)")
_NO_PROSE = re.compile(r"[={}<>\\|^]|::|->|\w\((?!\)|s\))|https?:|www\.|\w@\w|\bdoi\b|\bet al\b|\.{4,}", re.IGNORECASE)
_CASED = re.compile(r"[^\W\d_]+")

_LEAST_CHARS, _MOST_CHARS = 45, 320
_LEAST_UNSPACED, _MOST_UNSPACED = 15, 120


def sentences(text: str, path: str = "", heading: str | None = None) -> list[str]:
    """In reading order, each on one line. `path`: by its suffix code is known; `heading`: what the chunk stands under,
    which is no sentence of it."""
    code = bool(_CODE.search(path))
    above = {part.strip() for part in (heading or "").split(" > ")}
    blocks = _comments(text) if code else _paragraphs(text)
    found = (sentence for block in blocks for sentence in _split(block))
    return [one for one in dict.fromkeys(found) if one not in above and _reads(one, lower=code)]


def holds(text: str, sentence: str) -> bool:
    """Whether `text`, as a file has it, has one of its `sentences`: line ends, marks and leaders may stand between."""
    return _squeezed(sentence) in _squeezed(_LINK.sub(r"\1", text))


def _squeezed(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def _paragraphs(text: str) -> Iterator[str]:
    """Each on one line. A list's items are paragraphs of their own."""
    block, fenced = "", False
    for line in text.splitlines():
        if fence := _FENCE.match(line):
            fenced = not fenced
        apart = fence or fenced or not line.strip() or _HEADING.match(line) or _TABLE.match(line)
        item = _ITEM.match(line)
        if apart or item:
            yield block
            block = "" if apart else line[item.end() :] if item else ""
        else:
            block = _joined(block, line.strip())
    yield block


def _joined(block: str, line: str) -> str:
    if not block:
        return line
    unspaced = _UNSPACED.match(block[-1]) or block[-1] in "。，、；：！？"
    return block + ("" if unspaced and not line[:1].isascii() else " ") + line


def _comments(text: str) -> Iterator[str]:
    for documented in _DOCSTRING.finditer(text):
        yield from _paragraphs(documented[2])
    for remark in _BLOCK_COMMENT.finditer(text):
        yield from _paragraphs(_STAR.sub("", remark[1]))
    block = ""
    for line in text.splitlines():
        if leader := _COMMENT.match(line):
            block += line[leader.end() :] + "\n"
        else:
            yield from _paragraphs(block)
            block = ""
    yield from _paragraphs(block)


def _split(block: str) -> Iterator[str]:
    block = _LINK.sub(r"\1", block).replace("`", "").replace("**", "")
    start = 0
    for end in _END.finditer(block):
        if not _ABBREVIATION.search(block[max(start, end.end() - 8) : end.end()]):
            yield block[start : end.end()].strip()
            start = end.end()
    yield block[start:].strip()


def _reads(sentence: str, *, lower: bool) -> bool:
    """Whether it is whole and in words. `lower`: it may begin with a small letter."""
    signs = len(sentence)
    unspaced = len(_UNSPACED.findall(sentence))
    if 3 * unspaced > signs:
        return _LEAST_UNSPACED <= signs <= _MOST_UNSPACED and bool(
            _ENDED.search(sentence) or _NO_STOPS.search(sentence)
        )
    if not _LEAST_CHARS <= signs <= _MOST_CHARS or not _ENDED.search(sentence) or _NO_PROSE.search(sentence):
        return False
    if not lower and sentence.lstrip("\"'“„«‘¿¡([")[:1].islower():
        return False
    words = _CASED.findall(sentence)[1:]
    capitals = sum(word[0].isupper() for word in words)
    letters = sum(char.isspace() or category(char)[0] in "LM" for char in sentence)
    return 2 * capitals <= len(words) and letters >= 0.85 * signs
