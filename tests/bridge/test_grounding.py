import pytest

from bridge.grounding import citations, grounded
from bridge.service import Citation
from indexer.hits import Hit

TEXT = "The kiln cools for twelve hours.\nThen open it."
KILN = Hit("/d/kiln.md", "file:///d/kiln.md", 1.0, TEXT, 3, 4, None, "Kiln")
LOOM = Hit("/d/loom.pdf", "file:///d/loom.pdf", 0.5, "The loom has eight shafts. " * 20, page=7)
HITS = (KILN, LOOM)


def test_each_cited_passage_is_one_citation_in_the_order_of_first_mention() -> None:
    said = "The loom has eight shafts. [2]\n\nThe kiln cools for twelve hours. [1] Then open it. [1][2]"
    assert citations(said, HITS) == (
        Citation(2, "/d/loom.pdf", "file:///d/loom.pdf", "The loom has eight shafts.", page=7),
        Citation(1, "/d/kiln.md", "file:///d/kiln.md", "The kiln cools for twelve hours.", "Kiln", 3, 4),
    )


def test_the_quote_is_verbatim_from_the_passage_also_where_the_sentence_is_not() -> None:
    (quoted,) = citations("Shafts: eight of them [2].", HITS)
    assert quoted.quote
    assert LOOM.text.startswith(quoted.quote)
    assert len(quoted.quote) < len(LOOM.text)


@pytest.mark.parametrize("said", ["", "No marker at all.", "Beyond what was given [3].", "Counted from nought [0]."])
def test_what_cites_no_passage_that_was_given_has_no_citation(said: str) -> None:
    assert citations(said, HITS) == ()


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("The kiln cools for twelve hours. [1]", True),
        ("The kiln cools for twelve hours. [1]\n\nThe loom has eight shafts. [2]", True),
        ("The kiln cools for twelve hours. [1]\n", True),
        ("The kiln cools for twelve hours. [2]", None),
        ("The kiln cools for twelve hours. [1][2]", True),
        ("It cools for half a day [1].", None),
        ("The kiln cools for twelve hours. [1] And it is blue.", None),
        ("The documents do not say.", None),
        ("", None),
        ("[1]", None),
        ("The kiln cools for twelve hours. [3]", False),
        ("The kiln cools for twelve hours. [1] It is blue. [0]", False),
    ],
)
def test_only_words_that_stand_in_their_passage_are_grounded_and_only_passages_never_given_are_not(
    said: str, verdict: bool | None
) -> None:
    assert grounded(said, HITS) is verdict
