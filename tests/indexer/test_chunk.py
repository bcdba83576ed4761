import random
import re
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from indexer.chunk import Chunk, chunk
from indexer.parse import Document, Heading, Kind
from indexer.parse.code import parse as code
from indexer.parse.delimited import parse as delimited
from indexer.parse.markdown import parse as markdown

# As WordPiece does: words fall into parts, each CJK letter and each sign stands alone, the rest is skipped.
CJK = r"\u3040-\u30ff\u4e00-\u9fff"
PART = re.compile(rf"[^\W_{CJK}]{{100,}}|[^\W_{CJK}]{{1,5}}|[{CJK}]|[!-/:-@\[-`{{-~。！？“”]")


def offsets(text: str) -> list[tuple[int, int]]:
    return [part.span() for part in PART.finditer(text)]


def prose(text: str) -> Document:
    return Document(text, None, "text", has_lines=True)


def chunks(document: Document, size: int = 40, overlap: int = 8) -> list[Chunk]:
    return chunk(document, offsets, size, overlap)


def sentence(number: int, words: int = 12) -> str:
    return f"Sentence {number} " + "word " * (words - 4) + "ends."


def sentences(count: int, words: int = 12) -> str:
    return " ".join(sentence(number, words) for number in range(count))


def test_prose_is_cut_at_sentences_and_repeats_from_the_start_of_one() -> None:
    found = chunks(prose(sentences(40, 6)))
    assert len(found) > 5
    assert all(part.text.startswith("Sentence") and part.text.endswith("ends.") for part in found)
    assert all(len(offsets(part.text)) > 20 for part in found)
    assert all(after.start < before.end for before, after in pairs(found))


def test_an_overlap_never_reaches_back_further_than_asked() -> None:
    for before, after in pairs(chunks(prose(sentences(40, 7)))):
        repeated = offsets(before.text[after.start - before.start :])
        assert 0 < len(repeated) <= 8


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("He said “yes.” “No,” she said.", "“No"),
        ("Das Ende. Über uns steht nichts.", "Über"),
        ("Конец. Новое начало.", "Новое"),
        ("One line\n\nanother paragraph.", "another"),
        ("Buy this:\n- bread and\n- butter", "- butter"),
        ("終わりです。次の文です。", "次"),
        ("Really?! (Yes.)", "(Yes"),
    ],
)
def test_a_sentence_begins_here_in_any_script(text: str, cut: str) -> None:
    size = len(offsets(text[: text.index(cut)])) + 1
    assert chunks(prose(text), size=size, overlap=0)[1].text.startswith(cut)


def test_the_number_of_a_list_item_is_no_sentence() -> None:
    text = "1. " + "word " * 14 + "\n2. Then " + "word " * 30
    assert chunks(prose(text), size=20, overlap=0)[1].text.startswith("2. Then")


def table(rows: int) -> str:
    return "| Name | Price |\n|--|--|\n" + "\n".join(f"| kiln {n} | {n} euro |" for n in range(rows))


def test_text_without_sentences_is_cut_at_lines_and_else_between_words() -> None:
    rows = "\n".join(f"row,{n},value" for n in range(60))
    assert all(re.fullmatch(r"(row,\d+,value\n?)+", part.text) for part in chunks(prose(rows)))
    words = "internationally recognised " * 60
    assert {part.text.split()[0] for part in chunks(prose(words))} <= {"internationally", "recognised"}
    assert {part.text.split()[-1] for part in chunks(prose(words))} <= {"internationally", "recognised"}


def test_unspaced_scripts_fill_a_chunk_and_words_are_never_cut_before_a_vowel_sign() -> None:
    japanese = ("工具の貸し出し" * 4 + " ") * 10
    assert {len(offsets(part.text)) for part in chunks(prose(japanese))[:-1]} == {40}
    hindi = "किताबों " * 40
    found = chunk(prose(hindi), lambda text: [(at, at + 1) for at, sign in enumerate(text) if sign != " "], 40, 8)
    assert {word for part in found for word in part.text.split()} == {"किताबों"}


def test_offsets_that_step_back_or_stand_still_do_no_harm() -> None:
    """One Hangul letter is several tokens, and marks may be reordered."""

    def odd(text: str) -> list[tuple[int, int]]:
        chance = random.Random(3)
        return [(max(0, at - chance.choice((0, 0, 0, 25))), at + 1) for at in range(len(text)) for _ in range(3)]

    found = chunk(prose(text := "가나다라마바사" * 30), odd, 40, 8)
    assert_covered(text, found)
    assert [part.end for part in found] == sorted({part.end for part in found})


def test_a_heading_begins_a_chunk_and_nothing_is_repeated_across_it() -> None:
    document = markdown(f"# A\n\n{sentences(2)}\n\n## B\n\n{sentences(2)}\n\n## C\n\n{sentences(6)}\n")
    found = chunks(document)
    assert [part.text[:4] for part in found[:3]] == ["# A\n", "## B", "## C"]
    assert [part.heading for part in found] == ["A", "A > B", *["A > C"] * (len(found) - 2)]
    assert found[1].start >= found[0].end
    assert found[2].start >= found[1].end
    assert found[4].start < found[3].end


def test_short_sections_share_a_chunk_that_is_named_for_its_first() -> None:
    document = markdown("# A\n\nfew words\n\n# B\n\nfew words\n\n# C\n\nfew words\n")
    assert [(part.heading, part.text[-9:]) for part in chunks(document, 100)] == [("A", "few words")]


def test_a_title_right_above_its_first_section_stays_with_it() -> None:
    document = markdown(f"{sentences(1)}\n\n# A\n\n## B\n\n{sentences(2)}\n\n## C\n\n{sentences(1)}")
    assert [(part.text[:3], part.heading) for part in chunks(document)] == [
        ("Sen", None),
        ("# A", "A > B"),
        ("## ", "A > C"),
    ]


def test_code_is_cut_before_definitions_and_blank_lines_and_its_lines_stay_whole() -> None:
    function = "def {0}(x):\n    y = x + 1\n    return y\n\n\n"
    block = "".join(f"        a{n} = call(b, {n})\n" for n in range(12))
    source = function.format("one") + function.format("two") + "class Three:\n    def four(self):\n" + block
    document = code(source, ".py")
    found = chunks(document)
    assert [part.heading for part in found[:3]] == ["one", "two", "Three"]
    assert found[-1].heading == "Three > four"
    starts_of_lines = {match.start() for match in re.finditer(r"(?m)\S.*$", source)}
    ends_of_lines = {match.end() for match in re.finditer(r"(?m)\S.*$", source)}
    assert {part.start for part in found} <= starts_of_lines
    assert {part.end for part in found} <= ends_of_lines
    assert any(after.start < before.end for before, after in pairs(found))


def test_code_without_known_definitions_is_cut_at_its_blank_lines_where_nothing_is_repeated() -> None:
    block = "\n".join(f"step {n} of it" for n in range(7))
    found = chunks(Document("\n\n".join([block] * 5), None, "code"))
    assert [part.text for part in found] == [block] * 5


def test_a_code_line_longer_than_a_chunk_is_cut_and_not_repeated() -> None:
    found = chunks(code("x = [" + "1, " * 200 + "]\n", ".py"))
    assert all(after.start >= before.end for before, after in pairs(found))


def test_a_table_that_fits_is_one_chunk_with_its_heading_and_what_leads_to_it() -> None:
    text = f"{sentences(2)}\n\n{sentence(2, 6)}\n\n{table(5)}\n\n{sentences(3)}"
    (whole,) = (part for part in chunks(markdown(text), 60, 12) if "| kiln" in part.text)
    assert whole.text.startswith("Sentence 2 word word ends.\n\n| Name")
    assert "| kiln 4 |" in whole.text
    (whole,) = (part for part in chunks(markdown(f"{sentences(2)}\n\n# T\n\n{table(3)}")) if "| kiln" in part.text)
    assert whole.text == f"# T\n\n{table(3)}"


def test_a_table_that_does_not_fit_is_cut_between_rows_and_each_part_knows_its_header() -> None:
    text = f"{sentences(1)}\n\n{table(30)}\n\n{sentences(2)}"
    found = [part for part in chunks(markdown(text)) if "| kiln" in part.text]
    assert len(found) > 4
    assert (found[0].context, {part.context for part in found[1:]}) == ("", {"Name | Price"})
    rows = [row for part in found for row in part.text.split("\n") if row.startswith("| kiln")]
    assert rows == table(30).split("\n")[2:]
    assert not chunks(markdown(text))[-1].context


def test_no_chunk_ends_with_a_tables_header() -> None:
    for words in range(4, 40):
        for part in chunks(markdown(f"{sentence(1, words)}\n\n{table(30)}")):
            assert not part.text.endswith(("|--|--|", "| Name | Price |")), words


def test_a_row_longer_than_a_chunk_is_cut_and_still_knows_its_header() -> None:
    found = chunks(markdown(f"| Name | Price |\n|--|--|\n| kiln | {'word ' * 100}|\n| oven | 2 |\n"))
    assert {part.context for part in found[1:]} == {"Name | Price"}
    assert found[-1].text.endswith("| oven | 2 |")


def test_the_rows_of_a_csv_stay_whole_also_where_a_cell_has_lines() -> None:
    rows = [f'{n},"first line,\nsecond line of {n}"' for n in range(30)]
    found = chunks(delimited("Number,Remark\n" + "\n".join(rows)))
    assert {part.context for part in found} == {"", "Number,Remark"}
    assert "\n".join(part.text for part in found) == "Number,Remark\n" + "\n".join(rows)
    assert all(part.text.endswith('"') for part in found)


def test_a_header_too_long_to_repeat_is_repeated_in_part() -> None:
    names = ",".join(f"column{n}" for n in range(30))
    found = chunks(delimited(f"{names}\n" + f"{'x,' * 29}y\n" * 20))
    assert found[-1].context
    assert names.startswith(found[-1].context)
    assert len(offsets(found[-1].context)) <= 10


def test_code_that_goes_on_from_above_knows_the_signatures_around_it() -> None:
    body = "".join(f"        a{n} = call(b, {n})\n" for n in range(12))
    source = f"class Kiln(Oven):\n    def fire(self, hours: int) -> None:\n{body}\n\ndef other():\n    pass\n"
    found = chunks(code(source, ".py"), 60)
    assert [part.context for part in found[:2]] == ["", "def fire(self, hours: int) -> None:"]
    assert found[1].heading == "Kiln > fire"
    wide = chunks(code(source, ".py"), 80)
    assert wide[1].context == "class Kiln(Oven):\ndef fire(self, hours: int) -> None:"
    assert [part.context for part in wide if part.text.startswith("def other")] == [""]


def test_lines_are_those_of_the_file_whatever_ends_them() -> None:
    text = "first\r\nsecond.\r\n\r\nFourth " + "word " * 30 + "\rfifth\nSixth"
    by_line = {part.text.split()[0]: (part.start_line, part.end_line) for part in chunks(prose(text), 20, 0)}
    assert by_line["first"][0] == 1
    assert max(end for _, end in by_line.values() if end) == 6
    for part in chunks(prose(text), 20, 0):
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert part.start_line
        assert part.end_line
        assert part.text.split()[0] in lines[part.start_line - 1]
        assert part.text.split()[-1] in lines[part.end_line - 1]


def test_a_chunk_over_two_pages_is_cited_by_the_page_that_holds_most_of_it() -> None:
    texts = [sentences(1), sentences(3), sentences(1)]
    pages = (0, len(texts[0]) + 1, len(texts[0]) + len(texts[1]) + 2)
    document = Document("\n".join(texts), None, "pdf", pages=pages)
    assert [part.page for part in chunks(document, 1000)] == [2]
    assert [part.page for part in chunks(document, 14, 0)] == [1, 2, 2, 2, 3]
    assert all(part.start_line is None for part in chunks(document))


def test_a_text_without_words_has_no_chunk() -> None:
    for text in ("", " \n\t ", "\x01\x02", "\u200b"):
        assert chunks(prose(text)) == []


def test_an_overlap_of_half_the_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an overlap below half of the size 40, found 20"):
        chunks(prose("text"), 40, 20)


@pytest.mark.parametrize("kind", ["text", "code"])
@pytest.mark.parametrize(
    "text",
    [
        "x" * 300_000,
        "a" + "\x01" * 300_000,
        "ab+/" * 50_000,
        "." * 100_000,
        "工具の貸し出し" * 10_000,
        "\N{GRINNING FACE}" * 50_000,
        "a" + " " * 200_000 + "b",
        "a" + "\n" * 200_000 + "b",
        "a\0" * 50_000,
        ".'" * 50_000,
        "a. " * 50_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_odd_text_becomes_chunks_of_bearable_length(text: str, kind: Kind) -> None:
    found = chunks(Document(text, None, kind), 240, 40)
    assert_covered(text, found)
    assert all(len(part.text) <= 1_500 for part in found)


def test_chunking_takes_time_in_proportion() -> None:
    def seconds(text: str) -> float:
        began = time.process_time()
        chunks(prose(text), 240, 40)
        return time.process_time() - began

    text = sentences(1_500)
    seconds(text)
    assert seconds(text * 8) < 8 * 4 * max(seconds(text), 0.01)


def test_the_tokenizer_gets_small_pieces_and_gives_the_same_as_for_the_whole() -> None:
    longest = 0

    def watched(text: str) -> Sequence[tuple[int, int]]:
        nonlocal longest
        longest = max(longest, len(text))
        return offsets(text)

    def whole(text: str) -> Sequence[tuple[int, int]]:
        """Ignores the piece it is given and looks it up in the tokens of the whole text."""
        begin = at[0]
        at[0] += len(text)
        return [(a - begin, b - begin) for a, b in every if begin <= a < at[0]]

    for text in (sentences(2_500), "工具の貸し出しは二週間" * 6_000, "call(a,b);" * 8_000):
        every, at = offsets(text), [0]
        assert chunk(prose(text), watched) == chunk(prose(text), whole)
    assert longest <= 50_000


def test_any_document_is_covered_in_order_within_the_limit_and_always_alike() -> None:
    for seed in range(150):
        document, size, overlap = made(random.Random(seed))
        found = chunk(document, offsets, size, overlap)
        assert_covered(document.text, found)
        assert [part.start for part in found] == sorted({part.start for part in found}), seed
        assert [part.end for part in found] == sorted({part.end for part in found}), seed
        assert found == chunk(document, offsets, size, overlap)
        for part in found:
            assert part.text == document.text[part.start : part.end] == part.text.strip() != ""
            assert len(offsets(part.text)) + len(offsets(part.context)) <= size, seed
            if document.kind == "code":  # elsewhere a title is skipped for its first section
                assert part.heading == expected_heading(document, part), seed


@pytest.mark.parametrize("where", [0.0, 0.5])
def test_a_sentence_more_changes_a_few_chunks_only(where: float) -> None:
    chance = random.Random(5)
    text = " ".join(sentence(number, chance.randint(6, 30)) for number in range(400))
    at = text.index("Sentence", int(where * len(text)))
    edited = f"{text[:at]}Someone added this one. {text[at:]}"
    before = {part.text for part in chunks(prose(text), 240, 40)}
    after = [part.text for part in chunks(prose(edited), 240, 40)]
    assert len(after) > 25
    assert sum(part not in before for part in after) <= 6


def made(chance: random.Random) -> tuple[Document, int, int]:
    """A document of random words, signs, blank lines and headings, and a size and overlap to cut it by."""
    words = [
        "word",
        "A",
        "international",
        "x1",
        "über",
        "工具",
        "。",
        ".",
        "!\n",
        "\n\n",
        "\r\n",
        "  ",
        "(",
        '"',
        "- a",
    ]
    words += ["\n# H\n", "\n## Sub *two*\n", "\ndef f():\n", "\x01", "\u200b", "\n\n\n", "| a | b |\n", "e\u0301"]
    words += ["\n| Name | International price |\n|--|--|\n| a | 1 |\n", "| b | word word word |\n| c | 3 |\n"] * 2
    text = " ".join(chance.choice(words) for _ in range(chance.randint(1, 400)))
    size = chance.randint(1, 60)
    parsed = markdown(text)
    kind: Kind = chance.choice(["markdown", "code", "text"])
    pages = (0, len(text) // 3, len(text) // 2) if chance.random() < 0.3 else ()
    headings, tables = parsed.headings, parsed.tables
    if kind == "code":
        headings, tables = tuple(replace(heading, signature="def f(word):") for heading in headings), ()
    return Document(text, None, kind, headings, pages, True, tables), size, chance.randint(0, (size - 1) // 2)


def expected_heading(document: Document, part: Chunk) -> str | None:
    path: list[Heading] = []
    for heading in document.headings[: bisect_right([h.offset for h in document.headings], part.start)]:
        path = [above for above in path if above.level < heading.level] + [heading]
    return " > ".join(heading.title for heading in path) or None


def assert_covered(text: str, found: Sequence[Chunk]) -> None:
    """No visible character lies outside of every chunk (a text without a token has none)."""
    assert found or not offsets(text)
    if not found:
        return
    reached = 0
    for part in found:
        assert not text[reached : part.start].strip()
        reached = max(reached, part.end)
    assert not text[reached:].strip()


def pairs(found: Sequence[Chunk]) -> list[tuple[Chunk, Chunk]]:
    assert len(found) > 1
    return list(pairwise(found))
