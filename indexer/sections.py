"""Under which headings a place in a document stands, and what it takes to understand a text that begins there."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from indexer.parse.document import Document, Heading
from indexer.tokens import Offsets, token_starts

# The rest of a heading once its own line is gone: the rule below a setext one.
_NO_BODY = " \t\r\n=-"

Context = tuple[str, int]
"""Text, and how many tokens it has."""
_NONE: Context = ("", 0)


def groups(document: Document) -> Iterator[list[Heading]]:
    """Headings in reading order; those with nothing between them are one group."""
    group: list[Heading] = []
    for heading in document.headings:
        if group and not has_body(document.text[group[-1].offset : heading.offset]):
            group.append(heading)
            continue
        if group:
            yield group
        group = [heading]
    if group:
        yield group


def has_body(section: str) -> bool:
    """Whether a section that begins with its heading's line has more than that."""
    line_end = section.find("\n")
    return line_end >= 0 and bool(section[line_end:].strip(_NO_BODY))


def heading_finder(document: Document) -> Callable[[int], str | None]:
    """Offset -> the path "A > B" of the section that it is in."""
    offsets: list[int] = []
    paths: list[str | None] = []
    above: list[Heading] = []
    for group in groups(document):
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


def context_finder(document: Document, offsets: Offsets, most: int) -> Callable[[int], Context]:
    """Offset -> what a chunk that begins there needs of what stands further up, in at most so many tokens: within a
    table its header, within definitions their signatures."""
    tables = document.tables
    starts = [table.rows[0] for table in tables]
    fitted = _fitter(offsets, most)
    enclosing = _enclosing(document)

    def context_of(offset: int) -> Context:
        found = bisect_left(starts, offset) - 1
        if found >= 0 and offset < tables[found].end:
            return fitted((tables[found].header,))
        return fitted(enclosing(offset))

    return context_of


def _enclosing(document: Document) -> Callable[[int], tuple[str, ...]]:
    """Offset -> the signatures of the definitions that began before it and have not ended, the outermost first."""
    offsets: list[int] = []
    paths: list[tuple[str, ...]] = []
    above: list[Heading] = []
    for heading in document.headings if any(heading.signature for heading in document.headings) else ():
        while above and above[-1].level >= heading.level:
            above.pop()
        # At its very beginning a definition's text holds its signature itself.
        offsets += (heading.offset, heading.offset + 1)
        paths.append(tuple(opened.signature for opened in above if opened.signature))
        above.append(heading)
        paths.append(tuple(opened.signature for opened in above if opened.signature))

    def enclosing(offset: int) -> tuple[str, ...]:
        found = bisect_right(offsets, offset) - 1
        return paths[found] if found >= 0 else ()

    return enclosing


def _fitter(offsets: Offsets, most: int) -> Callable[[tuple[str, ...]], Context]:
    """The last of some lines, as many as fit; of a last one that is too long, its beginning."""
    known: dict[tuple[str, ...], Context] = {(): _NONE, ("",): _NONE}

    def fitted(lines: tuple[str, ...]) -> Context:
        if lines not in known:
            known[lines] = fit(lines)
        return known[lines]

    def fit(lines: tuple[str, ...]) -> Context:
        text = "\n".join(lines)
        tokens = token_starts(text, offsets)
        if len(tokens) <= most:
            return text, len(tokens)
        return fit(lines[1:]) if len(lines) > 1 else (text[: tokens[most]].rstrip(), most) if most else _NONE

    return fitted
