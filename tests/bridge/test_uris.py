from pathlib import Path

import pytest

from bridge.service import BadInput, Citation
from bridge.uris import At, document_uri, passage_uri, read_place, read_uri, text_type
from indexer.hits import Hit

NAMES = [
    "a b.md",
    "100 %.md",
    "what? #1.md",
    "Käse・チーズ.md",
    "a%20b.md",
    "e\u0301.md",
    "[x]&y=+;.md",
    "\\n",
    "a\nb",
    " ",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_file_comes_back_out_of_its_uri(name: str) -> None:
    path = f"/notes/{name}"
    assert document_uri(path) == Path(path).as_uri()
    assert read_uri(document_uri(path)) == (path, None)
    assert read_uri(f"{document_uri(path)}#L3-L9") == (path, At("line", 3, 9))


@pytest.mark.parametrize("place", ["L1", "L10-L20", "page=3", "char=0", "char=1200,1650"])
def test_a_place_is_written_as_it_is_read(place: str) -> None:
    assert str(read_place(place)) == place


def test_lines_are_also_read_as_others_write_them() -> None:
    assert read_place("L10-20") == At("line", 10, 20)
    assert read_uri("FILE://localhost/a.md#page%3D3") == ("/a.md", At("page", 3))


@pytest.mark.parametrize("place", ["", "L0", "L9-L3", "page=0", "char=9,3", "L", "L1-", "intro", "L" + "9" * 30, "L٣"])
def test_what_is_no_place_is_refused_with_what_would_be_one(place: str) -> None:
    with pytest.raises(BadInput, match="expected a place like #L10-L20, #page=3 or #char=1200,1650"):
        read_place(place)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "notes.md",
        "file:notes.md",
        "file://server/notes.md",
        "http://localhost/notes.md",
        "file:",
        "\ud800",
        "x" * 20_000,
    ],
)
def test_what_is_no_documents_uri_is_refused_with_what_would_be_one(uri: str) -> None:
    with pytest.raises(BadInput, match="expected a document's or passage's URI"):
        read_uri(uri)


def test_escapes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(BadInput, match="escapes are UTF-8"):
        read_uri("file:///%ff")


def test_a_passage_is_named_by_its_page_its_lines_or_its_characters() -> None:
    hit = Hit("/a.md", "file:///a.md", 1, "t", 3, 9, span=(5, 70))
    assert passage_uri(hit) == "file:///a.md#L3-L9"
    assert passage_uri(Hit("/a.pdf", "", 1, "t", page=7, span=(5, 70))) == "file:///a.pdf#page=7"
    assert passage_uri(Hit("/a.docx", "", 1, "t", span=(5, 70))) == "file:///a.docx#char=5,70"
    assert passage_uri(Citation(1, "/a.md", "", "t", start_line=3, end_line=3)) == "file:///a.md#L3-L3"
    assert passage_uri(Citation(1, "/a.docx", "", "t")) == "file:///a.docx"


def test_a_text_that_was_taken_out_of_a_file_is_plain() -> None:
    assert [text_type(f"/a{end}") for end in (".md", ".py", ".pdf", ".html", ".ts", ".docx", "")] == [
        "text/markdown",
        "text/x-python",
        *["text/plain"] * 5,
    ]
