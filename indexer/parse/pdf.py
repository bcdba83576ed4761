"""PDF: each page's text without what runs from page to page, where the pages start, and the bookmarks as headings."""
# pypdfium2 has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import ctypes
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium_c

from indexer.parse.columns import Box, may_cross, reading_order
from indexer.parse.document import Document, Heading, Unreadable, refuse_longer
from indexer.parse.edges import Page, without_edges
from indexer.parse.hyphens import MARK, joined

# PDFium's marks for a word that was broken at the end of a line; both stand in place of hyphen and newline.
_BROKEN_WORD = re.compile("[\x02\ufffe]")
# Headers and footers stand in this part of a page's height, at its top and bottom.
_EDGE = 0.1
_SOME = 12
_REASONS = {
    pdfium_c.FPDF_ERR_PASSWORD: "one that a password protects: save a copy without it",
    pdfium_c.FPDF_ERR_SECURITY: "one whose protection is not known here: save a copy without it",
}
_BROKEN = "a broken or incomplete one: open it in a viewer and save it anew"
_PLACEHOLDERS = frozenset(("untitled", "anonymous", "(anonymous)", "unspecified", "(unspecified)"))
_TITLE_CHARS = 200
# Opening a page takes a millisecond even if it is empty, and a small file can name one page a million times.
_MOST_PAGES = 20_000
# A poster full of small print has 50 000.
_MOST_PAGE_CHARS = 2_000_000

_Pdf = Any
_Words = Any


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "pdf")
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        found = _REASONS.get(error.err_code or 0, _BROKEN)
        raise Unreadable(f"expected a PDF that can be opened, found {found}") from error
    with closing(pdf):
        read = _pages(pdf)
        if not any(page.text for page in read):
            raise Unreadable(
                f"expected a PDF with text, found {len(read)} page(s) of pictures: run text recognition (OCR) over it"
            )
        texts = joined(without_edges(read))
        # One newline: a page's end is no paragraph's end.
        text = "\n".join(texts)
        pages = _offsets(texts)
        headings = {heading.offset: heading for heading in _bookmarks(pdf, text, pages)}
        return Document(text, _title(pdf), "pdf", tuple(headings[at] for at in sorted(headings)), pages)


def _pages(pdf: _Pdf) -> list[Page]:
    if (count := len(pdf)) > _MOST_PAGES:
        raise Unreadable(f"expected a PDF of at most {_MOST_PAGES:,} pages, found {count:,}: split it")
    pages: list[Page] = []
    chars = 0
    for number in range(count):
        pages.append(_page(pdf, number))
        chars += len(pages[-1].text) + 1
        refuse_longer(chars)
    return pages


def _page(pdf: _Pdf, number: int) -> Page:
    """A page that cannot be loaded is empty: the others are worth having."""
    try:
        with closing(pdf[number]) as page, closing(page.get_textpage()) as words:
            if (chars := words.count_chars()) > _MOST_PAGE_CHARS:
                raise Unreadable(
                    f"expected pages of at most {_MOST_PAGE_CHARS:,} characters, found {chars:,} on page {number + 1}:"
                    " leave it out"
                )
            box = page.get_bbox()
            text = "\n".join(filter(None, (_text(words, area) for area in _columns(words, box)))) or _text(words, box)
            return Page(text, _edges(words, box) if len(pdf) > 1 else ((), ()))
    except pypdfium2.PdfiumError:
        return Page("", ((), ()))


def _edges(words: _Words, page: Box) -> tuple[list[str], list[str]]:
    left, bottom, right, top = page
    high = (top - bottom) * _EDGE
    above, below = (left, top - high, right, top), (left, bottom, right, bottom + high)
    return _text(words, above).split("\n"), _text(words, below).split("\n")


def _text(words: _Words, area: Box) -> str:
    text: str = words.get_text_bounded(*area)
    # PDFium ends a line of a column with the space to the next one.
    return _BROKEN_WORD.sub(MARK, text.replace(" \r\n", "\n").replace("\r\n", "\n").replace("\0", "")).strip()


def _columns(words: _Words, page: Box) -> list[Box]:
    """To ask for all boxes takes time: a few from the middle tell of most pages that there are no columns."""
    count = words.count_rects()
    some = range(max(0, count // 2 - _SOME), min(count, count // 2 + _SOME))
    if not may_cross(_boxes(words, some)):
        return []
    return [_within(area, page) for area in reading_order(_boxes(words, range(count)))]


def _within(area: Box, page: Box) -> Box:
    return max(area[0], page[0]), max(area[1], page[1]), min(area[2], page[2]), min(area[3], page[3])


def _boxes(words: _Words, numbers: range) -> list[Box]:
    left, top, right, bottom = (ctypes.c_double() for _ in range(4))
    into = [ctypes.byref(side) for side in (left, top, right, bottom)]
    boxes: list[Box] = []
    for number in numbers:
        pdfium_c.FPDFText_GetRect(words.raw, number, *into)
        boxes.append((left.value, bottom.value, right.value, top.value))
    return boxes


def _offsets(texts: list[str]) -> tuple[int, ...]:
    offsets = [0]
    for text in texts[:-1]:
        offsets.append(offsets[-1] + len(text) + 1)
    return tuple(offsets)


def _bookmarks(pdf: _Pdf, text: str, pages: tuple[int, ...]) -> Iterator[Heading]:
    """The bookmarks whose title stands at the start of a line of the page they point to."""
    try:
        for bookmark in pdf.get_toc():
            title = " ".join(bookmark.get_title().split())[:_TITLE_CHARS]
            target = bookmark.get_dest()
            number = target.get_index() if target else None
            if not title or number is None or not 0 <= number < len(pages):
                continue
            end = pages[number + 1] if number + 1 < len(pages) else len(text)
            words = r"\s+".join(map(re.escape, title.split()))
            heading = re.compile(rf"^(?:[\d.]+\s+)?{words}", re.IGNORECASE | re.MULTILINE)
            if found := heading.search(text, pages[number], end):
                yield Heading(found.start(), bookmark.level + 1, title)
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        return  # bookmarks are a help, not the text


def _title(pdf: _Pdf) -> str | None:
    try:
        title = pdf.get_metadata_value("Title").strip()
    except UnicodeDecodeError:
        return None
    title = title.removeprefix("Microsoft Word - ").removeprefix("Microsoft PowerPoint - ")
    return title[:_TITLE_CHARS] if title.lower() not in {"", *_PLACEHOLDERS} else None
