"""HTML: what a reader of the page reads, with its title and headings; navigation, scripts and styles left out."""
# lxml and trafilatura's trees have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any, Literal

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]
from lxml import html as lxml_html

from indexer.parse.document import Document, Heading, Table, Unreadable
from indexer.parse.tables import header
from indexer.parse.text import decode

_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
# Browsers read these names as the superset that was meant.
_SUPERSETS = {"iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "shift_jis": "cp932"}
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DECLARATION = re.compile(r"\s*<\?xml[^>]*>")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_TIDY = re.compile(r" *\n *| {2,}")
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_SKIPPED = frozenset(
    "head script style noscript template svg iframe object embed canvas nav footer select button dialog".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure form header"
    " hr html legend main ol p quote section summary table tbody tfoot thead tr ul".split()
)
# A table whose cells hold these lays the page out; its rows are no data.
_LAYOUT = ("table", "pre", *_LEVELS)
# Where trafilatura keeps less than this of a page's text, the rest is taken for navigation.
_MOST = 0.6
_LITTLE_CHARS = 500
# It takes 3 s for a page of 1 MB.
_MOST_PAGE_CHARS = 1_000_000
_TITLE_CHARS = 200

_Element = Any
_Shape = Literal["block", "item", "row", "raw"]


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, a list's item, a table's row or preformatted text. `level` is 0 unless it is a heading. `table`:
    the number of the table that a row is of; `names`: it is marked as the one that names the columns."""

    text: str
    shape: _Shape
    level: int
    table: int
    names: bool


@dataclass(frozen=True, slots=True)
class _Open:
    """Here a block begins; what came before it is complete."""

    shape: _Shape = "block"
    level: int = 0
    table: int = 0
    names: bool = False


_OPENS = {
    **{tag: _Open() for tag in _BLOCKS},
    **{tag: _Open(level=level) for tag, level in _LEVELS.items()},
    "li": _Open("item"),
    "pre": _Open("raw"),
}


def parse(data: bytes, main: bool = True) -> Document:
    """`main`: menus and the like are left out, where the page has them; else it is content from end to end."""
    return read(_decode(data), main)


def read(page: str, main: bool = True) -> Document:
    """As `parse`, for a page that is text already."""
    page = _DECLARATION.sub("", page, count=1)
    # huge_tree: a page with thousands of nested tags is odd, not unreadable.
    parser = lxml_html.HTMLParser(remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        tree = lxml_html.document_fromstring(page, parser=parser)
    except etree.ParserError:
        return Document("", None, "html")  # nothing but comments
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise Unreadable(f"expected HTML, found what no parser reads ({error}): save the page anew") from error
    if any("Excessive depth" in entry.message for entry in parser.error_log):
        raise Unreadable("expected HTML, found tags nested more than 2048 deep: save the page anew")
    blocks = _main_blocks(tree, page) if main else list(_blocks(tree))
    title = _title(tree) or next((block.text for block in blocks if block.level == 1), None)
    return _document(blocks, title)


def _decode(data: bytes) -> str:
    named = _CHARSET.search(data[:2048])
    if named and not data.startswith(_MARKS):
        name = named[1].decode().lower()
        try:
            return data.decode(_SUPERSETS.get(name, name))
        except (LookupError, UnicodeError):
            pass  # the page is not written in what it names
    return decode(data)


def _title(tree: _Element) -> str | None:
    title = tree.find(".//title")
    return _SPACE.sub(" ", title.text or "").strip()[:_TITLE_CHARS] or None if title is not None else None


def _main_blocks(tree: _Element, page: str) -> list[_Block]:
    """The page's own main part where it names one, else all of it, or what trafilatura takes for the content
    where most of the page seems to be something else.

    Trafilatura does not go first: on short pages it drops headings and lists, in tables the cells with links.
    """
    for path in ("//main|//*[@role='main']", "//article"):
        if len(found := tree.xpath(path)) == 1 and _size(blocks := list(_blocks(found[0]))) > 0:
            return blocks
    blocks = list(_blocks(tree))
    content = _content(page) if _size(blocks) > 2 * _LITTLE_CHARS and len(page) <= _MOST_PAGE_CHARS else []
    if _LITTLE_CHARS < _size(content) < _MOST * _size(blocks):
        return content
    return blocks


def _size(blocks: list[_Block]) -> int:
    return sum(len(block.text) for block in blocks)


def _content(page: str) -> list[_Block]:
    import trafilatura

    try:
        found = trafilatura.bare_extraction(page, include_comments=False, favor_recall=True)
    except (RecursionError, ValueError, TypeError, AttributeError, etree.LxmlError):
        return []  # odd trees trip it; the page is then taken whole
    body = getattr(found, "body", None)
    if body is None:
        return []
    tags = {"row": "tr", "cell": "td", "item": "li", "lb": "br", "list": "ul"}
    for element in body.iter():
        if element.tag == "head":
            element.tag = element.get("rend", "h2")
        elif element.tag == "code" and "\n" in (element.text or ""):
            element.tag = "pre"
        elif element.tag == "cell" and element.get("role") == "head":
            element.tag = "th"
        else:
            element.tag = tags.get(element.tag, element.tag)
    return list(_blocks(body))


def _blocks(root: _Element) -> Iterator[_Block]:
    """The tree's visible text in reading order."""
    parts: list[str] = []
    now = _Open()
    for piece in _pieces(root):
        if isinstance(piece, str):
            parts.append(piece)
            continue
        if text := _tidy("".join(parts), now.shape):
            yield _Block(text, now.shape, now.level, now.table, now.names)
        elif now.shape == "item" and piece == _Open():
            continue  # <li><p>: the paragraph is the item
        parts.clear()
        now = piece or _Open()


def _tidy(text: str, shape: _Shape) -> str:
    if shape == "raw":
        return text.strip("\r\n").rstrip()
    text = _TIDY.sub(lambda run: "\n" if "\n" in run[0] else " ", text).strip()
    if shape == "row":
        return text.strip("| ")
    return f"- {text}" if text and shape == "item" else text


def _pieces(root: _Element) -> Iterator[str | _Open | None]:
    """Text, where blocks begin, and (None) where they end. Iterative: pages nest deeper than Python's stack."""
    data_rows = _data_rows(root)
    row: _Element | None = None
    raw = tables = 0
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if event == "start":
            raw += tag == "pre"
            tables += tag == "table"
            if tag in _SKIPPED or element.get("hidden") is not None:
                walk.skip_subtree()
                continue
            if row is None and element in data_rows:
                row = element
                yield _Open("row", table=tables, names=_names_columns(row))
            elif row is not None:
                yield " " if tag in _BLOCKS or tag in ("li", "br") else ""
            elif tag in _OPENS:
                yield _OPENS[tag]
            elif tag == "br":
                yield "\n"
            yield _text(element.text, raw)
            continue
        raw -= tag == "pre"
        if row is not None:
            yield " | " if tag in ("td", "th") else ""
        if element is row or (row is None and tag in _OPENS):
            row = None
            yield None
        if element is not root:
            yield _text(element.tail, raw)
    yield None


def _names_columns(row: _Element) -> bool:
    cells = {cell.tag for cell in row.iterchildren("td", "th")}
    return cells == {"th"}


def _text(text: str | None, raw: int) -> str:
    if not text or raw:
        return text or ""
    return _SPACE.sub(" ", text)


def _data_rows(root: _Element) -> set[_Element]:
    rows: set[_Element] = set()
    open_rows: list[_Element] = []
    for event, element in etree.iterwalk(root, events=("start", "end"), tag=("tr", *_LAYOUT)):
        if element.tag != "tr":
            if event == "start" and open_rows:
                rows.discard(open_rows[-1])
        elif event == "start":
            open_rows.append(element)
            rows.add(element)
        else:
            open_rows.pop()
    return rows


def _document(blocks: list[_Block], title: str | None) -> Document:
    parts: list[str] = []
    headings: list[Heading] = []
    starts: list[int] = []
    length = 0
    for index, block in enumerate(blocks):
        if index:
            parts.append("\n" if _is_tight(blocks[index - 1], block) else "\n\n")
            length += len(parts[-1])
        if block.level:
            headings.append(Heading(length, block.level, block.text.replace("\n", " ")[:_TITLE_CHARS]))
        starts.append(length)
        parts.append(block.text)
        length += len(block.text)
    return Document("".join(parts), title, "html", tuple(headings), tables=tuple(_tables(blocks, starts)))


def _is_tight(before: _Block, block: _Block) -> bool:
    return block.shape in ("item", "row") and (block.shape, block.table) == (before.shape, before.table)


def _tables(blocks: list[_Block], starts: list[int]) -> Iterator[Table]:
    for table, found in groupby(range(len(blocks)), key=lambda index: blocks[index].table):
        rows = list(found)
        if not table:
            continue
        texts = [blocks[row].text for row in rows]
        names = list(takewhile(lambda row: blocks[row].names, rows))
        marked = "\n".join(texts[: len(names)]) if len(names) < len(rows) else ""
        yield Table([starts[row] for row in rows], starts[rows[-1]] + len(texts[-1]), marked or header(texts))
