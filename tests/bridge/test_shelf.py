"""Documents are read as they stand in the index: every format in parts that make the whole, within any budget."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridge.citing import excerpt_text
from bridge.excerpt import shown_tokens
from bridge.service import BadInput, Excerpt, NotFound
from bridge.shelf import excerpt, readable
from bridge.uris import document_uri
from indexer.catalog import Catalog
from indexer.chunk import chunk
from indexer.hits import Freshness
from indexer.parse import parse
from indexer.records import ChunkRow, Record, Stat, chunk_id, vector_key
from tests.indexer.test_parse_pdf import pdf

ROOMS = [
    [(72, 700 - 20 * line, f"Clause {line} of the lease of room {room} ends in May.") for line in range(12)]
    for room in range(1, 8)
]
STAT = Stat(10, 1_762_189_331 * 10**9, 0, 1)
MARKDOWN = "# Kiln\n\n" + "\n\n\n".join(
    f"## Part {n}\n\nKiln {n} cools for {n} hours, slowly. Käse „{n}“." for n in range(90)
)
FILES = {
    "kiln.md": MARKDOWN,
    "windows.txt": MARKDOWN.replace("\n", "\r\n"),
    "old mac.txt": MARKDOWN.replace("\n", "\r"),
    "code.py": "".join(f"class C{n}:\n    def f(self):\n\n        return {n}\n\n\n" for n in range(120)),
    "one line.txt": "word " * 4_000,
    "unbroken.txt": "é" * 9_000,
    "loom.html": "<h1>Loom</h1>" + "".join(f"<p>Loom {n} has eight shafts.</p>" for n in range(300)),
    "lease.pdf": pdf(*ROOMS),
}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path_factory.mktemp("catalog") / "catalog.sqlite3")
    catalog.record([_record(f"/docs/{name}", text) for name, text in FILES.items()], 0)
    empty = Record("/docs/empty.md", STAT, "ab", None, (), 0)
    broken = Record("/docs/broken.pdf", STAT, "ab", None, (), 0, reason="it is encrypted", failed=True)
    catalog.record([empty, broken], 0)
    yield catalog
    catalog.close()


def _record(path: str, content: str | bytes) -> Record:
    document = parse(Path(path), content if isinstance(content, bytes) else content.encode())
    rows = [
        ChunkRow(
            chunk_id(path, one.text, ordinal),
            ordinal,
            *(one.text, one.start, one.end, one.start_line, one.end_line, one.page, one.heading, b""),
            vector_key(one.text),
        )
        for ordinal, one in enumerate(chunk(document, _words, 60, 10))
    ]
    return Record(path, STAT, "ab", None, rows, 0)


def _words(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(r"\w{1,20}|[^\w\s]", text)]


def read(catalog: Catalog, uri: str, around: str | None = None, max_tokens: int = 300, whole: bool = False) -> Excerpt:
    return excerpt(catalog, uri, around, max_tokens, whole, Freshness("2025", 0))


def at(name: str, place: str = "") -> str:
    return document_uri(f"/docs/{name}") + (f"#{place}" if place else "")


def parts(catalog: Catalog, name: str, max_tokens: int) -> Iterator[Excerpt]:
    uri = at(name)
    while uri:
        part = read(catalog, uri, max_tokens=max_tokens)
        yield part
        uri = part.next


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("max_tokens", [20, 300, 5_000])
def test_a_document_read_on_to_its_end_is_the_document_and_each_part_fits(
    catalog: Catalog, name: str, max_tokens: int
) -> None:
    read_on = list(parts(catalog, name, max_tokens))
    content = FILES[name]
    text = parse(Path(name), content if isinstance(content, bytes) else content.encode()).text
    assert "".join("".join(part.text for part in read_on).split()) == "".join(text.split())
    assert all(shown_tokens(part.text) <= max_tokens for part in read_on)
    assert len({part.uri for part in read_on}) == len(read_on)
    assert [read(catalog, part.uri, max_tokens=10_000, whole=True).text for part in read_on[:20]] == [
        part.text for part in read_on[:20]
    ]


@pytest.mark.parametrize("name", ["kiln.md", "windows.txt", "old mac.txt", "code.py"])
def test_the_lines_that_an_excerpt_names_are_the_files_lines(catalog: Catalog, name: str) -> None:
    lines = re.split(r"\r\n|\r|\n", str(FILES[name]))
    for part in parts(catalog, name, 200):
        assert part.start_line and part.end_line
        there = re.split(r"\r\n|\r|\n", part.text)
        assert [line.strip() for line in there] == [line.strip() for line in lines[part.start_line - 1 : part.end_line]]
        assert part.uri == at(name, f"L{part.start_line}-L{part.end_line}") or not part.next


def test_indentation_stays_where_a_part_begins_with_it(catalog: Catalog) -> None:
    assert read(catalog, at("code.py", "L2-L4"), whole=True).text == "    def f(self):\n\n        return 0"


def test_a_passage_is_read_with_what_stands_on_both_sides_of_it(catalog: Catalog) -> None:
    part = read(catalog, at("kiln.md", "L203-L203"), max_tokens=200)
    assert part.start_line and part.end_line
    assert part.start_line < 200
    assert part.end_line > 206
    assert read(catalog, at("kiln.md"), "203", 200) == part
    assert read(catalog, at("kiln.md", "L203-L203"), whole=True).text == MARKDOWN.splitlines()[202]


@pytest.mark.parametrize("name", ["kiln.md", "loom.html"])
def test_words_are_found_wherever_they_stand(catalog: Catalog, name: str) -> None:
    wanted = "kiln 77 COOLS\nfor" if name == "kiln.md" else "loom 277 HAS"
    assert " ".join(wanted.split()).lower() in read(catalog, at(name), wanted, 60).text.lower()
    heading = read(catalog, at("kiln.md"), "Kiln > Part 40", 60)
    assert "## Part 40\n" in heading.text


def test_pages_are_told_apart_and_named(catalog: Catalog) -> None:
    part = read(catalog, at("lease.pdf", "page=3"), max_tokens=400)
    assert "room 3" in part.text
    assert part.page == 3
    assert part.last_page
    assert part.text.count("\f") == part.last_page - part.page
    assert f"pages 3-{part.last_page}" in excerpt_text(part)
    one = read(catalog, at("lease.pdf", "page=3"), whole=True)
    assert (one.page, one.last_page, "\f" in one.text, "room 4" in one.text) == (3, 3, False, False)
    assert read(catalog, at("lease.pdf"), "3", 400).text == part.text


def test_a_part_is_read_by_path_too_and_a_mark_in_a_name_is_no_place(catalog: Catalog) -> None:
    catalog.record([_record("/docs/a#L2.md", "one\ntwo\n")], 0)
    assert read(catalog, "/docs/a#L2.md").text == "one\ntwo"
    assert read(catalog, "/docs/a#L2.md#L2").text == "two"
    assert read(catalog, "/docs/kiln.md#L5-L5", whole=True).text == MARKDOWN.splitlines()[4]


def test_a_document_without_text_is_told_to_have_none(catalog: Catalog) -> None:
    empty = read(catalog, at("empty.md"))
    assert (empty.text, empty.next, empty.uri) == ("", None, at("empty.md"))
    assert "(It has no text.)" in excerpt_text(empty)


@pytest.mark.parametrize(
    ("uri", "around", "told"),
    [
        ("file:///etc/passwd", None, "call `search`"),
        ("/docs/../docs/kiln.md", None, "call `search`"),
        ("//docs/kiln.md", None, "call `search`"),
        ("/docs/kiln.md\0", None, "call `search`"),
        ("/docs/KILN.md", None, "call `search`"),
        ("/docs/\ud800.md", None, "call `search`"),
        ("/docs", None, "call `search`"),
        (at("broken.pdf"), None, "could not be read when it was to be indexed: it is encrypted"),
        (at("kiln.md", "L999"), None, "ends at line 450"),
        (at("loom.html", "L3"), None, "has no lines"),
        (at("kiln.md", "page=3"), None, "has no pages"),
        (at("lease.pdf", "page=99"), None, "has no page 99: its text ends on page 7"),
        (at("loom.html", "char=999999"), None, "ends at character"),
        (at("kiln.md"), "nobody's words", "does not stand in /docs/kiln.md"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(
    catalog: Catalog, uri: str, around: str | None, told: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(told)):
        read(catalog, uri, around)


def test_what_is_too_long_to_be_given_whole_names_its_first_part(catalog: Catalog) -> None:
    with pytest.raises(BadInput, match="longer than the 200 tokens") as refused:
        read(catalog, at("kiln.md"), max_tokens=200, whole=True)
    first = str(refused.value).rpartition(" ")[2]
    assert MARKDOWN.startswith(read(catalog, first, max_tokens=200, whole=True).text)


def test_documents_are_listed_by_path_without_those_that_cannot_be_read(catalog: Catalog) -> None:
    paths = sorted(f"/docs/{name}" for name in (*FILES, "empty.md", "a#L2.md"))
    catalog.record([_record("/docs/a#L2.md", "one\ntwo\n")], 0)
    assert [one.path for one in readable(catalog, "", 100, "", "")] == paths
    assert [one.path for one in readable(catalog, paths[2], 3, "", "")] == paths[3:6]
    assert [one.path for one in readable(catalog, "", 9, "/docs/l", "")] == ["/docs/lease.pdf", "/docs/loom.html"]
    assert [one.path for one in readable(catalog, "", 9, "", "LOOM")] == ["/docs/loom.html"]
    assert [one.path for one in readable(catalog, "", 9, "", "%")] == []
    assert list(readable(catalog, "", 9, "\ud800", "")) == []
    assert [list(readable(catalog, "", 9, "", letter * 60_000)) for letter in "%a\U0001f525"] == [[], [], []]
    with pytest.raises(NotFound):
        read(catalog, "/docs/%")
    assert msgspec.json.encode(readable(catalog, "", 1, "", ""))
