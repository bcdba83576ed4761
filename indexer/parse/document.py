"""What every parser gives: a document's text, and what its offsets mean."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["markdown", "text", "code", "html", "pdf", "docx"]

_LINE_END = re.compile(r"\r\n|\r|\n")


class Unreadable(Exception):
    """A file that gives no text. The message is for people, one line: what was expected, what came, what to do."""


@dataclass(frozen=True, slots=True)
class Heading:
    """`offset`: the first visible character of the heading. `level`: 1 is the outermost.

    An empty title ends the section before it without opening a named one (code after a function).
    """

    offset: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Document:
    """One file as text.

    `pages`: the offset at which each page starts, empty where the format has none. `has_lines`: the text is
    the decoded file to the character (a byte order mark aside), so its lines are the file's lines.
    """

    text: str
    title: str | None
    kind: Kind
    headings: tuple[Heading, ...] = ()
    pages: tuple[int, ...] = ()
    has_lines: bool = False


def line_starts(text: str) -> list[int]:
    """The offset of each line's first character. \\n, \\r\\n and \\r end a line, as editors have it."""
    return [0, *(end.end() for end in _LINE_END.finditer(text))]
