"""A document as the page shows it: its chunks put together again, and the file itself."""

import hashlib
import mimetypes
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote

from starlette.responses import Response

from bridge.service import Document, NotFound, Page
from indexer.records import Candidate, ChunkRow

# What a browser shows by itself and never runs. All else is saved.
SHOWN = frozenset({"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp"})
UNKNOWN_TYPE = "application/octet-stream"


def assembled(document: str, chunks: Sequence[Candidate]) -> Document:
    """`chunks`: all of one document, in reading order."""
    first = chunks[0]
    rows = [one.chunk for one in chunks]
    paged = rows[0].page is not None
    pages = tuple(Page(page or 0, _text(of_page)) for page, of_page in groupby(rows, key=lambda row: row.page))
    return Document(
        document=document,
        path=first.path,
        uri=Path(first.path).as_uri(),
        sha256=first.sha256,
        modified=datetime.fromtimestamp(first.mtime_ns / 1e9, UTC).isoformat(timespec="seconds"),
        media_type=mimetypes.guess_type(first.path)[0] or UNKNOWN_TYPE,
        text="\n\n".join(page.text for page in pages) if paged else _text(rows),
        pages=pages if paged else None,
    )


def _text(chunks: Iterable[ChunkRow]) -> str:
    """Chunks overlap, and between them blank text is left out: lines are where they were, as far as chunks know."""
    text, end, line = "", 0, 1
    for chunk in chunks:
        if text and chunk.start < end:
            text += chunk.text[end - chunk.start :]
        else:
            gap = chunk.start_line - line if chunk.start_line else 2
            text += "\n" * max(gap, 1 if text else 0) + chunk.text
        line = (chunk.end_line or 0) if chunk.end_line else 1 + text.count("\n")
        end = max(end, chunk.end)
    return text


def file_response(document: Document) -> Response:
    """The file. Raises NotFound where it is not the one that was indexed any more."""
    shown = document.media_type in SHOWN
    name = quote(Path(document.path).name)
    headers = {
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    content = _content(document)
    return Response(content, media_type=document.media_type if shown else UNKNOWN_TYPE, headers=headers)


def _content(document: Document) -> bytes:
    """What was indexed and nothing else: a link that took its place, or a secret, has another hash."""
    try:
        file = os.open(document.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(file, "rb") as opened:
            content = opened.read() if S_ISREG(os.fstat(file).st_mode) else b""
    except OSError as error:
        raise NotFound(f"{document.path} cannot be opened now: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != document.sha256:
        raise NotFound(f"{document.path} is not what was indexed any more: search again")
    return content
