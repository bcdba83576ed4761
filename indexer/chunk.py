"""A document becomes chunks: spans of about `size` tokens that end where a sentence, a section or a line ends."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from indexer.parse.document import Document, Heading, line_starts

# Part of the index's signature: raise it when the same text would give other chunks.
VERSION = 1

# The tokenizer holds the GIL while it lists the offsets of one piece.
_PIECE_CHARS = 50_000
# No word's token is this long: a longer stretch is data (base64, a minified line), counted by its length.
_LONG_CHARS = 24
_DATA_CHARS_PER_TOKEN = 5
_BLANK_CHARS = 1_000

_CAPITAL = r"[^\Wa-zß-öø-ÿα-ωа-џ_]"
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(
    # Not the "7." of a numbered list.
    rf"(?<=[.!?…؟।])(?<!\s\d\.)(?<!\s\d\d\.)[\"')\]”’»]*\s+(?={_CAPITAL}|[\"'(\[“„«‘¿¡])"
    r"|(?<=[。！？])[」』”’）]*"
    r"|\n\s*\n"
    r"|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])"
)
# The rest of a heading once its own line is gone: the rule below a setext one.
_NO_BODY = " \t\r\n=-"


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


Offsets = Callable[[str], Sequence[tuple[int, int]]]


def chunk(document: Document, offsets: Offsets, size: int = 240, overlap: int = 40) -> list[Chunk]:
    """Chunks of at most `size` tokens in reading order, which together cover every visible character. A text without
    a token has none.

    Prose and code are cut where a sentence or a line ends near the limit, and `overlap` tokens are repeated from the
    start of one; a heading begins a new chunk once the running one has a quarter of `size`, and nothing is repeated
    across it. Only whole lines of code are repeated.

    Args:
        offsets: the (start, end) of each token of a text; called with pieces of the document's text.
    """
    if not 0 <= 2 * overlap < size:
        raise ValueError(f"expected an overlap below half of the size {size}, found {overlap}")
    text = document.text
    starts = _token_starts(text, offsets)
    cuts = _cuts(document, starts)
    place = _placer(document)
    chunks = (place(start, end) for start, end in _spans(text, starts, cuts, size, overlap))
    return [placed for placed in chunks if placed]


def _token_starts(text: str, offsets: Offsets) -> "array[int]":
    """Where each token starts, in rising order; stretches that the tokenizer skips or takes whole are divided."""
    starts, last = array("q"), 0
    for begin, end in _pieces(text):
        for first, after in offsets(text[begin:end]):
            if after > first:
                at = begin + first
                if at - last > _LONG_CHARS:
                    starts.extend(_divided(text, last, at))
                # One letter can be several tokens (Hangul), and marks can be reordered.
                last = max(last, at)
                starts.append(last)
    if starts:
        starts.extend(_divided(text, last, len(text)))
    return starts


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Spans to tokenize one by one, cut where that changes no token: at a newline, else between words."""
    begin = 0
    while len(text) - begin > _PIECE_CHARS:
        limit = begin + _PIECE_CHARS
        end = text.rfind("\n", begin, limit) + 1 or text.rfind(" ", begin, limit) + 1
        if end <= begin:
            end = next((at for at in range(limit, begin, -1) if _between_words(text, at)), limit)
        yield begin, end
        begin = end
    yield begin, len(text)


def _between_words(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    # Chinese and Japanese characters are words of their own here, as they are to WordPiece.
    if "\u2e80" <= before < "\uac00" or "\u2e80" <= after < "\uac00":
        return True
    # Letters, digits and the marks that go with them.
    return not ("_" + before + after).isidentifier()


def _divided(text: str, begin: int, end: int) -> range:
    stretch = text[begin:end]
    visible = len(stretch.rstrip())
    if visible <= _LONG_CHARS and len(stretch) <= _BLANK_CHARS:
        return range(0)
    until = end if len(stretch) > _BLANK_CHARS else begin + visible
    return range(begin + _DATA_CHARS_PER_TOKEN, until, _DATA_CHARS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Token numbers, rising. `sections`: where headings begin. `clean`: nothing is repeated across these.
    `ends`: where a chunk may end near its limit, the best kind first; `words`: or else between two words."""

    sections: Sequence[int]
    clean: Sequence[int]
    ends: tuple[Sequence[int], ...]
    words: bool


def _cuts(document: Document, starts: Sequence[int]) -> _Cuts:
    text = document.text

    def tokens(offsets: Iterable[int]) -> list[int]:
        return sorted({bisect_left(starts, offset) for offset in offsets})

    lines = tokens(line_starts(text))
    sections = tokens(group[0].offset for group in _groups(document))
    if document.kind == "code":
        blanks = tokens(end.end() for end in _PARAGRAPH_END.finditer(text))
        return _Cuts(sections, sorted({*sections, *blanks}), (blanks, lines), words=False)
    sentences = tokens(end.end() for end in _SENTENCE_END.finditer(text))
    return _Cuts(sections, sections, (sentences, lines), words=True)


def _spans(text: str, starts: Sequence[int], cuts: _Cuts, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """The offsets between which chunks lie."""
    first, count = 0, len(starts)
    while first < count:
        end = _end(text, starts, cuts, first, size)
        yield starts[first] if first else 0, starts[end] if end < count else len(text)
        if end == count:
            return
        first = _next(text, starts, cuts, end, overlap)


def _end(text: str, starts: Sequence[int], cuts: _Cuts, first: int, size: int) -> int:
    limit, half = min(len(starts), first + size), first + size // 2
    section = bisect_left(cuts.sections, first + max(1, size // 4))
    if section < len(cuts.sections) and cuts.sections[section] <= limit:
        return cuts.sections[section]
    if limit == len(starts):
        return limit
    for ends in cuts.ends:
        near = bisect_right(ends, limit) - 1
        if near >= 0 and ends[near] > half:
            return ends[near]
    return next((at for at in range(limit, half, -1) if _between_words(text, starts[at])), limit)


def _next(text: str, starts: Sequence[int], cuts: _Cuts, end: int, overlap: int) -> int:
    """Where the chunk after the one that ends at `end` begins."""
    clean = bisect_right(cuts.clean, end) - 1
    since = cuts.clean[clean] if clean >= 0 else 0
    want = max(end - overlap, since)
    if want in (since, end):
        return want
    for ends in cuts.ends:
        near = bisect_left(ends, want)
        if near < len(ends) and ends[near] < end:
            return ends[near]
    if not cuts.words:
        return end
    return next((at for at in range(want, end) if _between_words(text, starts[at])), end)


def _groups(document: Document) -> Iterator[list[Heading]]:
    """Headings in reading order; those with nothing between them are one group."""
    group: list[Heading] = []
    for heading in document.headings:
        if group and not _has_body(document.text[group[-1].offset : heading.offset]):
            group.append(heading)
            continue
        if group:
            yield group
        group = [heading]
    if group:
        yield group


def _has_body(section: str) -> bool:
    line_end = section.find("\n")
    return line_end >= 0 and bool(section[line_end:].strip(_NO_BODY))


def _placer(document: Document) -> Callable[[int, int], Chunk | None]:
    """Says where in the document a span lies; none where it shows nothing."""
    text, pages = document.text, document.pages
    lines = line_starts(text) if document.has_lines else []
    heading_of = _heading_finder(document)

    def place(start: int, end: int) -> Chunk | None:
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
        )

    return place


def _page(pages: Sequence[int], start: int, end: int) -> int:
    """The page that holds most of the span, the first of several."""
    first, last = bisect_right(pages, start), bisect_right(pages, end - 1)
    bounds = [start, *pages[first:last], end]
    return first + max(range(last - first + 1), key=lambda n: bounds[n + 1] - bounds[n])


def _heading_finder(document: Document) -> Callable[[int], str | None]:
    offsets: list[int] = []
    paths: list[str | None] = []
    above: list[Heading] = []
    for group in _groups(document):
        for heading in group:
            while above and above[-1].level >= heading.level:
                above.pop()
            above.append(heading)
            offsets.append(heading.offset)
            paths.append(" > ".join(opened.title for opened in above if opened.title) or None)
        if document.kind != "code":
            # A title and its first section at once: the text below belongs to the section.
            paths[-len(group) :] = [paths[-1]] * len(group)

    def heading_of(offset: int) -> str | None:
        found = bisect_right(offsets, offset) - 1
        return paths[found] if found >= 0 else None

    return heading_of
