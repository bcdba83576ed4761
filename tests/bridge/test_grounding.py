"""What an answer cites, what it quotes, and whether its sentences stand on what they cite."""

import pytest

from bridge.grounding import QUOTE_CHARS, THRESHOLD, checked
from bridge.service import Citation
from indexer.hits import Hit

TEXT = "The kiln cools for twelve hours.\nThen open it."
KILN = Hit("/d/kiln.md", "file:///d/kiln.md", 1.0, TEXT, 3, 4, None, "Kiln")
LOOM = Hit("/d/loom.pdf", "file:///d/loom.pdf", 0.5, "The loom has eight shafts. " * 20, page=7)
GLAZE = Hit(
    "/d/glaze.md",
    "file:///d/glaze.md",
    0.4,
    "Celadon needs a reducing fire. It melts at 1,280 °C, which Marta Lind measured in Ystad in 2014. "
    "It does not craze on porcelain. Run `fire --cone 10` and wait.",
)
HITS = (KILN, LOOM, GLAZE)
FIRE = "Celadon needs a reducing fire."


def test_each_cited_passage_is_one_citation_in_the_order_of_first_mention() -> None:
    said = "The loom has eight shafts. [2]\n\nThe kiln cools for twelve hours. [1] Then open it. [1][2]"
    assert checked(said, HITS).citations == (
        Citation(2, "/d/loom.pdf", "file:///d/loom.pdf", "The loom has eight shafts.", page=7),
        Citation(1, "/d/kiln.md", "file:///d/kiln.md", "The kiln cools for twelve hours.", "Kiln", 3, 4),
    )


@pytest.mark.parametrize(
    ("said", "quoted"),
    [
        (
            "In Ystad it was found to melt at 1280 °C [3].",
            "It melts at 1,280 °C, which Marta Lind measured in Ystad in 2014.",
        ),
        ("On porcelain there is no crazing [3].", "It does not craze on porcelain."),
        ("Shafts: eight of them [2].", "The loom has eight shafts."),
    ],
)
def test_the_quote_is_the_sentence_that_supports_best_wherever_it_stands(said: str, quoted: str) -> None:
    (citation,) = checked(said, HITS).citations
    assert citation.quote == quoted


@pytest.mark.parametrize(
    "text", ["word " * 400, "x" * 2_000, "東京の人口は" * 100, "a\nb\n" * 300, " \n\n ", "One. " * 99, TEXT]
)
@pytest.mark.parametrize("said", ["Some other word [1].", "東京 [1]", "[1]", "word " * 100 + "[1]"])
def test_a_quote_is_verbatim_and_short_whatever_the_passage(text: str, said: str) -> None:
    (citation,) = checked(said, [Hit("/a", "file:///a", 1.0, text)]).citations
    assert citation.quote in text
    assert len(citation.quote) <= QUOTE_CHARS
    assert citation.quote or not text.strip()


@pytest.mark.parametrize(
    ("said", "numbers"),
    [
        ("It cools. [1][2]", (1, 2)),
        ("It cools [1, 2].", (1, 2)),
        ("It cools [1-3].", (1, 2, 3)),
        ("It cools [1–3]。", (1, 2, 3)),
        ("It cools【1】.", (1,)),
        ("It cools 【2†kiln.md】.", (2,)),
        ("It cools ［3］.", (3,)),
        ("It cools [passage 1] and opens [Passages 2 and 3].", (1, 2, 3)),
        ("It cools [^1].", (1,)),
        ("It cools [1][1].", (1,)),
    ],
)
def test_markers_are_read_as_models_write_them(said: str, numbers: tuple[int, ...]) -> None:
    (claim,) = checked(said, HITS).claims
    assert claim.numbers == numbers
    assert "[" not in claim.text and "【" not in claim.text


@pytest.mark.parametrize(
    "said",
    ["", "No marker at all.", "Beyond what was given [4].", "From nought [0].", "`x[1]` is it.", "[1](http://a)"],
)
def test_what_cites_no_passage_that_was_given_has_no_citation(said: str) -> None:
    assert checked(said, HITS).citations == ()


@pytest.mark.parametrize(
    "said",
    [
        "The kiln cools for twelve hours. [1]",
        "The kiln cools for twelve hours. [1]\n\nThe loom has eight shafts. [2]",
        "The kiln cools for twelve hours.\nThen open it. [1]\n",
        "The kiln cools for twelve hours. [1][2]",
        "The kiln cools for 12 hours [1], then you open it [1].",
        "For twelve hours the **kiln** cools. Then open it [1].",
        "Here is what the documents say:\n\n- the kiln cools for twelve hours [1]\n- the loom has eight shafts [2]",
        "# Cooling\n\nThe kiln cools for twelve hours [1].\n\nLet me know if you need more!",
        "Celadon, according to Marta Lind in 2014, melts at 1280 °C [3].",
        "According to the passage, celadon needs a reducing fire [3].",
        "It does not craze on porcelain [3]. The documents do not say why.",
        "Run this [3]:\n\n```\nfire --cone 10\n```",
        "| Part | Number |\n|---|---|\n| shafts of the loom | eight [2] |",
        "The kiln cools for twelve hours [1].\n\nSources:\n[1] kiln.md\n[2] nothing else",
        "Yes [1]. The kiln cools for twelve hours [1].",
    ],
)
def test_an_answer_whose_sentences_stand_in_what_they_cite_is_grounded(said: str) -> None:
    assert checked(said, HITS).grounded is True


@pytest.mark.parametrize(
    "said",
    [
        "The kiln cools for twelve hours. [2]",
        "It rests for half a day [1].",
        "The kiln cools for twelve hours. [1] And it is blue.",
        "The kiln cools for twelve hours. [4]",
        "The kiln cools for twelve hours. [1] It is blue. [0]",
        "The kiln cools for twelve hours.",
        "The kiln cools for thirteen hours [1].",
        "The kiln cools for twelve days [1].",
        "The kiln does not cool for twelve hours [1].",
        "It crazes on porcelain [3].",
        "Celadon needs salt and an oxidising fire [3].",
        "Celadon, which Marta Holm measured in Ystad, melts at 1,280 °C [3].",
        'It "always cracks" on porcelain [3].',
        "- the kiln cools for twelve hours [1]\n- the loom is made of oak [2]",
        "Run this [3]:\n\n```\nrm -rf / --force\n```",
        "Yes [1].",
        "The documents do not say who built it, but it was Marta Lind.",
    ],
)
def test_an_answer_is_not_grounded_where_one_sentence_is_uncited_unsupported_or_cites_what_was_never_given(
    said: str,
) -> None:
    assert checked(said, HITS).grounded is False


@pytest.mark.parametrize(
    "said",
    [
        "The documents do not say.",
        "The passages don't mention it.",
        "",
        " \n ",
        "[1]",
        "I cannot answer that from the documents.",
        "Die Dokumente sagen dazu nichts und nennen keine Zahl.",
        "文書には書かれていません。",
        "Which kiln do you mean?",
        "# Title",
        "```\n```",
    ],
)
def test_where_nothing_is_claimed_nothing_is_judged(said: str) -> None:
    assert checked(said, HITS).grounded is None


def test_a_sentence_may_stand_on_two_passages_together() -> None:
    said = "The kiln cools for twelve hours and the loom has eight shafts [1][2]."
    both = checked(said, HITS)
    assert both.grounded is True
    assert all(support < both.claims[0].support for support in both.supports)
    assert checked(said.replace("[2]", ""), HITS).grounded is False


def test_languages_without_spaces_are_judged_too() -> None:
    tokyo = (Hit("/t", "file:///t", 1.0, "東京の人口は千四百万人です。大阪より多い。雨は降らない。"),)
    assert checked("東京の人口は千四百万人です。[1]", tokyo).grounded is True
    assert checked("東京の人口は千四百万人です【1】。大阪より多い【1】。", tokyo).grounded is True
    assert checked("京都の寺は古い。[1]", tokyo).grounded is False


def test_each_citation_has_the_support_of_the_sentence_it_is_quoted_for() -> None:
    found = checked(f"{FIRE} [3] The loom is made of oak and iron [2].", HITS)
    assert [citation.n for citation in found.citations] == [3, 2]
    assert found.supports[0] == 1.0 and found.supports[1] < THRESHOLD
    assert [claim.text for claim in found.claims] == [FIRE, "The loom is made of oak and iron."]


@pytest.mark.parametrize(
    "said", ["-" * 50_000 + "x", ". " * 30_000, "[" * 50_000, "[1] " * 5_000, "1,111" * 20_000, "| " * 30_000]
)
def test_no_answer_takes_long(said: str) -> None:
    checked(said, HITS)
