"""DOCX: headings, paragraphs, list items and table rows in reading order, tracked changes as accepted.

Footnotes and comments stand after the paragraph that they are about, page headers and footers once at the end.
"""
# lxml has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docx
from docx.document import Document as Word
from docx.opc.exceptions import OpcError
from docx.oxml import parse_xml
from docx.oxml.ns import qn
from docx.styles.style import BaseStyle
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from indexer.parse import archive
from indexer.parse.document import TITLE_CHARS, Document, Draft, Unreadable
from indexer.parse.tables import BAR, header

_BROKEN = (*archive.BROKEN, OpcError, etree.LxmlError)
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_P, _T, _TBL, _TR, _TC = (qn(f"w:{tag}") for tag in ("p", "t", "tbl", "tr", "tc"))
_VAL = qn("w:val")
_SPACES = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_TEXT = (_T, qn("m:t"), *_SPACES, _P)
_GONE = (_FALLBACK, qn("w:del"), qn("w:moveFrom"))
_INNER = (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins"), qn("w:moveTo"), qn("w:smartTag"), qn("w:customXml"))
_HEADER = f"{qn('w:trPr')}/{qn('w:tblHeader')}"
_BULLETS = ("List Bullet", "List Number")
_ID, _AUTHOR = qn("w:id"), qn("w:author")
# What stands in parts of their own: the part's relation, what refers to one of its notes, and how one begins.
_NOTES = {
    "/footnotes": (qn("w:footnoteReference"), "Footnote"),
    "/endnotes": (qn("w:endnoteReference"), "Endnote"),
    "/comments": (qn("w:commentReference"), "Comment"),
}
_REFERENCES = tuple(reference for reference, _ in _NOTES.values())
_EDGES = ("/header", "/footer")

_Element = Any


@dataclass(frozen=True, slots=True)
class _Line:
    """A paragraph (`level` above 0: a heading), or with `tight` a list's item."""

    text: str
    level: int = 0
    tight: bool = False


@dataclass(frozen=True, slots=True)
class _Table:
    rows: list[str]
    header: str


@dataclass(frozen=True, slots=True)
class _Style:
    level: int
    bullet: bool


@dataclass(frozen=True, slots=True)
class _Beside:
    """`styles` by id; `notes` by what refers to them and their id; `edges`: the pages' headers and footers."""

    styles: dict[str, _Style]
    notes: dict[tuple[str, str], str]
    edges: list[str]


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "docx")
    try:
        word = docx.Document(archive.trees(data, "a DOCX"))
        beside = _beside(word)
        lines = list(_block_lines(_accepted(word.element.body), beside))
        title = word.core_properties.title.strip()[:TITLE_CHARS]
    except _BROKEN as error:
        raise Unreadable(
            "expected a DOCX, found a broken or incomplete one: open it in Word and save it anew"
        ) from error
    first = next((line.text for line in lines if isinstance(line, _Line) and line.level), None)
    return _document(lines, beside.edges, title or first)


def _beside(word: Word) -> _Beside:
    styles = {style.style_id: _style(style) for style in word.styles}
    notes: dict[tuple[str, str], str] = {}
    edges: dict[str, None] = {}
    for relation in word.part.rels.values():
        kind = relation.reltype[relation.reltype.rfind("/") :]
        if relation.is_external or kind not in (*_NOTES, *_EDGES):
            continue
        root = _accepted(parse_xml(relation.target_part.blob))
        if kind in _EDGES:
            edges[_said(root)] = None
            continue
        reference, name = _NOTES[kind]
        for note in root.iterchildren():
            if (number := note.get(_ID)) and (said := _said(note)):
                author = note.get(_AUTHOR)
                notes[reference, number] = f"{name} by {author}: {said}" if author else f"{name}: {said}"
    return _Beside(styles, notes, [edge for edge in edges if edge])


def _accepted(root: _Element) -> _Element:
    for gone in list(root.iter(*_GONE)):
        gone.getparent().remove(gone)
    return root


def _said(root: _Element) -> str:
    return "\n".join(words for line in root.iter(_P) if (words := " ".join(_text(line).split())))


def _block_lines(parent: _Element, beside: _Beside) -> Iterator[_Line | _Table]:
    for block in parent.iterchildren():
        if block.tag == _P:
            line = _paragraph(block, beside.styles)
            yield line
            for note in _notes(block, beside):
                yield _Line(note, tight=line.tight)
        elif block.tag == _TBL:
            yield _table(block, beside)
        elif block.tag in _INNER:
            yield from _block_lines(block, beside)


def _table(table: _Element, beside: _Beside) -> _Table:
    rows: list[str] = []
    marked: list[str] = []
    for row in table.iter(_TR):
        # A table within a cell is part of that cell's text.
        if next(row.iterancestors(_TBL)) is not table:
            continue
        cells = [" ".join(_text(cell).split()) for cell in row.iter(_TC) if _row_of(cell) is row]
        if any(cells):
            if len(marked) == len(rows) and row.find(_HEADER) is not None:
                marked.append(BAR.join(cells))
            rows.append(BAR.join(cells))
        rows += _notes(row, beside)
    return _Table(rows, "\n".join(marked) if 0 < len(marked) < len(rows) else header(rows))


def _notes(block: _Element, beside: _Beside) -> Iterator[str]:
    for reference in block.iter(*_REFERENCES):
        if note := beside.notes.get((reference.tag, reference.get(_ID))):
            yield note


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


def _document(lines: list[_Line | _Table], edges: list[str], title: str | None) -> Document:
    draft = Draft()
    tight = False
    for line in lines:
        if isinstance(line, _Table):
            if line.rows:
                draft.table(line.rows, line.header)
            tight = False
        elif not line.text:
            tight = False
        elif line.level:
            draft.heading(line.level, line.text)
            tight = False
        else:
            draft.add(line.text, "\n" if tight and line.tight else "\n\n")
            tight = line.tight
    if edges:
        draft.heading(1, "")
    for edge in edges:
        draft.add(edge)
    return draft.document(title, "docx")
