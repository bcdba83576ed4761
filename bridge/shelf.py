"""Documents as they are read, by URI: their text as the index has it.

No file is opened: what is not in the index cannot be read by any URI.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from bridge.excerpt import BYTES_PER_TOKEN, Stretch, backward, forward, shown_tokens, stretch
from bridge.service import BadInput, Excerpt, NotFound, Readable
from bridge.uris import At, document_uri, read_place, read_uri, text_type
from indexer.catalog import Catalog
from indexer.hits import Freshness
from indexer.records import ChunkRow, Filed

MOST_TOKENS = 1_000_000
_LONGEST = 20_000  # bytes of a path; SQLite takes patterns of 50 000, where % and _ are escaped
_AROUND_CHARS = 1_000
_REACH = 16  # chunks on each side, at first


def readable(catalog: Catalog, after: str, limit: int, prefix: str, containing: str) -> list[Readable]:
    if not _is_unicode(after + prefix + containing) or len(containing.encode()) > _LONGEST:
        return []
    return [Readable(one.path, one.size, _modified(one)) for one in catalog.shelf(after, limit, prefix, containing)]


def excerpt(
    catalog: Catalog, uri: str, around: str | None, max_tokens: int, whole: bool, freshness: Freshness
) -> Excerpt:
    """Raises BadInput or NotFound."""
    if not 1 <= max_tokens <= MOST_TOKENS:
        raise BadInput(f"max_tokens was expected to be 1 to {MOST_TOKENS:,}, it is {max_tokens:,}")
    filed, at = _found(catalog, uri)
    if around and around.strip():
        at = _around(catalog, filed, around.strip())
    chunks = _chunks(catalog, filed.id, at, max_tokens * BYTES_PER_TOKEN)
    if not chunks:
        return _told(filed, None, freshness)
    there = stretch(chunks)
    is_last = not catalog.neighbours(filed.id, chunks[-1].ordinal + 1, chunks[-1].ordinal + 1)
    start, end = _span(filed.path, there, at, is_last)
    if whole:
        end = end or (there.page_end(start) if at and at.kind == "page" else there.end)
        _require_room(filed.path, there, start, end, max_tokens)
    elif end is None:
        end = start + len(forward(there.between(start), max_tokens))
    else:
        start, end = _with_its_surroundings(there, start, end, max_tokens)
    return _told(filed, there, freshness, _trimmed(there, start, end), is_last, chunks)


def _found(catalog: Catalog, uri: str) -> tuple[Filed, At | None]:
    """A path is taken as it is, too: models have read it in a passage's citation."""
    if uri.startswith("/"):
        path, mark, place = uri.rpartition("#")
        at = None
        filed = _filed(catalog, uri)
        if filed is None and mark and (filed := _filed(catalog, path)):
            at = read_place(place)
    else:
        path, at = read_uri(uri)
        filed = _filed(catalog, path)
    if filed is None:
        raise NotFound(
            f"no document of the index is {uri[:200]!a}: call `search`, and read what a passage names as its uri"
        )
    if filed.state == "failed":
        raise NotFound(f"{filed.path} could not be read when it was to be indexed: {filed.reason}")
    return filed, at


def _filed(catalog: Catalog, path: str) -> Filed | None:
    return catalog.filed(path) if _is_unicode(path) else None


def _is_unicode(text: str) -> bool:
    """No document's path has half a surrogate pair."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _around(catalog: Catalog, filed: Filed, around: str) -> At:
    first = [one.chunk for one in catalog.neighbours(filed.id, 0, 0)]
    if around.isdecimal() and around.isascii() and len(around) < 10 and first:
        if first[0].page is not None:
            return At("page", int(around))
        if first[0].start_line is not None:
            return At("line", max(1, int(around)), max(1, int(around)))
    words = re.compile(r"\s+".join(map(re.escape, around[:_AROUND_CHARS].split())), re.IGNORECASE)
    texts = catalog.texts(filed.id)
    for start, _, heading in texts:
        if heading and heading.casefold() == around.casefold():
            return At("char", start, start)
    for start, text, _ in texts:
        if found := words.search(text):
            return At("char", start + found.start(), start + found.end())
    raise NotFound(
        f"{around[:80]!a} does not stand in {filed.path}: name a line, a page or words that do, or `search` with "
        "`in` set to this path"
    )


def _chunks(catalog: Catalog, document: int, at: At | None, chars: int) -> list[ChunkRow]:
    """Those around a place, with at least so many characters on each side of it where there are so many."""
    middle = catalog.ordinal_at(document, at.kind, at.first) if at else 0
    reach = _REACH
    while True:
        chunks = [one.chunk for one in catalog.neighbours(document, max(0, middle - reach), middle + reach)]
        ahead = [len(chunk.text) for chunk in chunks if chunk.ordinal < middle]
        behind = [len(chunk.text) for chunk in chunks if chunk.ordinal > middle]
        is_first, is_last = reach >= middle, len(behind) < reach
        if (is_first or sum(ahead) > chars) and (is_last or sum(behind) > chars):
            return chunks
        reach *= 2


def _span(path: str, there: Stretch, at: At | None, is_last: bool) -> tuple[int, int | None]:
    if at is None:
        return there.start, None
    if at.kind == "page":
        start = there.page_start(at.first)
        if start is None:
            raise BadInput(f"{path} has no pages: read it from its beginning, or around words that stand in it")
        if is_last and at.first > (last := there.pages[-1][1]):
            raise NotFound(f"{path} has no page {at.first}: its text ends on page {last}")
        return start, None
    if at.kind == "line" and there.first_line is None:
        raise BadInput(f"{path} has no lines: read it from its beginning, or around words that stand in it")
    start = there.line_start(at.first) if at.kind == "line" else max(there.start, at.first)
    if start >= there.end:
        last = f"line {there.line_at(there.end)}" if at.kind == "line" else f"character {there.end}"
        raise NotFound(f"{path} ends at {last}: there is nothing at {at}")
    if at.last is None:
        return start, None
    last = there.line_start(at.last + 1) if at.kind == "line" else at.last
    return start, max(start, min(there.end, last))


def _require_room(path: str, there: Stretch, start: int, end: int, max_tokens: int) -> None:
    if shown_tokens(there.between(start, end)) > max_tokens:
        part = there.place(start, start + len(forward(there.between(start), max_tokens)))
        raise BadInput(
            f"this is longer than the {max_tokens:,} tokens that are given at once: read it in parts, the first of "
            f"them as {document_uri(path)}#{part}"
        )


def _with_its_surroundings(there: Stretch, start: int, end: int, max_tokens: int) -> tuple[int, int]:
    """As much before as behind, or more on one side where the other has less."""
    focus = forward(there.between(start, end), max_tokens)
    end = start + len(focus)
    room = max_tokens - shown_tokens(focus)
    ahead, behind = there.between(there.start, start), there.between(end)
    before = backward(ahead, room - shown_tokens(forward(behind, room // 2)))
    after = forward(behind, room - shown_tokens(before))
    return start - len(before), end + len(after)


def _trimmed(there: Stretch, start: int, end: int) -> tuple[int, int]:
    """Without blank text at its ends; indentation stays."""
    text = there.between(start, end)
    return start + _blank(text), start + len(text.rstrip())


def _blank(text: str) -> int:
    """How much of its beginning is blank lines."""
    blank = text[: len(text) - len(text.lstrip())]
    return max(blank.rfind(mark) for mark in "\n\r\f") + 1


def _told(
    filed: Filed,
    there: Stretch | None,
    freshness: Freshness,
    span: tuple[int, int] = (0, 0),
    is_last: bool = True,
    chunks: Sequence[ChunkRow] = (),
) -> Excerpt:
    start, end = span
    uri = document_uri(filed.path)
    rest = there.between(end) if there else ""
    goes_on = bool(rest.strip()) or not is_last
    whole = there is None or (there.is_beginning and not there.between(there.start, start).strip() and not goes_on)
    here = there.place(start, end) if there else None
    further = there.place(end + _blank(rest)) if there else None
    return Excerpt(
        path=filed.path,
        uri=uri if whole else f"{uri}#{here}",
        text=there.between(start, end) if there else "",
        start_line=there.line_at(start) if there else None,
        end_line=there.line_at(end) if there else None,
        page=there.page_at(start) if there else None,
        last_page=there.page_at(max(start, end - 1)) if there else None,
        # Within a chunk another section may have begun.
        heading=next((chunk.heading for chunk in chunks if chunk.start == start), None),
        sha256=filed.sha256,
        modified=_modified(filed),
        media_type=text_type(filed.path),
        next=f"{uri}#{further}" if goes_on else None,
        freshness=freshness,
    )


def _modified(filed: Filed) -> str:
    return datetime.fromtimestamp(filed.mtime_ns / 1e9, UTC).isoformat(timespec="seconds")
