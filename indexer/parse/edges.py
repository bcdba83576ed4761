"""Running headers, footers and page numbers: what stands at the edge of page after page is no part of the text."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"\W*(?:page|seite|página|pagina|p|s)?\W*\d{1,5}\W*(?:(?:of|von|de|di|sur)?\W*\d{1,5})?\W*", re.IGNORECASE
)
# Left and right pages may differ: a line that runs is on every second page at least.
_MOST_APART = 2
_LEAST_PAGES = 3
_LEAST_NUMBERED = 2

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """`edges`: the lines at its top and at its bottom, which are lines of `text` too."""

    text: str
    edges: tuple[Sequence[str], Sequence[str]]


def without_edges(pages: Sequence[Page]) -> list[str]:
    """The pages' texts without what runs from page to page at their edges. Numbers may count with the pages; all else
    is the same. Words stay where they stand first: whoever searches for them finds the document."""
    running: list[set[tuple[int, str]]] = [set() for _ in pages]
    for edge in (0, 1):  # at the top, at the bottom
        for key, on in _places(pages, edge).items():
            for run in _runs(sorted(on)):
                numbered = all(_PAGE_NUMBER.fullmatch(on[page]) for page in run)
                if len(run) >= (_LEAST_NUMBERED if numbered and key[1] else _LEAST_PAGES):
                    for page in run if numbered else run[1:]:
                        running[page].add((edge, on[page]))
    return [_without(page.text, lines) if lines else page.text for page, lines in zip(pages, running, strict=True)]


def _places(pages: Sequence[Page], edge: int) -> dict[_Key, dict[int, str]]:
    """What stands at an edge -> on which pages, and how it is written there."""
    places: dict[_Key, dict[int, str]] = defaultdict(dict)
    for number, page in enumerate(pages):
        for line in page.edges[edge]:
            for key in _keys(_plain(line), number):
                places[key].setdefault(number, _plain(line))
    return places


def _keys(line: str, page: int) -> Iterator[_Key]:
    """The line as it stands, and with each of its numbers as the distance from the page's."""
    yield line, 0
    for found in _NUMBER.finditer(line):
        if len(found[0]) <= 5:
            yield f"{line[: found.start()]}\0{int(found[0]) - page}\0{line[found.end() :]}", 1


def _runs(pages: Sequence[int]) -> Iterator[list[int]]:
    run = [pages[0]]
    for before, page in pairwise(pages):
        if page - before > _MOST_APART:
            yield run
            run = []
        run.append(page)
    yield run


def _without(text: str, running: Iterable[tuple[int, str]]) -> str:
    lines = text.split("\n")
    for edge, gone in running:
        order = range(len(lines)) if edge == 0 else range(len(lines) - 1, -1, -1)
        at = next((at for at in order if _plain(lines[at]) == gone), None)
        if at is not None:
            del lines[at]
    return "\n".join(lines).strip()


def _plain(line: str) -> str:
    return " ".join(line.split())
