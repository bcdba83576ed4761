"""CSV and TSV: the text as it stands, one table; the row that names the columns is the heading of all that follows."""

import csv
from itertools import pairwise

from indexer.parse.document import TITLE_CHARS, Document, Heading, Table, line_starts

_DELIMITERS = ",;\t|"
_LINE_CHARS = 10_000
# A quotation mark that opens nothing swallows the rest of the file.
_MOST_LINES = 100


def parse(text: str) -> Document:
    if not text.strip():
        return Document(text, None, "table", has_lines=True)
    start = len(text) - len(text.lstrip())
    header, delimiter = _header(text, start)
    headings = (Heading(start, 1, header[:TITLE_CHARS].strip()),) if header else ()
    end = len(text.rstrip())
    table = Table(_rows(text, start, end, delimiter), end, header.strip())
    return Document(text, None, "table", headings, has_lines=True, tables=(table,))


def _header(text: str, start: int) -> tuple[str, str]:
    """The row that names the columns (empty where none does), and what stands between them."""
    first, _, rest = text[start : start + 2 * _LINE_CHARS].partition("\n")
    first = first.rstrip("\r")
    second = rest.partition("\n")[0].rstrip("\r")
    delimiter = max(_DELIMITERS, key=first.count)
    if not second.strip() or len(first) > _LINE_CHARS:
        return "", delimiter
    names = _cells(first, delimiter)
    if len(names) < 2 or len(_cells(second, delimiter)) != len(names) or not all(map(_names_a_column, names)):
        return "", delimiter
    return first, delimiter


def _rows(text: str, start: int, end: int, delimiter: str) -> list[int]:
    """Where rows start: a quoted cell may go over several lines."""
    lines = [line for line in line_starts(text) if start < line < end]
    bounds = [start, *lines, end]
    reader = csv.reader((text[a:b] for a, b in pairwise(bounds)), delimiter=delimiter)
    rows, at = [start], 0
    try:
        for _ in reader:
            if reader.line_num - at > _MOST_LINES:
                return [start, *lines]
            at = reader.line_num
            rows.append(bounds[at])
    except csv.Error:
        return [start, *lines]
    return rows[:-1]


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except (csv.Error, StopIteration):
        return []


def _names_a_column(cell: str) -> bool:
    return any(letter.isalpha() for letter in cell) and not cell.strip()[:1].isdigit()
