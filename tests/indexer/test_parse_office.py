"""Slides, tables, notebooks, books, mail and RTF, made here; what files really are; what bombs are refused for."""
# python-pptx and XlsxWriter have types for half of what they give.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false

import io
import json
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import docx
import pptx
import pytest
import xlsxwriter
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from indexer.parse import SUPPORTED, UNSUPPORTED, Document, Unreadable, parse

BOX = (Inches(1), Inches(1), Inches(3), Inches(2))
LAUGHS = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
LAUGHTER = f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>'


def headings(document: Document) -> list[tuple[int, str]]:
    for heading in document.headings:
        assert document.text.startswith(heading.title, heading.offset)
    return [(heading.level, heading.title) for heading in document.headings]


def show() -> Any:
    return pptx.Presentation()


def saved(made: Any) -> bytes:
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def workbook(fill: Callable[[Any], None]) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True, "default_date_format": "yyyy-mm-dd hh:mm"}) as book:
        fill(book)
    return file.getvalue()


def sheet(*rows: Sequence[object], name: str = "Sheet1") -> str:
    def fill(book: Any) -> None:
        made = book.add_worksheet(name)
        for number, row in enumerate(rows):
            made.write_row(number, 0, row)

    return parse(Path("a.xlsx"), workbook(fill)).text


def archive(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def changed(data: bytes, name: str, content: str | bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return archive({**{one: source.read(one) for one in source.namelist()}, name: content})


def old_workbook(rows: Sequence[Sequence[float | str]], last_row: int | None = None) -> bytes:
    """An XLS: records in a stream in sectors of 512 bytes; the last row can be said to be far away."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    def cell(row: int, column: int, value: float | str) -> bytes:
        place = struct.pack("<HHH", row, column, 0)
        if isinstance(value, str):
            return record(0x204, place + struct.pack("<HB", len(value), 1) + value.encode("utf-16-le"))
        return record(0x203, place + struct.pack("<d", value))

    begin = [record(0x809, struct.pack("<HHHHII", 0x600, kind, 0, 0, 0, 0)) for kind in (5, 0x10)]
    numbers = [*range(len(rows) - 1), len(rows) - 1 if last_row is None else last_row]
    cells = b"".join(
        cell(row, column, value)
        for row, values in zip(numbers, rows, strict=True)
        for column, value in enumerate(values)
    )
    end = record(0x0A, b"")
    name = record(0x85, struct.pack("<IBBBB", len(begin[0]) + 16 + len(end), 0, 0, 4, 0) + b"Ages")
    stream = (begin[0] + name + end + begin[1] + cells + end).ljust(4096, b"\0")
    # The table of chains is sector 0, the folder sector 1, the stream the eight after it.
    links = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 10), 0xFFFFFFFE]
    table = struct.pack("<128I", *links, *[0xFFFFFFFF] * (128 - len(links)))

    def entry(name: str, kind: int, start: int, length: int) -> bytes:
        named = name.encode("utf-16-le") + b"\0\0"
        family = struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 1 if kind == 5 else 0xFFFFFFFF)
        head = named.ljust(64, b"\0") + struct.pack("<HBB", len(named), kind, 1) + family
        return head.ljust(116, b"\0") + struct.pack("<IQ", start, length)

    folder = entry("Root Entry", 5, 0xFFFFFFFE, 0) + entry("Workbook", 2, 2, len(stream))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(24, b"\0") + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
    header = header.ljust(44, b"\0") + struct.pack("<IIII", 1, 1, 0, 4096)
    header += struct.pack("<IIIII", 0xFFFFFFFE, 0, 0xFFFFFFFE, 0, 0) + b"\xff" * 4 * 108
    return header + table + folder.ljust(512, b"\0") + stream


def book(chapters: dict[str, str], before: str = "", **more: str) -> bytes:
    items = "".join(f'<item id="{name}" href="{name}.xhtml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    package = (
        f'{before}<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f'<dc:title>The heron</dc:title></metadata><manifest>{items}<item id="toc" href="toc.ncx"/></manifest>'
        f'<spine toc="toc">{spine}</spine></package>'
    )
    root = '<container><rootfiles><rootfile full-path="book/content.opf"/></rootfiles></container>'
    pages = {f"book/{name}.xhtml": page for name, page in chapters.items()}
    return archive(
        {"mimetype": "application/epub+zip", "META-INF/container.xml": root, "book/content.opf": package, **pages}
        | {f"book/{name.replace('_', '.')}": content for name, content in more.items()}
    )


def notebook(*cells: dict[str, object]) -> Document:
    return parse(Path("a.ipynb"), json.dumps({"cells": cells, "nbformat": 4}).encode())


def mail(message: EmailMessage) -> Document:
    return parse(Path("a.eml"), message.as_bytes())


def test_a_slide_is_a_page_with_its_texts_tables_groups_charts_and_notes() -> None:
    made = show()
    first = made.slides.add_slide(made.slide_layouts[5])
    first.shapes.title.text = "Kiln\nprices"
    first.shapes.add_textbox(*BOX).text_frame.text = "Two lines\vby hand"
    table = first.shapes.add_table(2, 2, *BOX).table
    for cell, text in zip(table.iter_cells(), ("Cone", "Heat", "06", "999 °C"), strict=True):
        cell.text = text
    group = first.shapes.add_group_shape().shapes.add_group_shape()
    group.shapes.add_textbox(*BOX).text_frame.text = "deep in a group"
    first.notes_slide.notes_text_frame.text = "Ask Ines first."
    second = made.slides.add_slide(made.slide_layouts[6])
    data = CategoryChartData()
    data.categories = ["May", "June"]
    data.add_series("Firings", (3, 4.5))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *BOX, data)
    made.core_properties.title = "Kilns"
    document = parse(Path("a.pptx"), saved(made))
    assert document.text == (
        "Slide 1: Kiln prices\n\nTwo lines\nby hand\n\nCone | Heat\n06 | 999 °C\n\ndeep in a group\n\n"
        "Notes: Ask Ines first.\n\nSlide 2\n\nFirings: May: 3, June: 4.5"
    )
    assert headings(document) == [(1, "Slide 1: Kiln prices"), (1, "Slide 2")]
    assert document.pages == tuple(heading.offset for heading in document.headings)
    assert (document.title, document.kind) == ("Kilns", "slides")


def test_slides_without_a_word_say_that_they_are_pictures() -> None:
    made = show()
    made.slides.add_slide(made.slide_layouts[6])
    with pytest.raises(Unreadable, match=r"found 1 slide\(s\) of pictures"):
        parse(Path("a.pptx"), saved(made))


def test_each_row_of_a_table_says_what_its_cells_mean() -> None:
    assert sheet(["City", "Members", "Since"], ["Rome", 12.0, 2001], [], ["Köln", "", 1999], name="Branches") == (
        "Branches\n\nCity | Members | Since\nCity: Rome | Members: 12 | Since: 2001\nCity: Köln | Since: 1999"
    )


def test_a_title_above_the_header_is_no_header_and_a_form_is_no_table() -> None:
    assert sheet(["Sales 2024"], [], ["Name", "Sum"], ["Ada", 3]).endswith("Sales 2024\nName | Sum\nName: Ada | Sum: 3")
    assert sheet([1, "Ada", "Rome"], [2, "Bo", "Oslo"]).endswith("1 | Ada | Rome\n2 | Bo | Oslo")
    assert sheet(["Name", "Ada"], ["City", "Rome"]).endswith("Name | Ada\nCity | Rome")


def test_days_and_numbers_are_as_people_write_them() -> None:
    row = [1.0, 0.1 + 0.2, 1e15, 1e20, True, date(2024, 1, 5), datetime(2024, 1, 5, 13, 5), time(7, 30), "a\nb "]  # noqa: DTZ001
    assert sheet(row).endswith(
        "\n1 | 0.3 | 1000000000000000 | 100000000000000000000 | TRUE | 2024-01-05 | 2024-01-05 13:05 | 07:30 | a b"
    )


def test_each_sheet_is_a_section_and_an_empty_one_is_left_out() -> None:
    def fill(book: Any) -> None:
        for name in ("May", "Nothing", "June"):
            made = book.add_worksheet(name)
            if name != "Nothing":
                made.write(3, 2, f"in {name}")

    document = parse(Path("a.xlsx"), workbook(fill))
    assert document.text == "May\n\nin May\n\nJune\n\nin June"
    assert headings(document) == [(1, "May"), (1, "June")]
    assert (document.kind, document.has_lines) == ("table", False)


def test_a_sheet_with_something_at_its_farthest_corner_is_refused_before_it_is_laid_out() -> None:
    def fill(book: Any) -> None:
        made = book.add_worksheet()
        made.write(0, 0, "a")
        made.write(1_048_575, 16_383, "z")

    with pytest.raises(Unreadable, match="at most 5,000,000 cells, found 17,179,869,184"):
        parse(Path("a.xlsx"), workbook(fill))


def test_an_old_workbook_is_read_and_refused_where_it_leads_in_circles_or_far_away() -> None:
    rows = [["Name", "Age"], ["Ada", 36], ["Ines", 4.5]]
    whole = old_workbook(rows)
    for name in ("a.xls", "a.xlsx", "a"):
        assert parse(Path(name), whole).text == "Ages\n\nName | Age\nName: Ada | Age: 36\nName: Ines | Age: 4.5"
    circle = whole.replace(struct.pack("<III", 7, 8, 9), struct.pack("<III", 7, 8, 5))
    with pytest.raises(Unreadable, match="found a broken, incomplete or protected one") as refused:
        parse(Path("a.xls"), circle)
    assert str(refused.value.__cause__) == "a chain of sectors leads in a circle"
    with pytest.raises(Unreadable, match="at most 5,000,000 cells, found 12,000,000"):
        parse(Path("a.xls"), old_workbook([["a"], ["b"] * 200], last_row=59_999))


def test_a_sheet_that_is_only_coloured_to_its_end_is_read() -> None:
    def fill(book: Any) -> None:
        made = book.add_worksheet()
        made.write(0, 0, "a")
        made.write_blank(1_048_575, 16_383, None, book.add_format({"bg_color": "red"}))

    assert parse(Path("a.xlsx"), workbook(fill)).text == "Sheet1\n\na"


@pytest.mark.parametrize(
    ("source", "encoding", "title"),
    [
        ("Name,Town\r\nAda,Rome\r\n", "utf-8", "Name,Town"),
        ("Name;Größe\nAda;1,75\n", "cp1252", "Name;Größe"),
        ("\nName\tTown\nAda\tRome", "utf-16", "Name\tTown"),
        ('"Name, first",Town\n"Ada, I.",Rome', "utf-8-sig", '"Name, first",Town'),
        ("1,2\n3,4\n", "utf-8", None),
        ("Name\nAda\n", "utf-8", None),
        ("A remark, and no table\nAda", "utf-8", None),
        ("only,one,row", "utf-8", None),
    ],
)
def test_a_csv_file_is_its_text_under_the_names_of_its_columns(source: str, encoding: str, title: str | None) -> None:
    document = parse(Path("a.csv"), source.encode(encoding))
    assert (document.text, document.has_lines, document.kind) == (source, True, "table")
    assert headings(document) == ([(1, title)] if title else [])


def test_letters_written_as_numbers_in_json_are_letters() -> None:
    written = r'{"city": "M\u00fcnchen \ud83d\udd25", "path": "C:\\u00fc\n\u0022 \u2028", "half": "\ud83d"}' + "\n"
    document = parse(Path("a.json"), written.encode())
    assert document.text == r'{"city": "München 🔥", "path": "C:\\u00fc\n\u0022 \u2028", "half": "\ud83d"}' + "\n"
    assert document.has_lines


def test_a_notebook_is_its_cells_with_what_they_printed_and_no_pictures() -> None:
    document = notebook(
        {"cell_type": "markdown", "source": ["# Herons\n", "text"]},
        {
            "cell_type": "code",
            "source": "# no heading\nprint(1)",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31m1\x1b[0m\n"]},
                {"output_type": "display_data", "data": {"image/png": "iVBOR" * 99, "text/plain": "<Figure>"}},
                {"output_type": "execute_result", "data": {"text/html": "<b>2</b>", "text/plain": ["2"]}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["long"]},
                {"output_type": "stream", "text": "y\n" * 5_000},
            ],
        },
        {"cell_type": "markdown", "source": "## More \ud800"},
    )
    start = "# Herons\ntext\n\n# no heading\nprint(1)\n\n1\n\n2\n\nKeyError: 'x'\n\ny\ny\n"
    assert document.text.startswith(start)
    assert len(document.text) < 2_200
    assert [(heading.level, heading.title) for heading in document.headings] == [(1, "Herons"), (2, "More \ufffd")]
    assert document.text[document.headings[1].offset :] == "## More \ufffd"
    assert (document.title, document.kind) == ("Herons", "notebook")


@pytest.mark.parametrize(
    "data", [b"{}", b"[1]", b'{"cells": 3}', b'{"cells": [3]}', b"no", b'{"cells":' + b"[" * 99_999]
)
def test_what_is_no_notebook_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(Unreadable, match="expected a Jupyter notebook"):
        parse(Path("a.ipynb"), data)


def test_a_book_has_its_chapters_in_reading_order_under_their_names() -> None:
    page = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>%s</body></html>'
    toc = (
        '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Waiting</text></navLabel>'
        '<content src="b.xhtml#x"/></navPoint></navMap></ncx>'
    )
    chapters = {"c": page % "<h1>Standing</h1><p>It stands.</p>", "b": page % "<p>It waits.</p>", "a": page % "<p/>"}
    document = parse(Path("a.epub"), book(chapters, toc_ncx=toc))
    assert document.text == "Standing\n\nIt stands.\n\nWaiting\n\nIt waits."
    assert headings(document) == [(1, "Standing"), (1, "Waiting")]
    assert (document.title, document.kind) == ("The heron", "epub")


def test_a_mail_says_who_when_and_what_and_names_what_is_attached() -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Grüße vom Ofen", "Inès <ines@example.org>"
    message["To"], message["Date"] = "all@example.org", "Tue, 05 Mar 2024 10:15:00 +0100"
    message.set_content("Der Brand läuft.\n")
    message.add_alternative("<p>never <b>shown</b></p>", subtype="html")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="Plan für Mai.pdf")
    inner = EmailMessage()
    inner["Subject"] = "Earlier"
    inner.set_content("<h1>Hello</h1><p>from a page</p>", subtype="html")
    message.add_attachment(inner)
    document = mail(message)
    assert document.text == (
        "Grüße vom Ofen\n\nFrom: Inès <ines@example.org>\nTo: all@example.org\n"
        "Date: Tue, 05 Mar 2024 10:15:00 +0100\n\n"
        "Der Brand läuft.\n\nAttachment: Plan für Mai.pdf\n\nEarlier\n\nHello\n\nfrom a page"
    )
    assert headings(document) == [(1, "Grüße vom Ofen"), (2, "Earlier"), (3, "Hello")]
    assert (document.title, document.kind) == ("Grüße vom Ofen", "email")


@pytest.mark.parametrize("charset", ["utf-8", "cp1252", "no-such-thing"])
def test_a_mail_that_names_a_wrong_encoding_is_read_in_the_right_one(charset: str) -> None:
    written = "iso-8859-1" if charset == "cp1252" else "utf-8"
    raw = f"Subject: Grüße\nContent-Type: text/plain; charset={charset}\n\nDer Brand läuft über Nacht.".encode(written)
    assert parse(Path("a.eml"), raw).text == "Grüße\n\nDer Brand läuft über Nacht."


def test_a_mailbox_is_its_messages() -> None:
    box = (
        b"From a@b Tue Mar  5 10:15:00 2024\nSubject: One\n\nfirst\n\n"
        b"From c@d Wed Mar  6 10:15:00 2024\nSubject: Two\n\n>From"
    )
    document = parse(Path("a.mbox"), box)
    assert document.text == "One\n\nfirst\n\nTwo\n\n>From"
    assert headings(document) == [(1, "One"), (1, "Two")]


def test_rtf_is_its_text_in_its_encoding_without_its_pictures() -> None:
    picture = "{\\pict\\pngblip " + "89504e470d0a1a0a\n" * 200 + "}"
    source = (
        "{\\rtf1\\ansi\\ansicpg1251{\\fonttbl{\\f0\\fcharset204 Arial;}}\\f0 \\'cf\\'f0\\'e8\\'e2\\'e5\\'f2\\par "
        f"{picture}{{\\*\\generator Word}}caf\\u233?\\par\\par\\par \\u-10179?\\u-8923? fire}}"
    )
    document = parse(Path("a.rtf"), source.encode())
    assert document == Document("Привет\ncafé\n\n🔥 fire", None, "rtf")


def test_a_file_with_the_wrong_suffix_is_read_for_what_it_is() -> None:
    word = docx.Document()
    word.add_paragraph("in Word")
    slides = show()
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "on a slide"
    sheets = workbook(lambda made: made.add_worksheet().write(0, 0, "in a cell"))
    manual = (Path(__file__).parents[2] / "examples" / "docs" / "kiln-manual.pdf").read_bytes()
    raw_mail = b"From: a@b\nTo: c@d\nSubject: hello\nMIME-Version: 1.0\n\nby mail"
    page = b"<!-- saved --><!DOCTYPE html><p>on a page"
    for name, data, kind, text in (
        ("old.doc", saved(word), "docx", "in Word"),
        ("a.pptx", saved(word), "docx", "in Word"),
        ("slides.zzz", saved(slides), "slides", "on a slide"),
        ("table.txt", sheets, "table", "in a cell"),
        ("manual.txt", manual, "pdf", "32 ampere"),
        ("book", book({"a": "<p>in a book"}), "epub", "in a book"),
        ("letter.doc", b"{\\rtf1 in RTF}", "rtf", "in RTF"),
        ("saved", page, "html", "on a page"),
        ("export.xls", page, "html", "on a page"),
        ("1709630100.M1P2", raw_mail, "email", "by mail"),
        ("page.txt", page, "text", "<!DOCTYPE html>"),
        ("notes.doc", b"only text", "text", "only text"),
    ):
        document = parse(Path(name), data)
        assert (document.kind, text in document.text) == (kind, True), name


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.msg", b"__nameid_version1.0", "an Outlook message: save it as an .eml file"),
        ("a.doc", b"WordDocument", "an old Word document: save it as .docx"),
        ("a.docx", b"EncryptedPackage", "an Office file with a password"),
        ("a.ppt", b"PowerPoint Document", "an old PowerPoint presentation"),
        ("b.msg", b"", "an old Office file"),
    ],
)
def test_an_old_office_file_is_refused_by_what_it_is(name: str, data: bytes, found: str) -> None:
    stream = data.decode().encode("utf-16-le") + b"\0\0"
    with pytest.raises(Unreadable, match=f"expected .*, found {found}"):
        parse(Path(name), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500 + stream)


def test_what_nothing_here_reads_is_refused_by_what_it_is() -> None:
    text = {"a.txt": "text"}
    for name, data, found in (
        ("a.zip", archive(text), "a .zip file, a ZIP archive: unpack it"),
        ("a.mp4", b"", "a .mp4 file, a film"),
        ("a.dat", archive(text), "a ZIP archive: unpack it"),
        ("a.docx", archive(text), "a ZIP archive: unpack it"),
        ("a.odt", archive({"mimetype": "x", "content.xml": "x"}), "an OpenDocument file: save it as DOCX"),
        ("a.pages", archive({"Index/Document.iwa": "x"}), "a Pages, Numbers or Keynote document: export it"),
        ("a.pdf", b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        ("noname", b"7z\xbc\xaf\x27\x1c\0\1", "a 7-Zip archive: unpack it"),
    ):
        with pytest.raises(Unreadable) as refused:
            parse(Path(name), data)
        assert f", found {found}" in str(refused.value)
    assert not SUPPORTED & UNSUPPORTED
    assert {".pptx", ".xlsx", ".xls", ".csv", ".json", ".ipynb", ".epub", ".eml", ".rtf"} <= SUPPORTED


def test_a_file_that_is_something_else_and_broken_says_both() -> None:
    with pytest.raises(Unreadable, match="expected text, found a PDF, and in it: expected a PDF that can be opened"):
        parse(Path("a.txt"), b"%PDF-1.7 and no more")


def test_an_archive_that_would_unfold_without_end_is_refused() -> None:
    whole = saved(docx.Document())
    for name, huge in (("a.docx", whole), ("a.pptx", saved(show())), ("a.xlsx", workbook(lambda made: None))):
        with pytest.raises(Unreadable, match=r"of at most 50 MB unpacked, found \d\d MB: split it"):
            parse(Path(name), changed(huge, "more.xml", b" " * (60 << 20)))
    with pytest.raises(Unreadable, match="of at most 10000 parts"):
        parse(Path("a.docx"), archive(dict.fromkeys(map(str, range(10_001)), b"")))
    with pytest.raises(Unreadable, match="of at most 1,500,000 tags"):
        parse(Path("a.docx"), changed(whole, "word/document.xml", b"<a>" + b"<b/>" * 1_500_000 + b"</a>"))


def test_an_archive_that_lies_about_its_size_is_never_unpacked_further_than_it_says() -> None:
    """Even with the checksum of what it says."""
    huge = b"<a>" + b" " * (40 << 20)
    lying = changed(saved(docx.Document()), "word/document.xml", huge)
    said = struct.pack("<I", 100)
    lying = lying.replace(struct.pack("<I", len(huge)), said)
    lying = lying.replace(struct.pack("<I", zlib.crc32(huge)), struct.pack("<I", zlib.crc32(huge[:100])))
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="found a broken or incomplete one"):
            parse(Path("a.docx"), lying)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_entities_that_unfold_without_end_stay_folded() -> None:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    xml = (
        f'{LAUGHTER}<w:document xmlns:w="{word}"><w:body><w:p><w:r><w:t>a &a9;</w:t></w:r></w:p></w:body></w:document>'
    )
    pages = {"a": f"{LAUGHTER}<html><body><p>&a9; still short</p></body></html>"}
    for name, data in (
        ("a.docx", changed(saved(docx.Document()), "word/document.xml", xml)),
        ("a.epub", book(pages)),
        ("b.epub", book({"a": "<p>short"}, before=LAUGHTER)),
    ):
        try:
            assert len(parse(Path(name), data).text) < 1_000
        except Unreadable as error:
            assert "broken" in str(error)


def test_what_is_nested_too_deep_is_refused() -> None:
    part = b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n"
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    xml = f'<w:document xmlns:w="{word}"><w:body>' + "<w:sdt>" * 100_000
    for name, data in (
        ("a.eml", b"".join(part % (n, n) for n in range(3_000))),
        ("b.eml", b"Content-Type: message/rfc822\n\n" * 3_000),
        ("a.docx", changed(saved(docx.Document()), "word/document.xml", xml)),
        ("a.epub", book({"a": "<div>" * 100_000})),
    ):
        with pytest.raises(Unreadable):
            parse(Path(name), data)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(Unreadable, match="expected at most 20,000,000 characters of text"):
        parse(Path("a.txt"), b"x" * 20_000_001)
    with pytest.raises(Unreadable, match="expected a mail, found one with a header without end"):
        parse(Path("a.eml"), b"Content-Type: text/plain; " + b'a="b"; ' * 100_000)


def test_damage_anywhere_gives_a_document_or_a_reason() -> None:
    slides = show()
    slides.slides.add_slide(slides.slide_layouts[5]).shapes.title.text = "Herons"
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="für.pdf")
    cells = [{"cell_type": "code", "source": "x", "outputs": [{"data": {"text/plain": ["y"]}}]}]
    wholes = {
        "a.pptx": saved(slides),
        "a.xlsx": workbook(lambda made: made.add_worksheet().write_row(0, 0, ["a", 1, "b"])),
        "a.epub": book({"a": "<h1>A</h1>"}),
        "a.eml": message.as_bytes(),
        "a.ipynb": json.dumps({"cells": cells}).encode(),
        "a.rtf": b"{\\rtf1\\ansi\\ansicpg1251{\\fonttbl{\\f0\\fcharset204 Arial;}}\\f0 \\'cf\\u233?\\par}",
        "a.json": b'["\\u00fc"]',
        "a.csv": b'a,"b"\n1,2\n',
    }
    chance, reasons = random.Random(7), set[str]()
    for name, whole in wholes.items():
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(chance.randint(1, 20)):
                at = chance.randrange(len(damaged) + 1)
                damaged[at : at + chance.randint(0, 60)] = chance.randbytes(chance.randint(0, 8))
            try:
                parse(Path(name), bytes(damaged)).text.encode()
            except Unreadable as error:
                reasons.add(str(error))
    assert all("expected" in reason and "\n" not in reason for reason in reasons)


@pytest.mark.parametrize("suffix", sorted(SUPPORTED))
def test_an_empty_file_of_any_kind_is_an_empty_document(suffix: str) -> None:
    assert parse(Path(f"a{suffix}"), b"").text == ""
