"""What every parser gives: a document's text, and what its offsets mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "markdown", "text", "code", "html", "pdf", "docx", "rtf", "slides", "table", "notebook", "epub", "email", "rst"
]

MAX_CHARS = 20_000_000
"""A longer text is refused: it would be 20 000 passages, and is a log, a dump or a bomb."""

TITLE_CHARS = 200
_LINE_END = re.compile(r"\r\n|\r|\n")


class Unreadable(Exception):
    """A file that gives no text. The message is for people, one line: what was expected, what came, what to do."""


@dataclass(frozen=True, slots=True)
class Heading:
    """`offset`: the first visible character of the heading. `level`: 1 is the outermost.

    An empty title ends the section before it without opening a named one (code after a function). `signature`: how a
    definition in code is declared, in one line.
    """

    offset: int
    level: int
    title: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below one another. `rows`: where each starts, rising; the first is the header where there is one. `end`:
    behind the last. `header`: the row that says what the others mean; empty where each says it itself."""

    rows: Sequence[int]
    end: int
    header: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One file as text.

    `pages`: the offset at which each page (of slides: each slide) starts, empty where the format has none.
    `has_lines`: the text is the decoded file to the character (a byte order mark aside, and JSON's escapes), so its
    lines are the file's lines. `tables`: in reading order, none within another.
    """

    text: str
    title: str | None
    kind: Kind
    headings: tuple[Heading, ...] = ()
    pages: tuple[int, ...] = ()
    has_lines: bool = False
    tables: tuple[Table, ...] = ()


class Draft:
    """A text that grows piece by piece; headings and pages know where they stand.

    Every method that adds text raises Unreadable once there are more than `MAX_CHARS`.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[int] = []
        self._tables: list[Table] = []

    def add(self, text: str, gap: str = "\n\n") -> None:
        """Appends a text that is not empty, `gap` between it and what stands there."""
        self._begin(gap)
        self._append(text)

    def heading(self, level: int, title: str) -> None:
        """Appends a heading of one line; an empty title ends the section before it, and adds nothing."""
        self._begin("\n\n")
        self._headings.append(Heading(self._length, level, title[:TITLE_CHARS]))
        if title:
            self._append(title)

    def table(self, rows: Sequence[str], header: str = "") -> None:
        """Appends rows that are not empty, one a line. `header`: as `Table` has it."""
        self._begin("\n\n")
        starts = [self._length]
        for row in rows[:-1]:
            starts.append(starts[-1] + len(row) + 1)
        self._append("\n".join(rows))
        self._tables.append(Table(starts, self._length, header))

    def page(self) -> None:
        """What is added from here on is on the next page."""
        self._begin("\n\n")
        self._pages.append(self._length)

    def include(self, document: Document, deeper: int = 0) -> None:
        """Appends a document with its headings, each `deeper` levels down."""
        if not document.text:
            return
        self._begin("\n\n")
        for heading in document.headings:
            self._headings.append(Heading(self._length + heading.offset, heading.level + deeper, heading.title))
        for table in document.tables:
            rows = [self._length + row for row in table.rows]
            self._tables.append(Table(rows, self._length + table.end, table.header))
        self._append(document.text)

    def document(self, title: str | None, kind: Kind) -> Document:
        short = title.strip()[:TITLE_CHARS] if title else None
        text, pages = "".join(self._parts), tuple(self._pages)
        return Document(text, short or None, kind, tuple(self._headings), pages, tables=tuple(self._tables))

    def _begin(self, gap: str) -> None:
        # A gap just made serves what comes next too: a page and its heading begin together.
        if self._parts and self._parts[-1] != "\n\n":
            self._append(gap)

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        refuse_longer(self._length)


def refuse_longer(chars: int) -> None:
    if chars > MAX_CHARS:
        raise Unreadable(f"expected at most {MAX_CHARS:,} characters of text, found more: split it or leave it out")


def line_starts(text: str) -> list[int]:
    """The offset of each line's first character. \\n, \\r\\n and \\r end a line, as editors have it."""
    return [0, *(end.end() for end in _LINE_END.finditer(text))]
