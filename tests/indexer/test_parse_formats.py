"""HTML, PDF and DOCX, made here or kept in examples/docs."""
# python-docx's elements and pypdfium2 have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import io
import random
import re
import runpy
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import pypdfium2
import pypdfium2.raw as pdfium_c
import pytest
from docx.document import Document as Word
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from indexer.parse import Document, Unreadable, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
MAKE_DOCS = runpy.run_path(str(EXAMPLES / "make_docs.py"))
make_pdf: Callable[[str, list[tuple[str, str]]], bytes] = MAKE_DOCS["pdf"]


def html(page: str) -> Document:
    return parse(Path("page.html"), page.encode())


def headings(document: Document) -> list[tuple[int, str]]:
    for heading in document.headings:
        assert document.text.startswith(heading.title, heading.offset)
    return [(heading.level, heading.title) for heading in document.headings]


def word(source: Word) -> Document:
    made = io.BytesIO()
    source.save(made)
    return parse(Path("report.docx"), made.getvalue())


def example(name: str) -> Document:
    return parse(Path(name), (EXAMPLES / "docs" / name).read_bytes())


def test_a_page_is_what_its_reader_reads() -> None:
    document = html(
        "<html><head><title>Kiln &amp; glaze</title><style>p{}</style></head><body><nav><a>Home</a></nav>"
        "<h1>Kiln\n guide</h1><p>One <b>short</b><!-- hidden --> note,<br>two lines.</p><script>x()</script>"
        "<ul><li>Bisque</li><li><p>Glaze</p></li><li></li></ul><p hidden>secret</p>"
        "<h2>Cones</h2><table><tr><th>Cone</th><th>Heat</th></tr><tr><td>06</td><td><a href=x>999 °C</a></td></tr>"
        "</table><pre>a = 1\n  b = 2</pre><footer>(c) us</footer>tail</body></html>"
    )
    assert document.text == (
        "Kiln guide\n\nOne short note,\ntwo lines.\n\n- Bisque\n- Glaze\n\nCones\n\n"
        "Cone | Heat\n06 | 999 °C\n\na = 1\n  b = 2\n\ntail"
    )
    assert headings(document) == [(1, "Kiln guide"), (2, "Cones")]
    assert (document.title, document.kind, document.has_lines) == ("Kiln & glaze", "html", False)


def test_a_table_that_lays_out_the_page_is_not_pressed_into_one_line() -> None:
    document = html("<table><tr><td><h1>Left</h1><p>one</p></td><td><p>two</p></td></tr></table>")
    assert document.text == "Left\n\none\n\ntwo"


def test_the_part_that_a_page_calls_its_main_one_is_taken() -> None:
    page = "<body><div>menu</div><main><h1>Only this</h1></main><div>cookies</div></body>"
    assert html(page).text == "Only this"
    assert html(page.replace("main>", "article>")).text == "Only this"


def test_a_page_that_is_mostly_menus_is_reduced_to_its_content() -> None:
    menus = "".join(f"<div class='menu'><a href='/{n}'>Buy thing {n} now</a></div>" for n in range(300))
    words = "The heron stands in the shallow water and waits for a careless fish to pass. It does not move at all."
    content = "".join(f"<p>{words} Paragraph {n}.</p>" for n in range(20))
    document = html(f"<body><div>{menus}</div><div class='content'><h2>Herons</h2>{content}</div></body>")
    assert "Buy thing" not in document.text
    assert document.text.count("careless fish") == 20


@pytest.mark.parametrize(
    ("head", "letters", "encoding"),
    [
        ('<meta charset="iso-8859-1">', "“Grüße” 5 €", "cp1252"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">', "日本語①", "cp932"),
        ('<?xml version="1.0" encoding="utf-8"?>', "Grüße", "utf-8"),
        ('<meta charset="no-such-thing">', "Grüße", "utf-8"),
        ('<meta charset="base64">', "Grüße", "utf-8"),
        ('<meta charset="iso-8859-1">', "Grüße", "utf-8-sig"),
        ('<meta charset="utf-8">', "Grüße", "utf-16"),
    ],
)
def test_a_page_is_decoded_as_it_says_unless_it_is_wrong(head: str, letters: str, encoding: str) -> None:
    assert parse(Path("a.htm"), f"{head}<p>{letters}</p>".encode(encoding)).text == letters


def test_tags_nested_by_the_thousand_are_read_or_refused_never_dropped() -> None:
    assert html("<p>first" + "<div>" * 1_500 + "deep").text == "first\n\ndeep"
    with pytest.raises(Unreadable, match="nested more than"):
        html("<p>first" + "<div>" * 100_000 + "deep")


def test_a_pdf_has_pages_and_its_bookmarks_as_headings() -> None:
    document = example("kiln-manual.pdf")
    assert (document.title, document.kind, document.has_lines) == ("Kiln manual", "pdf", False)
    assert headings(document) == [(1, "1 The kiln and its place"), (1, "2 Programmes"), (1, "3 Errors and care")]
    assert tuple(heading.offset for heading in document.headings) == document.pages
    first, second, third = document.pages
    assert "32 ampere" in document.text[first:second]
    assert "cone 6" in document.text[second:third]
    assert "Error E7" in document.text[third:]


def test_a_bookmark_finds_its_heading_on_the_page_it_points_to() -> None:
    sections = [("One", "Two\n\nstands here in the contents"), ("Two", "One more"), ("No such\nline", "text")]
    document = parse(Path("a.pdf"), make_pdf("T", sections))
    assert [heading.offset for heading in document.headings][:2] == [*document.pages[:2]]


def test_a_page_without_text_keeps_its_number() -> None:
    document = parse(Path("a.pdf"), make_pdf("T", [("One", "first"), ("", ""), ("Three", "third")]))
    assert len(document.pages) == 3
    assert document.text[document.pages[2] :].startswith("Three")


def test_a_pdf_without_text_says_that_it_holds_pictures() -> None:
    blank = pypdfium2.PdfDocument.new()
    blank.new_page(200, 200)
    made = io.BytesIO()
    blank.save(made)
    with pytest.raises(Unreadable, match=r"found 1 page\(s\) of pictures: run text recognition"):
        parse(Path("scan.pdf"), made.getvalue())


def test_a_broken_pdf_is_refused_with_the_reason() -> None:
    whole = make_pdf("T", [("One", "first")])
    for data in (b"%PDF-1.7\n", b"no PDF at all", whole[:300], random.Random(1).randbytes(2_000)):
        with pytest.raises(Unreadable, match="expected a PDF that can be opened, found a broken or incomplete one"):
            parse(Path("a.pdf"), data)


def test_a_pdf_with_a_password_says_so() -> None:
    """The smallest one: an encryption dictionary that no empty password opens."""
    whole = make_pdf("T", [("One", "first")])
    keys = b"/O <%s> /U <%s>" % (b"41" * 32, b"42" * 32)
    lock = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 %s >> /ID [<00> <00>]" % keys
    with pytest.raises(Unreadable, match="found one that a password protects") as refused:
        parse(Path("a.pdf"), whole.replace(b"/Root 1 0 R", b"/Root 1 0 R " + lock))
    assert isinstance(refused.value.__cause__, pypdfium2.PdfiumError)
    assert refused.value.__cause__.err_code == pdfium_c.FPDF_ERR_PASSWORD


def test_a_report_has_headings_paragraphs_items_and_rows() -> None:
    document = example("annual-report-2025.docx")
    assert (document.title, document.kind, document.has_lines) == ("Annual report 2025", "docx", False)
    assert headings(document)[:4] == [
        (1, "Annual report 2025"),
        (2, "What happened in 2025"),
        (2, "Money"),
        (3, "Largest purchases"),
    ]
    assert "Insurance | -1,310 € | -1,385 €\nBalance of the year | 3,380 € | 5,265 €\n\nThe reserve" in document.text
    assert "- A new tube for the laser cutter in June: 640 euros.\n- Sprung" in document.text


def test_headings_are_known_by_the_style_they_are_based_on_and_by_outline_level() -> None:
    source = docx.Document()
    mine = source.styles.add_style("My chapter", 1)
    mine.base_style = source.styles["Heading 2"]  # pyright: ignore[reportAttributeAccessIssue]
    source.add_paragraph("Based on one", "My chapter")
    outlined = source.add_paragraph("Outlined")
    outlined.paragraph_format.element.append(parse_xml(f'<w:pPr {nsdecls("w")}><w:outlineLvl w:val="0"/></w:pPr>'))
    assert headings(word(source)) == [(3, "Based on one"), (2, "Outlined")]


def test_tracked_changes_are_read_as_accepted_and_controls_as_their_content() -> None:
    source = docx.Document()
    paragraph = "<w:p><w:r><w:t>%s</w:t></w:r></w:p>"
    body = source.element.body
    for xml in (
        f"<w:p {nsdecls('w')}><w:pPr><w:tabs><w:tab w:val='left' w:pos='9'/></w:tabs></w:pPr><w:r><w:t>We</w:t></w:r>"
        "<w:ins><w:r><w:t xml:space='preserve'> meet</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText> met</w:delText></w:r></w:del>"
        "<w:moveFrom><w:r><w:t> earlier</w:t></w:r></w:moveFrom><w:r><w:tab/><w:t>today</w:t></w:r></w:p>",
        f"<w:sdt {nsdecls('w')}><w:sdtContent>{paragraph % 'inside'}</w:sdtContent></w:sdt>",
        f"<w:tbl {nsdecls('w')}><w:tr><w:tc>{paragraph % 'a'}<w:tbl><w:tr><w:tc>{paragraph % 'b'}</w:tc></w:tr></w:tbl>"
        f"{paragraph % 'c'}</w:tc><w:tc>{paragraph % 'd'}</w:tc></w:tr></w:tbl>",
    ):
        body.insert(len(body) - 1, parse_xml(xml))
    assert word(source).text == "We meet\ttoday\n\ninside\n\na b c | d"


def test_a_broken_docx_is_refused_with_the_reason() -> None:
    whole = (EXAMPLES / "docs" / "annual-report-2025.docx").read_bytes()
    for data in (b"no zip", whole[: len(whole) // 2], _without(whole, "word/document.xml"), _garbled(whole)):
        with pytest.raises(Unreadable, match="expected a DOCX, found a broken or incomplete one"):
            parse(Path("a.docx"), data)


def test_footnotes_and_comments_stand_by_what_they_are_about_and_headers_once_at_the_end() -> None:
    source = docx.Document()
    source.add_heading("Roof", 1)
    paragraph = source.add_paragraph("The roof leaks.")
    source.add_comment(paragraph.runs, "Since May.\nCall Ines.", author="Bo")
    source.add_paragraph("It is old.").add_run().element.append(
        parse_xml(f'<w:footnoteReference {nsdecls("w")} w:id="2"/>')
    )
    source.sections[0].header.paragraphs[0].text = "House rules 2025"
    source.sections[0].footer.paragraphs[0].text = "draft"
    notes = (
        f'<w:footnotes {nsdecls("w")}><w:footnote w:id="2"><w:p><w:r><w:t>Built in 1931.</w:t></w:r></w:p>'
        "</w:footnote></w:footnotes>"
    )
    name = PackURI("/word/footnotes.xml")
    part = Part(name, "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml", notes.encode())
    source.part.relate_to(part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes")
    document = word(source)
    assert document.text == (
        "Roof\n\nThe roof leaks.\n\nComment by Bo: Since May.\nCall Ines.\n\nIt is old.\n\n"
        "Footnote: Built in 1931.\n\nHouse rules 2025\n\ndraft"
    )
    assert [(heading.level, heading.title) for heading in document.headings] == [(2, "Roof"), (1, "")]
    assert document.text.startswith("House rules", document.headings[1].offset)


def test_pages_without_end_and_a_page_full_beyond_reading_are_refused() -> None:
    whole = make_pdf("T", [("One", "first")])
    kids = re.search(rb"/Kids \[([^]]*)\] /Count 1", whole)
    assert kids, "the example's page tree has another form"
    many = whole.replace(kids[0], b"/Kids [%s] /Count 20001" % (kids[1] * 20_001))
    with pytest.raises(Unreadable, match="of at most 20,000 pages, found 20,001"):
        parse(Path("a.pdf"), many)


@pytest.mark.parametrize("name", ["kiln-manual.pdf", "annual-report-2025.docx", "laser-cutter.html", "handbook.md"])
def test_damage_anywhere_gives_a_document_or_a_reason(name: str) -> None:
    chance, whole = random.Random(7), (EXAMPLES / "docs" / name).read_bytes()
    reasons: set[str] = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randint(0, 60)] = chance.randbytes(chance.randint(0, 8))
        try:
            parse(Path(name), bytes(damaged)).text.encode()
        except Unreadable as error:
            reasons.add(str(error))
    assert all("expected" in reason and "\n" not in reason for reason in reasons)


def test_the_kept_examples_are_what_their_script_makes() -> None:
    for name, data in MAKE_DOCS["made_docs"]().items():
        assert parse(Path(name), data) == example(name)


def test_every_example_is_readable() -> None:
    found = {path.name: parse(path, path.read_bytes()) for path in sorted((EXAMPLES / "docs").iterdir())}
    assert {document.kind for document in found.values()} == {
        "markdown",
        "text",
        "code",
        "html",
        "pdf",
        "docx",
        "table",
    }
    assert all(document.text.strip() for document in found.values())


def _without(archive: bytes, left_out: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            if name != left_out:
                target.writestr(name, source.read(name))
    return made.getvalue()


def _garbled(archive: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name)[:200])
    return made.getvalue()
