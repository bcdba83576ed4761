"""reStructuredText: the text as it stands, with its headings and its title. No directive is carried out."""

import re
import unicodedata
from collections.abc import Iterator

from indexer.parse.document import Document, Heading, line_starts

_RULE = re.compile(r"([!-/:-@\[-`{-~])\1*[ \t]*$")
# What begins something other than a title: a list's item, a directive or comment, a field, a doctest, a line block.
_NO_TITLE = re.compile(r"[-*+•‣⁃][ \t]|\.\.(?:[ \t]|$)|:[^:\s][^:]*:[ \t]|>>>|\|[ \t]|__[ \t]")
_MARKUP = re.compile(
    r":[\w.:+-]+:`([^`<]*?)(?:\s*<[^`>]*>)?`"  # :role:`text <target>`
    r"|`([^`<]+?)(?:\s*<[^`>]*>)?`_{1,2}"  # `text <target>`_
    r"|``(.+?)``|\*\*(.+?)\*\*|[*`|](\S.*?)[*`|]_{0,2}"
)
# A shorter rule is taken for a line's own text ("..." below "Wait").
_SURE_RULE = 4
_TITLE_CHARS = 200


def parse(text: str) -> Document:
    """Headings are lines with a rule below them, or above and below, as docutils has it: each new kind of rule is a
    level deeper. The title is the first heading of level 1."""
    headings = tuple(_headings(text))
    title = next((heading.title for heading in headings if heading.level == 1), None)
    return Document(text, title, "text", headings, has_lines=True)


def _headings(text: str) -> Iterator[Heading]:
    starts = line_starts(text)
    lines = [text[a:b].rstrip("\r\n") for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    kinds: list[str] = []
    free = True  # a paragraph's second line is no title
    at = 0
    while at < len(lines):
        title, length, kind = _title(lines, at) if free else ("", 1, "")
        if title:
            if kind not in kinds:
                kinds.append(kind)
            yield Heading(starts[at], kinds.index(kind) + 1, title)
        last = lines[at + length - 1]
        free = bool(title) or not last.strip() or last[0] in " \t" or last.startswith("..")
        at += length


def _title(lines: list[str], at: int) -> tuple[str, int, str]:
    """(title, lines it takes, kind of rule) of the heading that begins on a line; an empty title where none does."""
    line, *below = lines[at : at + 3]
    if len(below) == 2 and line[:1] and _RULE.match(line) and _is_rule(below[1], below[0]):
        if line.rstrip() == below[1].rstrip():
            return _plain(below[0]), 3, line[0] * 2
    elif below and line.strip() and line[0] not in " \t" and not _NO_TITLE.match(line) and _is_rule(below[0], line):
        return _plain(line), 2, below[0][0]
    return "", 1, ""


def _is_rule(rule: str, title: str) -> bool:
    if not title.strip() or not _RULE.match(rule):
        return False
    return len(rule.rstrip()) >= min(_SURE_RULE, _columns(title.strip()))


def _columns(title: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in title)


def _plain(title: str) -> str:
    """A title as one reads it: without markup."""
    words = _MARKUP.sub(lambda found: next(filter(None, found.groups()), ""), title[:_TITLE_CHARS])
    return " ".join(words.split())
