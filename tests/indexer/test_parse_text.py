"""Bytes become text, Markdown and code."""

import random
import time
from pathlib import Path

import pytest

from indexer.parse import SUPPORTED, UNSUPPORTED, Document, Unreadable, parse, rst
from indexer.parse.text import decode

GERMAN = "Grüße aus Köln. Die Öffnungszeiten: täglich von 9 bis 18 Uhr, außer an Feiertagen."
ENGLISH = "The library of tools is open every Saturday; returns are due by the end of the week.\n"
WESTERN = ("cp1252", "latin-1")
OLDER = [
    (GERMAN, "cp1252"),
    ("Le café est fermé l'été, sauf à Noël. Les prêts durent deux semaines, après quoi il faut rendre.", "latin-1"),
    ("El señor Núñez llegó mañana, ¿verdad? Aquí está la lección sobre el año pasado.", "cp1252"),
    ("Não há informações sobre a instalação. Você já lê as instruções em português?", "cp1252"),
    ("Perché la città è così? Il caffè costa più di là, ma c'è di più.", "cp1252"),
    ("Vi åker på måndag över sjön. Blåbär växer här också på hösten.", "cp1252"),
    ("Vi kører på mandag over søen; bøgerne ligger på hylden ved døren. Æbler også.", "cp1252"),
    ("Price: 5 €, “quoted” – it’s a dash. The naïve café’s résumé.", "cp1252"),
    ("Biblioteka narzędzi jest otwarta w każdą sobotę. Zwroty przyjmujemy do końca tygodnia, żółte też.", "cp1250"),
    ("Knihovna nářadí je otevřená každou sobotu. Vrácení přijímáme do konce týdne, děkujeme.", "cp1250"),
    ("Az eszköztár minden szombaton nyitva tart. A kölcsönzött fűrészt őrizd meg, és hozd vissza.", "cp1250"),
    ("Biblioteca de scule este deschisă sâmbăta. Aşteptăm înapoi lucrurile până la sfârşit, mulţumim.", "cp1250"),
    ("Knjižnica alata otvorena je svake subote. Hvala što vraćate čekiće i žice na vrijeme.", "cp1250"),
    ("Привет, мир. Это короткий текст о резервном копировании на внешний диск.", "cp1251"),
    ("Бібліотека інструментів відкрита щосуботи. Дякуємо, що повертаєте їх вчасно.", "cp1251"),
    ("Привет, мир. Это короткий текст о резервном копировании на внешний диск.", "koi8-r"),
    ("Η βιβλιοθήκη εργαλείων είναι ανοιχτή κάθε Σάββατο.", "cp1253"),
    (
        "Araç kütüphanesi her cumartesi açıktır. Ödünç alınan şeyler iki haftada geri getirilir, değil mi?",
        "cp1254",
    ),
    ("הספרייה פתוחה בכל שבת. תודה שהחזרתם את הכלים בזמן.", "cp1255"),
    ("مكتبة الأدوات مفتوحة كل يوم سبت. شكرا لكم على إعادة الأدوات.", "cp1256"),
    ("ห้องสมุดเครื่องมือเปิดทุกวันเสาร์ กรุณาคืนเครื่องมือตรงเวลา", "cp874"),
    ("これは日本語のメモです。工具の貸し出しは二週間までです。", "cp932"),
    ("これは日本語のメモです。工具の貸し出しは二週間までです。", "euc_jp"),
    ("これは日本語のメモです。工具の貸し出しは二週間までです。", "iso2022_jp"),
    ("東京都港区の会議室を予約しました。コピー機は三階です。", "cp932"),
    ("这是一个中文的备忘录。工具可以借两个星期。谢谢大家。", "gb18030"),
    ("會議室在三樓。工具可以借兩個星期,謝謝大家的合作。", "cp950"),
    ("이것은 한국어 메모입니다. 공구는 이 주일까지 빌릴 수 있습니다.", "cp949"),
]
SHORT = [
    ("Müller", "cp1252"),
    ("25 °C", "cp1252"),
    ("È così", "cp1252"),
    ("déjà vu", "cp1252"),
    ("© 2019 Nuñez", "cp1252"),
    ("Źródło: wątek główny", "cp1250"),
    ("Przeglądarka błędów", "cp1250"),
    ("Příliš žluťoučký kůň", "cp1250"),
    ("Москва", "cp1251"),
    ("こんにちは", "cp932"),
    ("東京タワー", "cp932"),
    ("请问", "gb18030"),
    ("会议记录", "gb18030"),
    ("會議記錄", "cp950"),
    ("안녕하세요", "cp949"),
]


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


@pytest.mark.parametrize(("source", "encoding"), OLDER)
def test_text_from_older_programs_is_read_in_their_encoding(source: str, encoding: str) -> None:
    assert text(source.encode(encoding)) == source


@pytest.mark.parametrize(("source", "encoding"), OLDER)
def test_a_few_foreign_words_in_english_are_read_in_their_encoding(source: str, encoding: str) -> None:
    mixed = ENGLISH * 20 + source[: len(source) // 2] + "\n" + ENGLISH * 20 + source + "\n"
    assert text(mixed.encode(encoding)) == mixed


@pytest.mark.parametrize(("source", "encoding"), OLDER)
def test_a_table_of_numbers_with_foreign_words_is_read_in_their_encoding(source: str, encoding: str) -> None:
    words = source.replace(",", "").split()
    names = words if len(words) > 3 else [source[at : at + 4] for at in range(0, len(source) - 4, 4)]
    table = "id,name,price\n" + "".join(f"{row},{name},{row * 7.5:.2f}\n" for row, name in enumerate(names * 2))
    assert text(table.encode(encoding), "list.csv") == table


@pytest.mark.parametrize(("source", "encoding"), SHORT)
def test_even_a_word_or_two_are_read_in_their_encoding(source: str, encoding: str) -> None:
    assert text(source.encode(encoding)) == source


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("source", [source for source, encoding in OLDER if encoding not in WESTERN])
def test_utf16_without_a_mark_is_read_in_every_script(source: str, encoding: str) -> None:
    assert text(source.encode(encoding)) == source
    assert text(f"{source}\r\nABC 12\r\n{source}".encode(encoding)) == f"{source}\r\nABC 12\r\n{source}"


def test_what_the_sample_had_not_does_not_spoil_the_rest() -> None:
    sheet = "Grüße aus Köln.\n" * 2_000 + "\x81"
    data = sheet.encode("latin-1")
    assert text(data).startswith("Grüße aus Köln.\n") and text(data).endswith("Köln.\n\ufffd")


def test_a_large_file_of_an_older_program_takes_no_longer_than_its_sample() -> None:
    data = (ENGLISH * 40 + "Grüße aus Köln.\n").encode("cp1252") * 2_500
    assert len(data) > 8_000_000
    began = time.monotonic()
    decode(data)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst", "a.csv", "a.json", "a.py", "a.go", "a.html", "a"])
def test_no_bytes_whatever_raise_anything_but_unreadable(name: str) -> None:
    rng = random.Random(name)
    sources = [source.encode(encoding) for source, encoding in OLDER]
    sources += [source.encode(form) for source, _ in OLDER[:8] for form in ("utf-8", "utf-16", "utf-16-be", "utf-32")]
    for _ in range(60):
        data = bytearray(rng.choice(sources) + rng.choice((b"", b"\r", b"\0", b"\r\n\x85", b"\xed\xa0\x80", b"\x1b$B")))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = bytes(data[rng.randrange(3) : len(data) - rng.randrange(4)]) + rng.randbytes(rng.choice((0, 0, 3, 80)))
        try:
            document = parse(Path(name), cut)
        except Unreadable:
            continue
        assert document.text == decode(cut) or not document.has_lines or name == "a.json"
        assert all(0 <= heading.offset < len(document.text) for heading in document.headings)


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


def test_restructuredtext_has_the_headings_docutils_sees() -> None:
    document = rst.parse(
        "=====\r\n Größe of ``tandem``\r\n=====\r\n\r\n"
        ".. _label:\r\nSetting up\r\n----------\r\n\r\n"
        "Two lines of\r\ntext\r\n====\r\n\r\n"
        "Use :ref:`the site <x>` and `links <https://example.org>`_\r\n" + "~" * 60 + "\r\n\r\n"
        "- item\r\n------\r\n\r\nWait\r\n...\r\n\r\n"
        "====  ====\r\na     b\r\n====  ====\r\n\r\n----\r\n\r\n::\r\n\r\n    code\r\n    ====\r\n\r\n"
        "工具 😀\r\n-------\r\n"
    )
    assert headings(document) == [
        (1, "Größe of tandem"),
        (2, "Setting up"),
        (3, "Use the site and links"),
        (2, "工具 😀"),
    ]
    assert (document.title, document.has_lines) == ("Größe of tandem", True)
    begins = [document.text[heading.offset :].split("\r\n")[0][:10] for heading in document.headings]
    assert begins == ["=====", "Setting up", "Use :ref:`", "工具 😀"]


def test_restructuredtext_carries_nothing_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not to be read")
    source = f".. include:: {secret}\n\n.. raw:: html\n   :file: {secret}\n\n.. csv-table::\n   :file: {secret}\n"
    assert rst.parse(source).text == source


@pytest.mark.parametrize("line", ["x", "# ", "`", "[a](", ":a:`", "``", "- a\n", "---\n", "#" * 7, "=\n", "<!-- "])
def test_a_file_of_one_endless_thing_is_read_in_no_time(line: str) -> None:
    source = line * (100_000 // len(line))
    assert parse(Path("a.md"), source.encode()).text == source
    assert rst.parse(source).text == source


def test_a_note_of_odd_signs_is_text_and_a_large_file_of_them_is_not(tmp_path: Path) -> None:
    odd = "The quic\b\b\b\b\b\bk fo\a\a\a\a\a\a\a\a\a\a\a\ax \x01\x02\x03\x04\x05\x06\x0e\x0f"
    assert decode(odd.encode()) == odd
    with pytest.raises(Unreadable):
        decode(odd.encode() * 50)


def test_an_rst_file_has_the_headings_of_its_lines() -> None:
    document = parse(Path("guide.rst"), b"Guide\n=====\n\nText.\n\nPipes\n-----\n\nMore text.\n")
    assert [(heading.title, heading.level) for heading in document.headings] == [("Guide", 1), ("Pipes", 2)]
