"""Tables as each parser tells of them: where their rows start, and which row names the columns."""

# lxml, python-docx and openpyxl have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportPrivateUsage=false

import io
from itertools import pairwise
from pathlib import Path

import docx
import pptx
import pytest
from docx.oxml import OxmlElement
from pptx.util import Inches

from indexer.parse import Document, parse
from indexer.parse.tables import header

CELLS = (("Item", "2024"), ("Fees", "24,310"), ("Rent", "18,400"))


def rows(document: Document) -> list[tuple[str, list[str]]]:
    """Each table's header, and its rows as they stand in the text."""
    found: list[tuple[str, list[str]]] = []
    for table in document.tables:
        bounds = [*table.rows, table.end]
        found.append((table.header, [document.text[a:b].strip() for a, b in pairwise(bounds)]))
    return found


def word(marked: int = 0) -> bytes:
    document = docx.Document()
    document.add_paragraph("Before")
    table = document.add_table(len(CELLS), 2)
    for row, cells in zip(table.rows, CELLS, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    for row in table.rows[:marked]:
        row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    document.add_paragraph("After")
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def slides() -> bytes:
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    table = slide.shapes.add_table(len(CELLS), 2, Inches(1), Inches(1), Inches(4), Inches(2)).table
    for row, cells in enumerate(CELLS):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    made = io.BytesIO()
    show.save(made)
    return made.getvalue()


BARRED = ["Item | 2024", "Fees | 24,310", "Rent | 18,400"]
PAGE = "<p>Before</p><table>{}</table><table><tr><td>Other<td>Table</table><p>After</p>"
MARKDOWN = "Before\n\n| Item | 2024 |\n|:--|--:|\n| Fees | 24,310 |\n| Rent | 18,400 |\n\nAfter | all\n"


def page(head: str) -> bytes:
    body = "".join(f"<tr><td>{a}</td><td>{b}</td></tr>" for a, b in CELLS[1:])
    return PAGE.format(f"{head}<tbody>{body}</tbody>").encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.docx", word()),
        ("a.docx", word(marked=1)),
        ("a.pptx", slides()),
        ("a.html", page("<thead><tr><th>Item</th><th>2024</th></tr></thead>")),
        ("a.html", page("<tr><td>Item</td><td>2024</td></tr>")),
    ],
)
def test_a_table_is_known_with_the_row_that_names_its_columns(name: str, data: bytes) -> None:
    assert rows(parse(Path(name), data))[0] == ("Item | 2024", BARRED)


def test_rows_that_are_marked_as_names_are_the_header_all_of_them() -> None:
    assert rows(parse(Path("a.docx"), word(marked=2)))[0][0] == "Item | 2024\nFees | 24,310"
    head = "<tr><th>Costs</th></tr><tr><th>Item</th><th>2024</th></tr>"
    assert rows(parse(Path("a.html"), page(head)))[0][0] == "Costs\nItem | 2024"


def test_two_tables_below_each_other_are_two() -> None:
    found = rows(parse(Path("a.html"), page("<tr><th>Item</th><th>2024</th></tr>")))
    assert found[1] == ("", ["Other | Table"])


def test_a_table_in_markdown_has_a_row_of_dashes_below_its_header() -> None:
    (found,) = rows(parse(Path("a.md"), MARKDOWN.encode()))
    assert found[0] == "Item | 2024"
    assert [row.split("\n")[0] for row in found[1]] == [
        "| Item | 2024 |",
        "| Fees | 24,310 |",
        "| Rent | 18,400 |",
    ]
    for plain in ("A | b\n\n---|---\n", "one\n---\ntwo", "a | b | c\n--|--\n1 | 2"):
        assert parse(Path("a.md"), plain.encode()).tables == ()


def test_a_table_keeps_its_place_where_its_page_is_part_of_a_mail() -> None:
    mail = b"Subject: S\nContent-Type: text/html\n\n" + page("<tr><th>Item</th><th>2024</th></tr>")
    assert rows(parse(Path("a.eml"), mail))[0] == ("Item | 2024", BARRED)


def test_a_csv_is_one_table_and_a_quotation_mark_that_opens_nothing_swallows_no_rows() -> None:
    assert rows(parse(Path("a.csv"), b'Item,Remark\nFees,"two\nlines"\nRent,x\n')) == [
        ("Item,Remark", ["Item,Remark", 'Fees,"two\nlines"', "Rent,x"])
    ]
    inches = "Item,Size\n" + 'board,"3\n' + "board,3\n" * 300
    assert len(rows(parse(Path("a.csv"), inches.encode()))[0][1]) == 302


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("Item | Price", True),
        ("Item | 2024 | 2023", True),
        ("Fees | 24,310", False),
        ("Fees | 1999.50", False),
        ("Only one", False),
        ("A cell that goes on for so long that it tells a story and can be no name of anything | b", False),
    ],
)
def test_a_row_of_names_is_a_header_where_nothing_marks_one(first: str, is_header: bool) -> None:
    assert header([first, "Rent | 5"]) == (first if is_header else "")
    assert header([first]) == ""
