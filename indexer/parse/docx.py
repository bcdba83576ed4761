"""DOCX: headings, paragraphs, list items and table rows in reading order, tracked changes as accepted."""
# lxml has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import docx
from docx.document import Document as Word
from docx.opc.exceptions import OpcError
from docx.oxml.ns import qn
from docx.styles.style import BaseStyle
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from indexer.parse.document import Document, Heading, Unreadable

# What python-docx, zipfile and lxml let out for files that are broken in their several ways.
_BROKEN = (
    OpcError,
    zipfile.BadZipFile,
    zlib.error,
    etree.LxmlError,
    struct.error,
    LookupError,
    ValueError,
    AttributeError,
    TypeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# A few kB can unfold to many GB.
_MAX_UNPACKED_BYTES = 512 * 1024 * 1024
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_P, _T, _TBL, _TR, _TC = (qn(f"w:{tag}") for tag in ("p", "t", "tbl", "tr", "tc"))
_VAL = qn("w:val")
_SPACES = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_TEXT = (_T, qn("m:t"), *_SPACES, _P)
_GONE = (_FALLBACK, qn("w:del"), qn("w:moveFrom"))
_INNER = (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins"), qn("w:moveTo"), qn("w:smartTag"), qn("w:customXml"))
_BULLETS = ("List Bullet", "List Number")
_TITLE_CHARS = 200

_Element = Any


@dataclass(frozen=True, slots=True)
class _Line:
    """A paragraph (`level` above 0: a heading), or with `tight` a list's item or a table's row."""

    text: str
    level: int = 0
    tight: bool = False


@dataclass(frozen=True, slots=True)
class _Style:
    level: int
    bullet: bool


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "docx")
    if data.startswith(_OLD_OFFICE):
        raise Unreadable("expected a DOCX, found one with a password or an old .doc: save it as DOCX without password")
    try:
        _refuse_bomb(data)
        word = docx.Document(BytesIO(data))
        lines = list(_lines(word))
        title = word.core_properties.title.strip()[:_TITLE_CHARS]
    except _BROKEN as error:
        raise Unreadable(
            "expected a DOCX, found a broken or incomplete one: open it in Word and save it anew"
        ) from error
    first = next((line.text for line in lines if line.level), None)
    return _document(lines, title or (first or "")[:_TITLE_CHARS] or None)


def _refuse_bomb(data: bytes) -> None:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MAX_UNPACKED_BYTES:
        raise Unreadable(
            f"expected a DOCX of at most {_MAX_UNPACKED_BYTES >> 20} MB unpacked, found {unpacked >> 20} MB: split it"
        )


def _lines(word: Word) -> Iterator[_Line]:
    styles = {style.style_id: _style(style) for style in word.styles}
    body = word.element.body
    for gone in list(body.iter(*_GONE)):
        gone.getparent().remove(gone)
    yield from _block_lines(body, styles)


def _block_lines(parent: _Element, styles: dict[str, _Style]) -> Iterator[_Line]:
    for block in parent.iterchildren():
        if block.tag == _P:
            yield _paragraph(block, styles)
        elif block.tag == _TBL:
            for row in block.iter(_TR):
                # A table within a cell is part of that cell's text.
                if next(row.iterancestors(_TBL)) is block:
                    cells = [" ".join(_text(cell).split()) for cell in row.iter(_TC) if _row_of(cell) is row]
                    yield _Line(" | ".join(cells) if any(cells) else "", tight=True)
        elif block.tag in _INNER:
            yield from _block_lines(block, styles)


def _row_of(cell: _Element) -> _Element:
    return next(cell.iterancestors(_TR))


def _paragraph(paragraph: _Element, styles: dict[str, _Style]) -> _Line:
    text = _text(paragraph).strip()
    style = styles.get(_value(paragraph, "w:pPr/w:pStyle"), _Style(0, False))
    level = style.level or _outline(paragraph)
    if level:
        return _Line(" ".join(text.split()), level)
    bullet = style.bullet or _value(paragraph, "w:pPr/w:numPr/w:numId") not in ("", "0")
    return _Line(f"- {text}", tight=True) if bullet and text else _Line(text)


def _text(element: _Element) -> str:
    parts: list[str] = []
    for node in element.iter(*_TEXT):
        if node.tag == _P:
            parts.append(" ")
        else:
            parts.append(_SPACES.get(node.tag) or node.text or "")
    return "".join(parts)


def _style(style: BaseStyle) -> _Style:
    """A style is what it is based on: "My heading" on "Heading 2" is a heading of that level."""
    bullet = (style.name or "").startswith(_BULLETS)
    for _ in range(10):  # broken files base styles on each other in a ring
        name = style.name or ""
        if name == "Title":
            return _Style(1, bullet)
        if name.startswith("Heading ") and name[8:].isdecimal():
            return _Style(int(name[8:]) + 1, bullet)
        if level := _outline(style.element):
            return _Style(level, bullet)
        base = getattr(style, "base_style", None)
        if base is None:
            break
        style = base
    return _Style(0, bullet)


def _outline(element: _Element) -> int:
    """Word counts outline levels from 0; 9 is body text."""
    value = _value(element, "w:pPr/w:outlineLvl")
    return int(value) + 2 if value.isdecimal() and int(value) < 9 else 0


def _value(element: _Element, path: str) -> str:
    found = element.find("/".join(qn(tag) for tag in path.split("/")))
    return found.get(_VAL) or "" if found is not None else ""


def _document(lines: list[_Line], title: str | None) -> Document:
    parts: list[str] = []
    headings: list[Heading] = []
    length = 0
    before = None
    for line in lines:
        if not line.text:
            before = None if before is None else _Line("")
            continue
        if before is not None:
            parts.append("\n" if before.tight and line.tight else "\n\n")
            length += len(parts[-1])
        if line.level:
            headings.append(Heading(length, line.level, line.text[:_TITLE_CHARS]))
        parts.append(line.text)
        length += len(line.text)
        before = line
    return Document("".join(parts), title, "docx", tuple(headings))
