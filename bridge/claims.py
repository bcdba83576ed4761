"""An answer becomes sentences, each with the passages it cites (pure).

answer -> blocks (paragraphs, items, rows, code) -> sentences with the markers that stand behind them
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.support import tells

_MOST_NUMBERS = 50

_PASSAGE = r"(?:[Pp]assages?\s{0,3})?"
_NUMBERS = rf"{_PASSAGE}\d{{1,3}}(?:\s{{0,3}}(?:[-–—,;，、]|and)\s{{0,3}}{_PASSAGE}\d{{1,3}}){{0,50}}"
_ONE_MARKER = rf"[\[【［]\s{{0,3}}\^?{_NUMBERS}\s{{0,3}}(?:†[^】\]\n]{{0,60}})?[\]】］](?!\()"
_MARKER = re.compile(_ONE_MARKER)
_RANGE = re.compile(r"(\d+)\s*[-–—]\s*(?:passages?\s*)?(\d+)|(\d+)", re.IGNORECASE)
_CODE_SPAN = re.compile(r"`[^`\n]+`")
# A sentence ends before a blank and a letter that can begin one; what markers follow are its own.
_END = re.compile(
    rf"(?:[.!?…][\"'”’)\]*_]*(?=\s{{0,9}}(?:{_ONE_MARKER}|$)|\s{{1,99}}[\"'“‘(\[*_`]*[^\W_a-zß-ÿ])|"
    rf"[。！？][」』）]*)(?:\s{{0,9}}{_ONE_MARKER})*"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Z]|e\.g|i\.e|cf|vs|al|approx|ca|no|nos|vol|pp?|figs?|eqs?|dr|mrs?|ms|prof|st|z\.B|bzw)\.$"
)
_FENCE = re.compile(r"\s*(```|~~~)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s|\s*\*\*[^*\n]+\*\*:?\s*$")
_RULE = re.compile(r"\s*(?:[-=*_]\s*){3,}$|(?=[^\n]{0,200}-)[\s|:+-]+$")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_ROW = re.compile(r"\s*\|")
_SOURCES = re.compile(
    r"\W*(?:sources?|references?|citations?|quellen?|belege|fuentes?|références|fonti|参考|来源|出典)\W*$",
    re.IGNORECASE,
)
_SOURCE = (
    r"document|passage|text|source|file|context|dokument|quell|abschnitt|textstelle|fuente|documento|"
    r"pasaje|fonte|passaggi"
)
_REFUSAL = re.compile(
    rf"\b(?:{_SOURCE})\w*\b.{{0,60}}?\b(?:not|no|nothing|never|n't|nicht|nichts|kein\w*|no|ne|pas|non|"
    rf"não)\b.{{0,40}}?\b(?:say|sa[iy]s|"
    r"mention|state|hold|contain|specif|provide|include|answer|give|discuss|address|cover|tell|describe|"
    r"indicate|explain|"
    r"information|sag|nenn|enthalt|beantwort|erwähn|dice|mencion|contien|disent|mentionn|contienn|dicono|dizem)"
    rf"|\b(?:{_SOURCE})\w*\b.{{0,20}}?\b(?:do|does|did|don|doesn|didn)['’]?t\b.{{0,20}}?\b(?:say|mention|state|"
    rf"hold|contain|specif|"
    r"provide|include|answer|give|discuss|address|cover|tell|describe|indicate|explain)"
    rf"|\bI (?:can(?:no|['’])t|could not|do not|don['’]t) (?:\w+ )?(?:know|answer|find|tell|say)\b|"
    rf"\bno (?:information|answer|mention)\b"
    r"|(?:文書|文档|文件|資料|资料|段落|文章).{0,20}(?:ありません|いません|ない|没有|未|不)",
    re.IGNORECASE | re.DOTALL,
)
_YET = re.compile(r"\b(?:but|however|yet|although|aber|jedoch|pero|mais)\b|;", re.IGNORECASE)
_COURTESY = re.compile(
    r"\W*(?:let me know|i hope|feel free|if you (?:need|have|would like)|here (?:is|are) )[^.!?\n]*[.!?:]?\W*$",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Said:
    text: str
    numbers: tuple[int, ...]


def claiming(said: Sequence[Said]) -> list[Said]:
    """Without what claims nothing; a bare "yes" does only where it is all there is."""
    claiming = [one for one in said if one.text and not _claims_nothing(one)]
    telling = [one for one in claiming if tells(one.text)]
    return telling or [one for one in claiming if one.numbers]


def _claims_nothing(one: Said) -> bool:
    if one.numbers:
        return False
    text = one.text.rstrip("*_ \n")
    refusal = _REFUSAL.search(text) and not _YET.search(text)
    return text.endswith((":", "：", "?", "？")) or bool(refusal or _COURTESY.match(text))


def sentences(answer: str) -> Iterable[Said]:
    """Sentences with their numbers. One without takes those of the next in its paragraph; an item without, those of
    the line that introduces it; markers on a line of their own belong to what stands before."""
    introduced: tuple[int, ...] = ()
    waiting: list[Said] = []
    for kind, block in _blocks(answer):
        here = [Said(block, ())] if kind == "code" else list(_in_block(block))
        later: tuple[int, ...] = ()
        for one in reversed(here):
            one.numbers = later = one.numbers or later
        if here and not any(one.text for one in here):
            for one in waiting:
                one.numbers = one.numbers or later
            waiting = waiting or here
            continue
        yield from waiting
        waiting = here
        if kind == "text":
            introduced = here[-1].numbers if here else ()
        for one in here:
            one.numbers = one.numbers or (introduced if kind != "text" else ())
    yield from waiting


def _blocks(answer: str) -> Iterable[tuple[str, str]]:
    """(text, item, row or code; its text). Headings, rules, heads of tables and a list of sources are left out."""
    kind, block, fenced = "text", "", False
    lines = answer.splitlines()
    for n, line in enumerate(lines):
        cited = bool(_MARKER.search(line))
        if _FENCE.match(line):
            if block.strip():
                yield kind, block.strip()
            kind, block, fenced = ("text", "", False) if fenced else ("code", "", True)
        elif fenced:
            block += line + "\n"
        elif _SOURCES.match(line):
            break
        elif (
            not line.strip()
            or _RULE.match(line)
            or (_HEADING.match(line) and not cited)
            or _ROW.match(line)
            or _ITEM.match(line)
        ):
            if block.strip():
                yield kind, block.strip()
            head = _ROW.match(line) and n + 1 < len(lines) and _RULE.match(lines[n + 1]) and not cited
            kind, block = "text", ""
            if _ROW.match(line) and not head and not _RULE.match(line):
                kind, block = "row", line.strip().strip("|").replace("|", ", ") + "\n"
            elif (item := _ITEM.match(line)) and not _RULE.match(line):
                kind, block = "item", line[item.end() :] + "\n"
        else:
            block += line + "\n"
    if block.strip():
        yield kind, block.strip()


def _in_block(block: str) -> Iterable[Said]:
    """Markers within code spans are code."""
    spans = [match.span() for match in _CODE_SPAN.finditer(block)]
    start = 0
    for end in (*(match.end() for match in _END.finditer(block)), len(block)):
        if end <= start or (end < len(block) and _ABBREVIATION.search(block[max(start, end - 12) : end])):
            continue
        if any(first < end < last for first, last in spans):
            continue
        markers = [
            match for match in _MARKER.finditer(block, start, end) if not any(a <= match.start() < b for a, b in spans)
        ]
        text, place = "", start
        for marker in markers:
            text += (
                block[place : marker.start()].rstrip()
                if block[marker.end() : marker.end() + 1] in ".,;:!?。"
                else block[place : marker.start()]
            )
            place = marker.end()
        text = (text + block[place:end]).strip()
        numbers = tuple(dict.fromkeys(n for marker in markers for n in _numbers(marker[0])))
        if text.strip(" .,;:!?*_") or numbers:
            yield Said(text if text.strip(" .,;:!?*_") else "", numbers)
        start = end


def _numbers(marker: str) -> Iterable[int]:
    for match in _RANGE.finditer(marker.split("†")[0]):
        if match[3]:
            yield int(match[3])
        else:
            first, last = int(match[1]), int(match[2])
            yield from range(first, min(last, first + _MOST_NUMBERS) + 1) if first <= last else (first, last)
