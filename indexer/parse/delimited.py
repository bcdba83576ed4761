"""CSV and TSV: the text as it stands; the row that names the columns is the heading of all that follows."""

import csv

from indexer.parse.document import TITLE_CHARS, Document, Heading

_DELIMITERS = ",;\t|"
_LINE_CHARS = 10_000


def parse(text: str) -> Document:
    return Document(text, None, "table", _headings(text), has_lines=True)


def _headings(text: str) -> tuple[Heading, ...]:
    start = len(text) - len(text.lstrip())
    first, _, rest = text[start : start + 2 * _LINE_CHARS].partition("\n")
    first = first.rstrip("\r")
    second = rest.partition("\n")[0].rstrip("\r")
    if not second.strip() or len(first) > _LINE_CHARS:
        return ()
    delimiter = max(_DELIMITERS, key=first.count)
    names = _cells(first, delimiter)
    if len(names) < 2 or len(_cells(second, delimiter)) != len(names) or not all(map(_names_a_column, names)):
        return ()
    return (Heading(start, 1, first[:TITLE_CHARS].strip()),)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except (csv.Error, StopIteration):
        return []


def _names_a_column(cell: str) -> bool:
    return any(letter.isalpha() for letter in cell) and not cell.strip()[:1].isdigit()
