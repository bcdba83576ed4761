"""Jupyter notebooks: the cells in order, Markdown with its headings, code, and what it printed, trimmed."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from indexer.parse import markdown
from indexer.parse.document import Document, Draft, Unreadable
from indexer.parse.text import decode

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MOST_OUTPUT_CHARS = 2_000
# Best first. What is drawn (pictures, widgets, HTML) has a text beside it that says as much.
_TEXTS = ("text/markdown", "text/plain", "text/latex")
_LINE_CHARS = 1_000

_Json = dict[str, Any]


def parse(data: bytes) -> Document:
    if not data.strip():
        return Document("", None, "notebook")
    try:
        book = json.loads(decode(data))
        cells = list(_cells(book))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(
            "expected a Jupyter notebook, found what is none or is broken: open it in Jupyter and save it anew"
        ) from error
    draft, title = Draft(), None
    for kind, text in cells:
        if kind == "markdown":
            section = markdown.parse(text)
            title = title or section.title
            draft.include(section)
        else:
            draft.add(text)
    return draft.document(title, "notebook")


def _cells(book: _Json) -> Iterator[tuple[str, str]]:
    """(kind, text) of each cell and each output that has any."""
    if not isinstance(book.get("cells", book.get("worksheets")), list):
        raise ValueError("no list of cells")
    # Before 2015 the cells were in worksheets, code was called input.
    older = (cell for sheet in book.get("worksheets", ()) for cell in sheet.get("cells", ()))
    for cell in book.get("cells") or older:
        kind = cell.get("cell_type")
        source = _joined(cell.get("source", cell.get("input", "")))
        if kind == "heading":
            kind, source = "markdown", "#" * int(cell.get("level", 1)) + " " + source
        if source.strip():
            yield str(kind), source.strip("\n")
        for output in cell.get("outputs", ()):
            if text := _printed(output):
                yield "output", text


def _printed(output: _Json) -> str:
    if output.get("output_type") in ("error", "pyerr"):
        text = f"{output.get('ename', '')}: {output.get('evalue', '')}"
    else:
        shown = output.get("data", output)
        if any(str(kind).startswith("image/") or kind in ("png", "jpeg", "svg") for kind in shown):
            return ""  # its text is <Figure size 640x480 with 1 Axes>
        found = (shown[kind] for kind in (*_TEXTS, "text") if kind in shown)
        text = _joined(next(found, ""))
    return _trimmed(_COLOURS.sub("", text).strip())


def _trimmed(text: str) -> str:
    # A line without end is a picture or a table in disguise.
    text = "\n".join(line[:_LINE_CHARS] for line in text.splitlines())
    return text if len(text) <= _MOST_OUTPUT_CHARS else text[:_MOST_OUTPUT_CHARS] + " …"


def _joined(text: object) -> str:
    if isinstance(text, list):
        return "".join(map(str, cast(list[object], text)))
    return text if isinstance(text, str) else ""
