"""A document's chunks become a stretch of its text that fits a budget (pure).

Tokens are estimated: one for every 4 bytes of UTF-8, of the text as JSON and as quoted lines, whichever is longer.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import msgspec

from bridge.uris import At
from indexer.records import ChunkRow

BYTES_PER_TOKEN = 4
_LINE_END = re.compile(r"\r\n|\r|\n")
_LEAST = 0.5  # of what fits is kept, where a line or a word ends there


def tokens(text: str) -> int:
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def shown_tokens(text: str) -> int:
    """Of a text that is shown as JSON or as lines behind "> "."""
    quoted = len(text.encode()) + 2 * (text.count("\n") + 1)
    return -(-max(quoted, len(msgspec.json.encode(text))) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive text. `start`: of its first character in the document's parsed text; `ordinal`: of its first chunk.
    `pages`: where each page begins, with its number; the first where the stretch does."""

    text: str
    start: int
    ordinal: int
    first_line: int | None
    pages: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def between(self, start: int, end: int | None = None) -> str:
        return self.text[max(0, start - self.start) : None if end is None else max(0, end - self.start)]

    def line_at(self, offset: int) -> int | None:
        """The line in which a character of the document stands."""
        if self.first_line is None:
            return None
        return self.first_line + sum(1 for _ in self._line_starts(offset))

    def begins_line(self, offset: int) -> bool:
        return offset == self.start or self.between(0, offset).endswith(("\n", "\r"))

    def ends_line(self, offset: int) -> bool:
        return self.between(offset)[:1] in ("", "\n", "\r")

    def line_start(self, line: int) -> int:
        """Where a line begins: the stretch's own beginning for those before it, its end for those behind it."""
        ahead = line - (self.first_line or 1)
        return self.start if ahead <= 0 else next(islice(self._line_starts(self.end), ahead - 1, None), self.end)

    def _line_starts(self, upto: int) -> Iterator[int]:
        return (self.start + found.end() for found in _LINE_END.finditer(self.text, 0, upto - self.start))

    @property
    def is_beginning(self) -> bool:
        """Whether nothing but blank text can stand before it."""
        return self.ordinal == 0

    def place(self, start: int, end: int | None = None) -> At:
        """What a stretch within this one is called by, or, without an end, all from there on."""
        if self.first_line is not None and self.begins_line(start) and (end is None or self.ends_line(end)):
            first, last = self.line_at(start), self.line_at(max(start, (end or 0) - 1))
            assert first is not None
            return At("line", first, last if end is not None else None)
        if end is None and (page := self.page_at(start)) is not None and self.page_start(page) == start:
            return At("page", page)
        return At("char", start, end)

    def page_end(self, start: int) -> int:
        """Where the page ends that begins there."""
        return next((at for at, _ in self.pages if at > start), self.end)

    def page_at(self, offset: int) -> int | None:
        begun = [page for at, page in self.pages if at <= offset]
        return begun[-1] if begun else self.pages[0][1] if self.pages else None

    def page_start(self, page: int) -> int | None:
        """Where it begins, or the text that it shares with those before it: a chunk may have several short ones."""
        own = [at for at, found in self.pages if found == page]
        before = [at for at, found in self.pages if found < page]
        return own[0] if own else before[-1] if before else None


def stretch(chunks: Sequence[ChunkRow]) -> Stretch:
    """`chunks`: neighbours in reading order. They overlap, and between them blank text is left out: of it there is as
    much again, its line breaks first. A form feed stands before each page, as far as chunks know where it begins."""
    first = chunks[0]
    text = first.text
    for before, after in pairwise(chunks):
        end = first.start + len(text)
        text += _gap(before, after, after.start - end) + after.text[max(0, end - after.start) :]
    pages = [(chunk.start, chunk.page) for chunk in chunks if chunk.page is not None]
    turned = [after for before, after in pairwise(pages) if before[1] != after[1]]
    for start, _ in turned:
        text = _parted(text, start - first.start)
    return Stretch(text, first.start, first.ordinal, first.start_line, (*pages[:1], *turned))


def _parted(text: str, at: int) -> str:
    """A form feed instead of the blank before a page."""
    return f"{text[: at - 1]}\f{text[at:]}" if text[at - 1 : at].isspace() else text


def _gap(before: ChunkRow, after: ChunkRow, length: int) -> str:
    if length <= 0:
        return ""
    if after.start_line is None or before.end_line is None:
        return " " * (length - 2) + "\n\n"[-length:]
    end = "\r\n" if "\r\n" in before.text else "\n"
    return (end * (after.start_line - before.end_line)).ljust(length)[:length]


def forward(text: str, most: int, cost: Callable[[str], int] = shown_tokens) -> str:
    """As much of the beginning as costs at most `most`, to the end of a line or at least of a word."""
    length = _most(len(text), lambda length: cost(text[:length]) <= most)
    if length == len(text):
        return text
    for marks in ("\n\r", " "):
        end = max(text.rfind(mark, 0, length) for mark in marks) + 1
        if end > length * _LEAST:
            return text[:end]
    return text[:length]


def backward(text: str, most: int, cost: Callable[[str], int] = shown_tokens) -> str:
    """As much of the end, from the beginning of a line or at least of a word."""
    length = _most(len(text), lambda length: cost(text[len(text) - length :]) <= most)
    if length == len(text):
        return text
    cut = len(text) - length
    for marks in ("\n\r", " "):
        begin = min((at for mark in marks if (at := text.find(mark, max(0, cut - 1))) >= 0), default=-1) + 1
        if 0 < begin <= cut + length * _LEAST:
            return text[begin:]
    return text[cut:]


def _most(most: int, fits: Callable[[int], bool]) -> int:
    """The greatest length that fits, of those up to `most`; what is shorter than one that fits does, too."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(middle) else (least, middle - 1)
    return least
