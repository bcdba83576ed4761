"""Markdown: the text as it stands, with its headings and its title."""

import re
from collections.abc import Iterator

from indexer.parse.document import Document, Heading, Table, line_starts

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_RULE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_NO_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:[-*+>|#<]|\d{1,9}[.)][ \t])")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_FRONT_TITLE = re.compile(r"title[ \t]*[:=][ \t]*(.*)")
_FRONT_LINES = 200
_TITLE_CHARS = 200
# The line below the one that names a table's columns.
_COLUMNS = re.compile(r" {0,3}(?=[^|]*\|)\|?(?:[ \t]*:?-+:?[ \t]*(?:\||$))+[ \t]*$")
_CELL_END = re.compile(r"(?<!\\)\|")
# What ends a table, besides a blank line.
_NO_ROW = re.compile(r" {0,3}(?:>|#{1,6}[ \t]|`{3}|~{3}|[-*+][ \t])")


def parse(text: str) -> Document:
    """Headings are ATX and setext ones outside of fences and front matter; the title is the first of level 1,
    else the front matter's."""
    starts = line_starts(text)
    lines = [text[a:b].rstrip("\r\n") for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    body, front_title = _front_matter(lines)
    headings = tuple(_headings(lines, starts, body))
    title = next((heading.title for heading in headings if heading.level == 1), front_title)
    return Document(text, title, "markdown", headings, has_lines=True, tables=tuple(_tables(lines, starts)))


def _front_matter(lines: list[str]) -> tuple[int, str | None]:
    """The index of the first line after the front matter, and the title it names."""
    fence = lines[0].rstrip()
    if fence not in ("---", "+++"):
        return 0, None
    title = None
    for index, line in enumerate(lines[1:_FRONT_LINES], 1):
        if line.rstrip() in (fence, "..."):
            return index + 1, title
        if title is None and (named := _FRONT_TITLE.match(line)):
            title = named[1].strip().strip("\"'")[:_TITLE_CHARS] or None
    return 0, None


def _headings(lines: list[str], starts: list[int], body: int) -> Iterator[Heading]:
    fence, paragraph = "", 0  # paragraph: how many lines of plain text stand right above
    for index in range(body, len(lines)):
        line = lines[index]
        if fence:
            closing = line.strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                fence = ""
            continue
        if opening := _FENCE.match(line):
            # A backtick in the info string makes it inline code: ```x``` is a paragraph.
            if not (opening[1][0] == "`" and "`" in line[opening.end() :]):
                fence = opening[1]
            paragraph = 0
        elif heading := _atx(line, starts[index]):
            yield heading
            paragraph = 0
        elif paragraph == 1 and _RULE.match(line):
            above = lines[index - 1]
            level = 1 if "=" in line else 2
            yield Heading(starts[index - 1] + _indent(above), level, _plain(above.strip()))
            paragraph = 0
        else:
            plain = bool(line.strip()) and not (paragraph == 0 and _NO_PARAGRAPH.match(line))
            paragraph = paragraph + 1 if plain else 0


def _atx(line: str, start: int) -> Heading | None:
    indent = _indent(line)
    if indent > 3 or line[indent : indent + 1] != "#":
        return None
    words = line.strip()
    level = len(words) - len(words.lstrip("#"))
    if level > 6 or words[level : level + 1] not in (" ", "\t"):
        return None
    title = words[level:].strip()
    unclosed = title.rstrip("#")
    if unclosed != title and unclosed[-1:] in ("", " ", "\t"):
        title = unclosed.rstrip()
    return Heading(start + indent, level, _plain(title)) if title else None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _plain(title: str) -> str:
    """A title as one reads it: links are their text, no backticks and stars."""
    return _LINK.sub(r"\1", title[:_TITLE_CHARS]).replace("`", "").replace("*", "").strip()


def _tables(lines: list[str], starts: list[int]) -> Iterator[Table]:
    after = 0
    for index, line in enumerate(lines):
        if index <= after or "-" not in line or not _COLUMNS.match(line):
            continue
        names = lines[index - 1].strip().strip("|").strip()
        if len(_CELL_END.findall(names)) != len(_CELL_END.findall(line.strip().strip("|"))):
            continue
        after = index
        while after + 1 < len(lines) and lines[after + 1].strip() and not _NO_ROW.match(lines[after + 1]):
            after += 1
        yield Table([starts[index - 1], *starts[index + 1 : after + 1]], starts[after] + len(lines[after]), names)
