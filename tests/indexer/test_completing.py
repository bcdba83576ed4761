"""Passages of a real chunker's chunks, completed: always a piece of the text, with the lines that it has there."""

import random
import re

import pytest

from indexer.chunk import chunk
from indexer.completing import PASSAGE_CHARS, completed
from indexer.parse.document import Document, Heading, line_starts
from indexer.records import ChunkRow

SENTENCES = [f"The lantern of keeper number {n} hung in the barn\nby the western gate of the yard." for n in range(80)]


def rows(document: Document, size: int = 60, overlap: int = 10) -> list[ChunkRow]:
    def offsets(text: str) -> list[tuple[int, int]]:
        return [(word.start(), word.end()) for word in re.finditer(r"\w+|[^\w\s]", text)]

    return [
        ChunkRow(n, n, c.text, c.start, c.end, c.start_line, c.end_line, c.page, c.heading, b"", b"", c.context)
        for n, c in enumerate(chunk(document, offsets, size, overlap))
    ]


def around(chunks: list[ChunkRow], first: int, last: int) -> tuple[ChunkRow | None, ChunkRow | None]:
    return (chunks[first - 1] if first else None), (chunks[last + 1] if last + 1 < len(chunks) else None)


@pytest.mark.parametrize("overlap", [0, 10])
def test_a_passage_is_a_piece_of_the_text_with_the_lines_it_has_there(overlap: int) -> None:
    text = " ".join(SENTENCES)
    chunks = rows(Document(text, None, "text", has_lines=True), overlap=overlap)
    chance = random.Random(7)
    for first in range(len(chunks)):
        last = min(len(chunks) - 1, first + chance.randrange(3))
        group = chunks[first : last + 1]
        passage = completed(group, *around(chunks, first, last))
        plain = re.sub(r"\s+", " ", text)
        assert re.sub(r"\s+", " ", passage.text) in plain
        whole = group[-1].end - group[0].start
        assert min(whole, PASSAGE_CHARS) - 2 * len(group) <= len(passage.text) <= max(whole, PASSAGE_CHARS)
        assert passage.start_line is not None
        assert passage.end_line is not None
        lines = "\n".join(text.split("\n")[passage.start_line - 1 : passage.end_line])
        assert re.sub(r"\s+", " ", passage.text) in re.sub(r"\s+", " ", lines)
        assert passage.end_line - passage.start_line <= passage.text.count("\n") + 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("indent", ["    ", "\t"])
def test_blank_lines_and_indents_between_chunks_are_the_files(end: str, indent: str) -> None:
    blocks = [f"def fire_{n}(heat):{end}{indent}heat += {n}{end}{indent}return heat" for n in range(40)]
    text = (end * 3 + indent).join(blocks)
    for kind in ("code", "text"):
        chunks = rows(Document(text, None, kind, has_lines=True), overlap=0)
        assert len(chunks) > 5
        for first in range(len(chunks) - 1):
            passage = completed(chunks[first : first + 2], *around(chunks, first, first + 1))
            before = text[: text.index(passage.text)]
            assert passage.start_line == len(line_starts(before))
            assert passage.end_line == len(line_starts(before + passage.text))


def test_letters_that_nothing_stands_between_stay_together() -> None:
    text = "図書館は毎日九時に開きます。" * 200
    chunks = rows(Document(text, None, "text", has_lines=True), size=8, overlap=0)
    assert chunks[3].end == chunks[4].start
    assert completed(chunks[3:5], chunks[2], chunks[5]).text in text


def test_whole_sentences_are_added_on_both_sides() -> None:
    chunks = rows(Document(" ".join(SENTENCES), None, "text", has_lines=True), size=200, overlap=30)
    passage = completed(chunks[2:3], chunks[1], chunks[3])
    assert PASSAGE_CHARS - 200 < len(passage.text) <= PASSAGE_CHARS
    assert passage.text.startswith("The lantern")
    assert passage.text.endswith("yard.")
    before, after = passage.text.split(chunks[2].text)
    assert abs(len(before) - len(after)) < 250


def test_what_one_side_does_not_need_is_the_other_sides() -> None:
    chunks = rows(Document(" ".join(SENTENCES), None, "text", has_lines=True), size=200, overlap=30)
    for passage in (completed(chunks[:1], None, chunks[1]), completed(chunks[-1:], chunks[-2], None)):
        assert PASSAGE_CHARS - 100 < len(passage.text) <= PASSAGE_CHARS


def test_another_section_or_page_is_no_part_of_a_passage() -> None:
    parts = ["# One\n\n" + " ".join(SENTENCES[:5]), "# Two\n\n" + " ".join(SENTENCES[5:10])]
    text = "\n\n".join(parts)
    headings = (Heading(0, 1, "One"), Heading(text.index("# Two"), 1, "Two"))
    chunks = rows(Document(text, None, "markdown", headings, has_lines=True), size=120)
    assert [one.heading for one in chunks] == ["One", "Two"]
    assert completed(chunks[:1], None, chunks[1]).text == chunks[0].text
    pages = rows(Document(text, None, "pdf", (), (0, text.index("# Two"))), size=120)
    assert {one.page for one in pages} == {1, 2}
    for n, one in enumerate(pages):
        passage = completed([one], *around(pages, n, n))
        assert all(other.text not in passage.text for other in pages if other.page != one.page)
        assert (passage.start_line, passage.end_line) == (None, None)


def test_a_text_without_an_end_of_sentence_or_line_is_left_as_it_is() -> None:
    chunks = rows(Document("word " * 2000, None, "text", has_lines=True), size=180)
    assert completed(chunks[3:4], chunks[2], chunks[4]).text == chunks[3].text
