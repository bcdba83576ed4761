"""A document becomes chunks: spans of about `size` tokens that end where a sentence, a section or a line ends."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from indexer.parse.document import Document, Heading, Table, line_starts
from indexer.sections import Context, context_finder, groups, has_body, heading_finder
from indexer.tokens import Offsets, between_words, token_starts

# Part of the index's signature: raise it when the same text would give other chunks.
VERSION = 2

_CAPITAL = r"[^\Wa-zß-öø-ÿα-ωа-џ_]"
_LINE_END = re.compile(r"\r\n|\r|\n")
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(
    # Not the "7." of a numbered list.
    rf"(?<=[.!?…؟।])(?<!\s\d\.)(?<!\s\d\d\.)[\"')\]”’»]*\s+(?={_CAPITAL}|[\"'(\[“„«‘¿¡])"
    r"|(?<=[。！？])[」』”’）]*"
    r"|\n\s*\n"
    r"|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])"
)
_BLANKS = 8  # between two sentences; more are not looked for
# A chunk's context has at most this share of its tokens.
_CONTEXT_SHARE = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is the document's text from `start` to `end`. Lines and pages count from 1, lines inclusive.

    `heading`: the path "A > B" of the section in which the chunk starts. `context`: what stands further up and is
    needed to understand the text; it is searched with it, and is no part of it.
    """

    text: str
    start: int
    end: int
    start_line: int | None
    end_line: int | None
    page: int | None
    heading: str | None
    context: str = ""


def chunk(document: Document, offsets: Offsets, size: int = 240, overlap: int = 40) -> list[Chunk]:
    """Chunks of at most `size` tokens, context included, in reading order, which together cover every visible
    character. A text without a token has none.

    Prose and code are cut where a sentence or a line ends near the limit, and `overlap` tokens are repeated from the
    start of one; a heading begins a new chunk once the running one has a quarter of `size`, and nothing is repeated
    across it. Only whole lines of code are repeated. A table is one chunk's where it fits, else it is cut between its
    rows.

    Args:
        offsets: the (start, end) of each token of a text; called with pieces of the document's text.
    """
    if not 0 <= 2 * overlap < size:
        raise ValueError(f"expected an overlap below half of the size {size}, found {overlap}")
    text = document.text
    starts = token_starts(text, offsets)
    cuts = _cuts(document, starts)
    context_of = context_finder(document, offsets, size // _CONTEXT_SHARE)
    place = _placer(document)
    chunks = (place(*span) for span in _spans(text, starts, cuts, context_of, size, overlap))
    return [placed for placed in chunks if placed]


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table in token numbers. `keep`: where it begins together with the heading right above it; `least`: a chunk that
    has its beginning does not end before this, for a header alone says nothing."""

    keep: int
    start: int
    least: int
    rows: Sequence[int]
    end: int


def breaks(text: str, start: int, end: int) -> list[int]:
    """Where from `start` to `end`, and a little around, sentences of a text begin, its own beginning left out; where
    lines do if no sentence of the whole text does."""
    kind = _SENTENCE_END if _SENTENCE_END.search(text) else _LINE_END
    return [found.end() for found in kind.finditer(text, max(0, start - _BLANKS), max(0, end + _BLANKS))]


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Token numbers, rising. `sections`: where headings begin. `clean`: nothing is repeated across these.
    `ends`: where a chunk may end near its limit, the best kind first; `words`: or else between two words."""

    sections: Sequence[int]
    clean: Sequence[int]
    ends: tuple[Sequence[int], ...]
    words: bool
    tables: Sequence[_Rows] = ()


def _cuts(document: Document, starts: Sequence[int]) -> _Cuts:
    text = document.text

    def tokens(offsets: Iterable[int]) -> list[int]:
        return sorted({bisect_left(starts, offset) for offset in offsets})

    lines = tokens(line_starts(text))
    headings = list(groups(document))
    sections = tokens(group[0].offset for group in headings)
    if document.kind == "code":
        blanks = tokens(end.end() for end in _PARAGRAPH_END.finditer(text))
        return _Cuts(sections, sorted({*sections, *blanks}), (blanks, lines), words=False)
    sentences = tokens(end.end() for end in _SENTENCE_END.finditer(text))
    if not document.tables:
        return _Cuts(sections, sections, (sentences, lines), words=True)
    tables = [_rows(document, table, headings, tokens) for table in document.tables]
    borders = {at for table in tables for at in (*table.rows, table.end)}
    ends = [sorted({*_outside(tables, kind), *borders}) for kind in (sentences, lines)]
    # What stands before a table may be repeated with it.
    clean = sorted({*sections, *(at for table in tables for at in (*table.rows[1:], table.end))})
    return _Cuts(sections, clean, tuple(ends), words=True, tables=tables)


def _rows(document: Document, table: Table, above: Sequence[list[Heading]], tokens: Callable[..., list[int]]) -> _Rows:
    rows = tokens(table.rows)
    start, least = rows[0], rows[min(len(rows), 2) - 1] if table.header else rows[0]
    near = bisect_right(above, table.rows[0], key=lambda group: group[-1].offset) - 1
    alone = near >= 0 and not has_body(document.text[above[near][-1].offset : table.rows[0]])
    keep = tokens([above[near][0].offset])[0] if alone else start
    return _Rows(keep, start, least, rows, tokens([table.end])[0])


def _outside(tables: Sequence[_Rows], tokens: Iterable[int]) -> Iterator[int]:
    starts = [table.start for table in tables]
    for token in tokens:
        above = bisect_left(starts, token) - 1
        if above < 0 or token >= tables[above].end:
            yield token


def _spans(
    text: str,
    starts: Sequence[int],
    cuts: _Cuts,
    context_of: Callable[[int], Context],
    size: int,
    overlap: int,
) -> Iterator[tuple[int, int, str]]:
    """The offsets between which chunks lie, and each one's context."""
    first, count = 0, len(starts)
    while first < count:
        begin = starts[first] if first else 0
        context, tokens = context_of(begin)
        end = _end(text, starts, cuts, first, size, size - tokens)
        yield begin, starts[end] if end < count else len(text), context
        if end == count:
            return
        first = _next(text, starts, cuts, end, size, overlap)


def _end(text: str, starts: Sequence[int], cuts: _Cuts, first: int, size: int, room: int) -> int:
    """`room`: how many of the chunk's tokens are left for its text."""
    limit, half = min(len(starts), first + room), first + size // 2
    section = bisect_left(cuts.sections, first + max(1, size // 4))
    if section < len(cuts.sections) and cuts.sections[section] <= limit:
        return cuts.sections[section]
    if limit == len(starts):
        return limit
    if (cut := _row_end(cuts.tables, first, limit, size)) is not None:
        return cut
    for ends in cuts.ends:
        near = bisect_right(ends, limit) - 1
        if near >= 0 and ends[near] > half:
            return ends[near]
    return next((at for at in range(limit, half, -1) if between_words(text, starts[at])), limit)


def _row_end(tables: Sequence[_Rows], first: int, limit: int, size: int) -> int | None:
    """Where a chunk ends whose limit lies within a table."""
    found = bisect_left(tables, limit, key=lambda table: table.start) - 1
    if found < 0 or limit >= (table := tables[found]).end:
        return None
    if first < table.keep and table.end - table.keep <= size:
        return table.keep
    row = table.rows[bisect_right(table.rows, limit) - 1]
    if row > max(first, table.least):
        return row
    # Overlap is less than half: the chunk that begins here goes on.
    return table.keep if table.keep > first + size // 2 else None


def _next(text: str, starts: Sequence[int], cuts: _Cuts, end: int, size: int, overlap: int) -> int:
    """Where the chunk after the one that ends at `end` begins."""
    clean = bisect_right(cuts.clean, end) - 1
    since = cuts.clean[clean] if clean >= 0 else 0
    want = max(end - overlap, since)
    table = bisect_left(cuts.tables, end, key=lambda table: table.start)
    if table < len(cuts.tables) and cuts.tables[table].start == end and cuts.tables[table].end - end <= size:
        want = max(want, cuts.tables[table].end - size)
    if want in (since, end):
        return want
    for ends in cuts.ends:
        near = bisect_left(ends, want)
        if near < len(ends) and ends[near] < end:
            return ends[near]
    if not cuts.words:
        return end
    return next((at for at in range(want, end) if between_words(text, starts[at])), end)


def _placer(document: Document) -> Callable[[int, int, str], Chunk | None]:
    """Says where in the document a span lies; none where it shows nothing."""
    text, pages = document.text, document.pages
    lines = line_starts(text) if document.has_lines else []
    heading_of = heading_finder(document)

    def place(start: int, end: int, context: str) -> Chunk | None:
        span = text[start:end]
        start += len(span) - len(span.lstrip())
        span = span.strip()
        if not span:
            return None
        end = start + len(span)
        return Chunk(
            span,
            start,
            end,
            bisect_right(lines, start) if lines else None,
            bisect_right(lines, end - 1) if lines else None,
            _page(pages, start, end) if pages else None,
            heading_of(start),
            context,
        )

    return place


def _page(pages: Sequence[int], start: int, end: int) -> int:
    """The page that holds most of the span, the first of several."""
    first, last = bisect_right(pages, start), bisect_right(pages, end - 1)
    bounds = [start, *pages[first:last], end]
    return first + max(range(last - first + 1), key=lambda n: bounds[n + 1] - bounds[n])
