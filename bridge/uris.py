"""What documents and passages are called by (pure): a document by its file's URI, a passage by that and its place.

    file:///home/ana/vpn%20%231.md                the document
    file:///home/ana/vpn%20%231.md#L10-L20        these lines
    file:///home/ana/handbook.pdf#page=3          this page (of slides: this slide)
    file:///home/ana/lease.docx#char=1200,1650    these characters of its text, where it has neither

A place without an end, as #L10 or #char=1200, goes on to the document's.
"""

import re
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, unquote_to_bytes

from bridge.service import BadInput, Citation
from indexer.hits import Hit

_PLAIN = "text/plain"
_OWN = ("text/markdown", "text/csv", "application/json", "text/css", "text/javascript", "application/xml", "text/xml")
MAX_URI_CHARS = 16_000
_SHOWN = 200
_LINES = re.compile(r"L([0-9]{1,9})(?:-L?([0-9]{1,9}))?")
_PAGE = re.compile(r"page=([0-9]{1,9})")
_CHARS = re.compile(r"char=([0-9]{1,12})(?:,([0-9]{1,12}))?")
_FILE = re.compile(r"file:(?://(?P<host>[^/#]*))?(?P<path>/[^#]*)(?:#(?P<place>.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class At:
    """Lines and pages count from 1 and characters from 0; `last` is among the lines, and right behind the characters.
    Null where it goes on."""

    kind: Literal["line", "page", "char"]
    first: int
    last: int | None = None

    def __str__(self) -> str:
        if self.kind == "page":
            return f"page={self.first}"
        if self.kind == "line":
            return f"L{self.first}" if self.last is None else f"L{self.first}-L{self.last}"
        return f"char={self.first}" if self.last is None else f"char={self.first},{self.last}"


def document_uri(path: str) -> str:
    return Path(path).as_uri()


def passage_uri(at: Hit | Citation) -> str:
    """The document's own where nothing says more than which it is."""
    if at.page is not None:
        place = At("page", at.page)
    elif at.start_line is not None:
        place = At("line", at.start_line, at.end_line)
    elif isinstance(at, Hit) and at.span:
        place = At("char", *at.span)
    else:
        return document_uri(at.path)
    return f"{document_uri(at.path)}#{place}"


def text_type(path: str) -> str:
    """The media type of a document's text: the file's own where that is text as it is written."""
    type_ = guess_type(path)[0] or _PLAIN
    return type_ if type_ in _OWN or type_.startswith("text/x-") else _PLAIN


def read_uri(uri: str) -> tuple[str, At | None]:
    """The path and the place that a URI names. Raises BadInput."""
    found = _FILE.fullmatch(uri) if len(uri) <= MAX_URI_CHARS else None
    if not found or (found["host"] or "").lower() not in ("", "localhost"):
        raise BadInput(
            "expected a document's or passage's URI as `search` gives it, like file:///home/ana/notes.md#L10-L20; got "
            f"{_short(uri)}"
        )
    try:
        path = unquote_to_bytes(found["path"]).decode()
    except UnicodeError as error:
        raise BadInput(f"expected a URI whose escapes are UTF-8; got {_short(uri)}") from error
    return path, read_place(unquote(found["place"])) if found["place"] else None


def read_place(place: str) -> At:
    """Raises BadInput."""
    if (lines := _LINES.fullmatch(place)) and 0 < int(lines[1]) <= int(lines[2] or lines[1]):
        return At("line", int(lines[1]), int(lines[2]) if lines[2] else None)
    if (page := _PAGE.fullmatch(place)) and int(page[1]):
        return At("page", int(page[1]))
    if (chars := _CHARS.fullmatch(place)) and int(chars[1]) <= int(chars[2] or chars[1]):
        return At("char", int(chars[1]), int(chars[2]) if chars[2] else None)
    raise BadInput(f"expected a place like #L10-L20, #page=3 or #char=1200,1650; got {_short(place)}")


def _short(text: str) -> str:
    return ascii(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
