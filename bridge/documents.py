"""A document as the page shows it: its chunks put together again, and the file itself."""

import mimetypes
import os
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote

import anyio
from starlette.responses import Response, StreamingResponse

from bridge.service import Document, NotFound, Page
from indexer.records import Candidate, ChunkRow

# What a browser shows by itself and never runs. All else is saved.
SHOWN = frozenset({"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp"})
UNKNOWN_TYPE = "application/octet-stream"
_PIECE = 1 << 18


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
    """The file as it is now. Raises NotFound where that is not the indexed file any more: a link, or gone."""
    shown = document.media_type in SHOWN
    name = quote(Path(document.path).name)
    headers = {
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{name}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    file = _opened(document.path)
    return StreamingResponse(_read(file), media_type=document.media_type if shown else UNKNOWN_TYPE, headers=headers)


async def _read(file: int) -> AsyncGenerator[bytes]:
    async with await anyio.open_file(file, "rb") as opened:
        while piece := await opened.read(_PIECE):
            yield piece


def _opened(path: str) -> int:
    try:
        if os.path.realpath(path) != path:
            raise NotFound(f"{path} is reached through a link now: it is not given out")
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        regular = S_ISREG(os.fstat(file).st_mode)
    except OSError as error:
        raise NotFound(f"{path} cannot be opened now: {error.strerror}") from error
    if not regular:
        os.close(file)
        raise NotFound(f"{path} is no file any more")
    return file
