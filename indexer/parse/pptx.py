"""PPTX: each slide is a page with its number and title as heading, its texts, tables, charts and notes."""
# python-pptx has types for half of what it gives, lxml has none.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Iterator
from typing import Any

import pptx
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]
from pptx.exc import PythonPptxError
from pptx.oxml import parse_xml

from indexer.parse import archive
from indexer.parse.document import Document, Draft, Unreadable
from indexer.parse.tables import BAR, header

_BROKEN = (*archive.BROKEN, PythonPptxError, etree.LxmlError)
_DRAWN_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"
_DRAWN_PARAGRAPH = "{http://schemas.openxmlformats.org/drawingml/2006/main}p"
_COMMENT_TEXT = "{http://schemas.openxmlformats.org/presentationml/2006/main}text"
# What stands beside a slide in parts of its own: the words of its SmartArt, and what reviewers said.
_BESIDE = (("/diagramData", ""), ("/comments", "Comment: "))

_Slide = Any
_Shape = Any
_Chart = Any


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "slides")
    try:
        show = pptx.Presentation(archive.trees(data, "a PPTX"))
        draft, worded = Draft(), False
        for number, slide in enumerate(show.slides, 1):
            worded |= _add(draft, number, slide)
        title = show.core_properties.title
    except _BROKEN as error:
        raise Unreadable(
            "expected a PPTX, found a broken or incomplete one: open it in PowerPoint and save it anew"
        ) from error
    if not worded:
        raise Unreadable(
            f"expected slides with text, found {len(show.slides)} slide(s) of pictures:"
            " export them as a PDF and run text recognition (OCR) over it"
        )
    return draft.document(title, "slides")


def _add(draft: Draft, number: int, slide: _Slide) -> bool:
    """Whether the slide has any words."""
    title = slide.shapes.title
    words = " ".join(title.text_frame.text.split()) if title is not None else ""
    draft.page()
    draft.heading(1, f"Slide {number}: {words}" if words else f"Slide {number}")
    # Shapes stand in the order in which a screen reader reads them.
    others = (shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id)
    texts = [text for text in (*_texts(others), *_beside(slide), *_notes(slide)) if "".join(text).strip()]
    for text in texts:
        if isinstance(text, str):
            draft.add(text)
        else:
            draft.table(text, header(text))
    return bool(words or texts)


def _texts(shapes: Iterable[_Shape]) -> Iterator[str | list[str]]:
    """What shapes say, a table as its rows."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _texts(shape.shapes)
        elif shape.has_text_frame:
            yield _lines(shape.text_frame.text)
        elif getattr(shape, "has_table", False):
            rows = (BAR.join(" ".join(cell.text.split()) for cell in row.cells) for row in shape.table.rows)
            yield [row for row in rows if row.strip(BAR)]
        elif getattr(shape, "has_chart", False):
            yield from _chart(shape.chart)
        elif said := shape.element.xpath(".//p:cNvPr/@descr"):
            yield f"Picture: {said[0]}"


def _lines(text: str) -> str:
    # python-pptx gives \v for a line broken by hand.
    return "\n".join(line for line in text.replace("\v", "\n").split("\n") if line.strip())


def _chart(chart: _Chart) -> Iterator[str]:
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    for plot in chart.plots:
        names = [str(category) for category in plot.categories]
        for series in plot.series:
            values = (f"{value:.15g}" for value in series.values if value is not None)
            points = [f"{name}: {value}" for name, value in zip(names, values, strict=False)] if names else list(values)
            yield f"{series.name}: {', '.join(points)}"


def _beside(slide: _Slide) -> Iterator[str]:
    for relation in slide.part.rels.values():
        for ending, introduction in _BESIDE:
            if not relation.is_external and relation.reltype.endswith(ending):
                root = parse_xml(relation.target_part.blob)
                lines = ["".join(node.itertext(_DRAWN_TEXT)) for node in root.iter(_DRAWN_PARAGRAPH)]
                lines += [node.text or "" for node in root.iter(_COMMENT_TEXT)]
                if said := "\n".join(line for line in lines if line.strip()):
                    yield introduction + said


def _notes(slide: _Slide) -> Iterator[str]:
    # Asking for the notes of a slide without any makes some.
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if frame is not None and frame.text.strip():
        yield "Notes: " + _lines(frame.text)
