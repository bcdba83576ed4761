"""Bytes become text, Markdown and code."""

import random
from pathlib import Path

import pytest

from indexer.parse import SUPPORTED, UNSUPPORTED, Document, Unreadable, parse

GERMAN = "Grüße aus Köln. Die Öffnungszeiten: täglich von 9 bis 18 Uhr, außer an Feiertagen."
POLISH = "Biblioteka narzędzi jest otwarta w każdą sobotę. Zwroty przyjmujemy do końca tygodnia."
RUSSIAN = "Привет, мир. Это короткий текст о резервном копировании на внешний диск."
JAPANESE = "これは日本語のメモです。工具の貸し出しは二週間までです。"


def text(data: bytes, name: str = "note.txt") -> str:
    return parse(Path(name), data).text


def markdown(source: str) -> Document:
    return parse(Path("note.md"), source.encode())


def headings(document: Document) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_text_is_the_decoded_file_to_the_character(encoding: str) -> None:
    source = "Erste Zeile\r\nzweite\rdritte \n\n\tvierte\x0c mit ümlaut"
    document = parse(Path("note.txt"), source.encode(encoding))
    assert document == Document(source, None, "text", has_lines=True)


@pytest.mark.parametrize(
    ("source", "encoding"),
    [
        (GERMAN, "cp1252"),
        ("Price: 5 €, “quoted” – it’s a dash", "cp1252"),
        ("Le café est fermé l'été, sauf à Noël.", "latin-1"),
        ("A long English text with a single n\N{DEGREE SIGN} sign, " * 5 + "at 25 \N{DEGREE SIGN}C", "latin-1"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        ("这是一个中文的备忘录。工具可以借两个星期。", "gb18030"),
        ("이것은 한국어 메모입니다. 공구는 이 주일까지 빌릴 수 있습니다.", "cp949"),
    ],
)
def test_text_from_older_programs_is_read_in_their_encoding(source: str, encoding: str) -> None:
    assert text(source.encode(encoding)) == source


def test_a_few_broken_bytes_do_not_turn_utf8_into_gibberish() -> None:
    assert text((GERMAN * 3).encode() + b"\xc3") == GERMAN * 3 + "\ufffd"


def test_a_log_with_a_block_of_nuls_is_still_a_log() -> None:
    log = b"12:00 all is well\n" * 500 + b"\0" * 100
    assert text(log, "server.log").startswith("12:00 all is well")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(1).randbytes(500), "a PNG picture"),
        (b"%PDF-1.7\nplain so far", "a PDF"),
        (b"PK\x03\x04" + random.Random(2).randbytes(500), "a ZIP archive"),
        (random.Random(3).randbytes(5_000), "binary data"),
        (bytes(range(256)) * 8, "binary data"),
        (b"\0" * 1_000, "binary data"),
    ],
)
def test_binary_data_named_md_is_refused_by_what_it_is(data: bytes, found: str) -> None:
    with pytest.raises(Unreadable, match=f"expected text, found .*{found}"):
        parse(Path("note.md"), data)


def test_a_file_of_unknown_kind_is_read_when_it_is_text_and_refused_by_name_when_not() -> None:
    assert parse(Path("Makefile"), b"all:\n\techo\n").kind == "text"
    assert parse(Path("notes.zzz"), GERMAN.encode()).text == GERMAN
    with pytest.raises(Unreadable, match=r"unsupported: expected text, .*, found a \.zzz file with binary data"):
        parse(Path("notes.zzz"), random.Random(4).randbytes(1_000))
    with pytest.raises(Unreadable, match=r"unsupported: .*found a \.dll file"):
        parse(Path("part.DLL"), b"MZ")
    assert not SUPPORTED & UNSUPPORTED


@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.py", "a.html", "a.pdf", "a.docx", "a"])
def test_an_empty_file_is_an_empty_document(name: str) -> None:
    assert parse(Path(name), b"").text == ""


def test_markdown_has_the_headings_a_reader_sees() -> None:
    document = markdown(
        "# Guide to `tandem` #\r\n"
        "Text with # no heading\r\n"
        "#nor this\r\n"
        "    # nor code\r\n"
        "## See [the *site*](https://example.org)\r\n"
        "```sh\r\n# a comment\r\n~~~\r\n```\r\n"
        "~~~\r\n```\r\n# still code\r\n~~~~\r\n"
        "Set up\r\n---\r\n"
        "two lines\r\nof text\r\n---\r\n"
        "- item\r\n---\r\n"
        "####### seven\r\n"
        "~~~\r\n## in an open fence\r\n"
    )
    assert headings(document) == [(1, "Guide to tandem"), (2, "See the site"), (2, "Set up")]
    assert document.title == "Guide to tandem"
    assert [document.text[heading.offset :][:6] for heading in document.headings] == ["# Guid", "## See", "Set up"]


def test_front_matter_gives_a_title_only_where_no_heading_does() -> None:
    front = '---\ntitle: "From the front"\n# a comment\n---\n'
    assert markdown(front + "text").title == "From the front"
    assert headings(markdown(front + "text")) == []
    assert markdown(front + "# From the page").title == "From the page"
    assert markdown("---\n\ntitle: in a text between rules").title is None


@pytest.mark.parametrize("line", ["x", "# ", "`", "[a](", "- a\n", "---\n", "#" * 7, "=\n", "<!-- "])
def test_a_file_of_one_endless_thing_is_read_in_no_time(line: str) -> None:
    source = line * (100_000 // len(line))
    assert parse(Path("a.md"), source.encode()).text == source
