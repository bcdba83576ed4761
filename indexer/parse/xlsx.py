"""XLSX and XLS: each sheet is a section, each row a line that makes sense on its own.

Where a table has a header, its rows are written `header: value | header: value`. Wherever a chunk begins, it then says
what its numbers mean; a header repeated every few rows would stand in some chunks only, and not above their first rows.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from io import BytesIO

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

from indexer.parse import archive, ole
from indexer.parse.document import Document, Draft, Unreadable

_Cell = int | float | str | bool | time | date | datetime | timedelta
_Row = Sequence[_Cell]

_ZIP = b"PK\x03\x04"
# A filled cell's place. Cells that are only coloured are <c …/>.
_PLACE = re.compile(rb"<(?:\w+:)?c\b[^<>]*?\br=[\"']([A-Z]{1,3})(\d{1,7})[\"'][^<>]*(?<!/)>")
# calamine lays out the whole rectangle between a sheet's outermost cells: 32 bytes for each, and the process
# aborts where there is no room for it.
_MOST_CELLS = 5_000_000
# Types of records in an XLS: where a sheet begins and ends, and what holds a cell's content.
_BOF, _EOF = (0x809, 0x409, 0x209, 0x009), 0x00A
_CELLS = frozenset((0x006, 0x406, 0x203, 0x003, 0x204, 0x004, 0x0D6, 0x205, 0x005, 0x27E, 0x0BD, 0x0FD, 0x002))
# A title or a remark may stand above the header.
_HEADER_WITHIN = 10
_HEADER_CHARS = 60
_SAMPLE_ROWS = 50


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "table")
    try:
        file = BytesIO(data)
        if data.startswith(_ZIP):
            members = archive.unpack(data, "an Excel workbook")
            _refuse_vast(members)
            file = archive.packed(members)
        elif data.startswith(ole.SIGNATURE):
            _refuse_vast_records(ole.stream(data, ("Workbook", "Book")))
        return _read(file)
    except Unreadable:
        raise
    except BaseException as error:
        if _is_broken(error):
            raise Unreadable(
                "expected an Excel workbook, found a broken, incomplete or protected one:"
                " open it in Excel and save it anew"
            ) from error
        raise


def _is_broken(error: BaseException) -> bool:
    # A panic in Rust arrives as a BaseException whose class nobody can import.
    return isinstance(error, (*archive.BROKEN, CalamineError)) or type(error).__name__ == "PanicException"


def _refuse_vast(members: dict[str, bytes]) -> None:
    for name, content in members.items():
        if not name.startswith("xl/worksheets/sheet"):
            continue
        rows: set[int] = set()
        columns: set[bytes] = set()
        for place in _PLACE.finditer(content):
            columns.add(place[1])
            rows.add(int(place[2]))
        _refuse_span(rows, {_column(letters) for letters in columns})


def _refuse_vast_records(stream: bytes) -> None:
    """As `_refuse_vast`, for the records of an XLS: each is its type, its length, then in a cell row and column."""
    at, rows, columns = 0, set[int](), set[int]()
    while at + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, at)
        if kind in _BOF:
            rows.clear()
            columns.clear()
        elif kind in _CELLS and length >= 4 and at + 8 <= len(stream):
            row, column = struct.unpack_from("<HH", stream, at + 4)
            rows.add(row)
            columns.add(column)
        elif kind == _EOF:
            _refuse_span(rows, columns)
        at += 4 + length
    _refuse_span(rows, columns)


def _refuse_span(rows: set[int], columns: set[int]) -> None:
    if not rows:
        return
    cells = (max(columns) - min(columns) + 1) * (max(rows) - min(rows) + 1)
    if cells > _MOST_CELLS:
        raise Unreadable(
            f"expected sheets of at most {_MOST_CELLS:,} cells, found {cells:,} between the outermost ones of"
            " a sheet: delete what stands far outside, or save it as CSV"
        )


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number


def _read(file: BytesIO) -> Document:
    draft = Draft()
    with CalamineWorkbook.from_filelike(file) as book:
        for meta in book.sheets_metadata:
            if meta.typ != SheetTypeEnum.WorkSheet:
                continue
            sheet = book.get_sheet_by_name(meta.name)
            if not sheet.height:
                continue
            draft.heading(1, " ".join(meta.name.split()))
            if lines := list(_lines(sheet.iter_rows())):
                draft.table(lines)
    return draft.document(None, "table")


def _lines(rows: Iterator[_Row]) -> Iterator[str]:
    first = [row for _, row in zip(range(_SAMPLE_ROWS), rows, strict=False)]
    at = _header(first)
    header = [] if at is None else [_words(cell)[:_HEADER_CHARS] for cell in first[at]]
    for index, row in enumerate(first):
        if line := _line(row, [] if at is None or index <= at else header):
            yield line
    for row in rows:
        if line := _line(row, header):
            yield line


def _line(row: _Row, header: Sequence[str]) -> str:
    parts: list[str] = []
    for column, cell in enumerate(row):
        if value := _words(cell):
            name = header[column] if column < len(header) else ""
            parts.append(f"{name}: {value}" if name else value)
    return " | ".join(parts)


def _header(rows: Sequence[_Row]) -> int | None:
    """Which row names the columns: the first with words only, if what is below shows that they are names.

    Two columns of words below one another are more likely a form, `Name | Anna`, than a table.
    """
    for index, row in enumerate(rows[:_HEADER_WITHIN]):
        filled = [cell for cell in row if cell != ""]
        if len(filled) < 2:
            continue
        below = rows[index + 1 :]
        if not below or not all(isinstance(cell, str) for cell in filled) or len(set(filled)) < len(filled):
            return None
        named = [column for column, cell in enumerate(row) if cell != ""]
        return index if len(named) > 2 or any(_counts(below, column) for column in named) else None
    return None


def _counts(rows: Sequence[_Row], column: int) -> bool:
    filled = [row[column] for row in rows if column < len(row) and row[column] != ""]
    return 2 * sum(not isinstance(cell, str) for cell in filled) > len(filled)


def _words(cell: _Cell) -> str:
    """A cell as a person reads and searches it: 3.0 is 3, a day is 2024-01-05."""
    if isinstance(cell, str):
        return " ".join(cell.split())
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, int | float):
        # Excel counts in 15 digits: 0.1 + 0.2 is 0.3.
        return f"{cell:.15g}" if abs(cell) < 1e15 else str(int(cell)) if abs(cell) < 1e21 else f"{cell:g}"
    if isinstance(cell, datetime):
        return cell.isoformat(" ", "minutes" if not cell.second else "seconds").removesuffix(" 00:00")
    if isinstance(cell, time):
        return cell.isoformat("minutes" if not cell.second else "seconds")
    return str(cell)
