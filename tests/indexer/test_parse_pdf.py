"""What a PDF's pages say beside their text is left out, and what their lines broke is made whole."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from runpy import run_path

import pytest

from indexer.parse import Document, parse
from indexer.parse.columns import Box, reading_order
from indexer.parse.hyphens import MARK, joined

EXAMPLES = Path(__file__).parents[2] / "examples"
make_pdf: Callable[[str, list[tuple[str, str]]], bytes] = run_path(str(EXAMPLES / "make_docs.py"))["pdf"]
STREAM = re.compile(rb"/Length \d+ >>\s*stream\n.*?endstream", re.DOTALL)

Line = tuple[float, float, str]
"""Where it starts, in points from the left and from below, and what it says."""

WORDS = "the herons of the lake stand in shallow water and wait for fish to come by while reeds are frozen over".split()


def pdf(*pages: Sequence[Line]) -> bytes:
    streams = iter(["".join(f"BT /F1 10 Tf {x} {y} Td ({said}) Tj ET\n" for x, y, said in page) for page in pages])

    def filled(_: re.Match[bytes]) -> bytes:
        stream = next(streams).encode()
        return b"/Length %d >>\nstream\n%sendstream" % (len(stream), stream)

    return STREAM.sub(filled, make_pdf("T", [("", "")] * len(pages)))


def read(*pages: Sequence[Line]) -> list[str]:
    document = parse(Path("a.pdf"), pdf(*pages))
    return texts(document)


def texts(document: Document) -> list[str]:
    bounds = [*document.pages, len(document.text) + 1]
    return [document.text[a : b - 1] for a, b in pairwise(bounds)]


def prose(seed: int, lines: int = 12) -> list[str]:
    """Lines of about the same length, each one of a kind."""
    return [
        " ".join(WORDS[(seed + 5 * at + n) % len(WORDS)] for n in range(7)) + f" {seed}{at:02}" for at in range(lines)
    ]


def page(said: Sequence[str], top: str = "", bottom: str = "") -> list[Line]:
    body = [(72.0, 720.0 - 14 * at, line) for at, line in enumerate(said)]
    return [*([(72.0, 800.0, top)] if top else []), *body, *([(72.0, 30.0, bottom)] if bottom else [])]


def test_headers_and_page_numbers_that_run_are_left_out_and_words_stay_where_they_stand_first() -> None:
    found = read(*(page([f"Body {n} of it"], "Kiln manual, draft", f"Page {n} of 4") for n in range(1, 5)))
    assert found == ["Kiln manual, draft\nBody 1 of it", "Body 2 of it", "Body 3 of it", "Body 4 of it"]


def test_headers_of_left_and_right_pages_and_of_chapters_run_too() -> None:
    tops = ["", "2  The kiln", "Firing  3", "4  The kiln", "Firing  5", "6  The kiln", "Firing  7", "8  Errors"]
    found = read(*(page([f"Body {n}"], top) for n, top in enumerate(tops)))
    first = [
        "Body 0",
        "2 The kiln\nBody 1",
        "Firing 3\nBody 2",
        "Body 3",
        "Body 4",
        "Body 5",
        "Body 6",
        "8 Errors\nBody 7",
    ]
    assert [" ".join(text.split(" ")) for text in found] == first


def test_rows_that_differ_in_their_numbers_are_no_footers() -> None:
    last = [f"Payment {37 * n % 11} of {91 * n % 17} euro" for n in range(6)]
    assert all(
        said in text for said, text in zip(last, read(*(page(["x"], bottom=said) for said in last)), strict=True)
    )


def test_what_stands_on_two_pages_is_no_header_but_a_page_number_is() -> None:
    assert read(page(["One"], "Letter", "1"), page(["Two"], "Letter", "2")) == ["Letter\nOne", "Letter\nTwo"]


def test_the_body_keeps_what_is_a_header_too() -> None:
    found = read(*(page(["Kiln", "then this"], "Kiln") for _ in range(3)))
    assert found == ["Kiln\nKiln\nthen this", "Kiln\nthen this", "Kiln\nthen this"]


def test_a_page_that_has_only_a_header_is_a_page_still() -> None:
    found = read(page(["One"], "Kiln"), page([], "Kiln"), page(["Three"], "Kiln"))
    assert found == ["Kiln\nOne", "", "Three"]


def test_lines_written_across_two_columns_are_read_column_by_column() -> None:
    left, right = prose(1), prose(2)
    left[4:6] = ["stand in shallow water, and infor-", "mation about the herons of the lake"]
    across = [
        line for at in range(12) for line in ((60.0, 700.0 - 14 * at, left[at]), (320.0, 700.0 - 14 * at, right[at]))
    ]
    title = (
        60.0,
        760.0,
        "A title that goes across both of the columns, from the left margin to the right one of it all",
    )
    foot = (60.0, 500.0, "A remark that goes across both of the columns, from the left margin to the right one of all")
    whole = "\n".join(left).replace("-\n", "").split("\n")
    assert read([title, *across, foot])[0].split("\n") == [title[2], *whole, *right, foot[2]]


def test_columns_that_were_written_one_by_one_stay_as_they_are() -> None:
    left, right = prose(1), prose(2)
    columns = [(x, 700.0 - 14 * at, line) for x, side in ((60.0, left), (320.0, right)) for at, line in enumerate(side)]
    assert read(columns)[0].split("\n") == [*left, *right]


def test_the_rows_of_a_table_are_not_torn_apart() -> None:
    names = ["Fees", "Rent and heating", "Machines", "Insurance", "Donations", "Repairs"] * 3
    rows = [
        line
        for at, name in enumerate(names)
        for line in ((60.0, 720.0 - 14 * at, name), (320.0, 720.0 - 14 * at, f"{at},00"))
    ]
    assert read(rows)[0].split("\n") == [f"{name} {at},00" for at, name in enumerate(names)]


def test_only_full_lines_that_alternate_between_two_sides_are_columns() -> None:
    def line(at: int, left: float, width: float) -> Box:
        return left, 700.0 - 14 * at, left + width, 710.0 - 14 * at

    across = [line(at, left, 220) for at in range(12) for left in (60, 320)]
    assert reading_order(across)
    # A table with long names, and columns with a wide space within each line, which were written one by one.
    assert not reading_order([line(at, left, 60 + 20 * (at % 9)) for at in range(12) for left in (60, 320)])
    assert not reading_order([line(at, left + on, 100) for left in (60, 320) for at in range(12) for on in (0, 120)])


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("infor\x02mation, all information", "information, all information"),
        ("a well\x02known and a well-known one", "a well-known and a well-known one"),
        ("risk\x02based; a risk is based on it", "risk-based; a risk is based on it"),
        ("COVID\x0219 and pages 12\x0215", "COVID-19 and pages 12-15"),
        ("Anglo\x02Saxon, OCTET SE\x02QUENCE", "Anglo-Saxon, OCTET SEQUENCE"),
        ("state-of-the\x02art art the", "state-of-the-art art the"),
        ("multi-conver\x02sation conversation", "multi-conversation conversation"),
        ("re\x02ed, re and ed", "reed, re and ed"),
        ("infor-\nmation", "information"),
        ("- a list\n- of two", "- a list\n- of two"),
        ("1990-\n1995", "1990-\n1995"),
    ],
)
def test_a_broken_word_is_made_whole_by_what_the_document_says_elsewhere(said: str, becomes: str) -> None:
    assert joined([said]) == [becomes]
    assert MARK not in joined(["", f"{MARK}x{MARK}"])[1]


def test_words_at_the_ends_of_a_pdfs_lines_are_made_whole() -> None:
    lines = ["The well-known habit, in the infor-", "mation of 1931, is a well-", "known one."]
    assert read(page(lines))[0] == "The well-known habit, in the information of 1931, is a well-known one."
