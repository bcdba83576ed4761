"""How far a sentence stands on a passage."""

import time

import pytest

from bridge.grounding import THRESHOLD
from bridge.support import support

PASSAGE = """\
Between 2009 and 2011 the Norrland mill tested three glues on 1,450 boards. The hide glue from Umeå held 38 kg,
while the casein glue from Kiruna held 52 kg after 6 weeks. Casein does not swell in water. "Dry slowly," wrote
Ada Berg. The version HX-2 of the press increased the yield by 12 %. The team did not find any cracks in boards of
less than 5 mm."""


@pytest.mark.parametrize(
    "sentence",
    [
        "Casein does not swell in water.",
        "casein   does not\nswell in **water**",
        "three glues on 1,450 boards",
        "“Dry slowly,” wrote Ada Berg.",
    ],
)
def test_what_stands_there_word_for_word_has_all_support(sentence: str) -> None:
    assert support(sentence, PASSAGE) == 1.0


@pytest.mark.parametrize(
    "sentence",
    [
        "The Norrland mill tested 3 glues between 2009 and 2011, on 1450 boards.",
        "After 6 weeks, casein glue from Kiruna held 52 kilograms.",
        "In water, casein never swells.",
        'Ada Berg wrote that one should "dry slowly".',
        "The HX-2 version of the press increased yields by 12 percent.",
        "No cracks were found in boards of less than 5 mm.",
    ],
)
def test_the_same_in_other_words_has_support_enough(sentence: str) -> None:
    assert THRESHOLD <= support(sentence, PASSAGE) < 1.0


@pytest.mark.parametrize(
    "sentence",
    [
        "Casein does swell in water.",
        "Casein swells in water.",
        "The hide glue from Umeå did not hold 38 kg.",
        "The casein glue from Kiruna held 53 kg after 6 weeks.",
        "The casein glue from Kiruna held 38 kg after 6 weeks.",
        "The casein glue from Kiruna held 52 g after 6 weeks.",
        "The casein glue from Luleå held 52 kg after 6 weeks.",
        "The casein glue from Umeå held 52 kg after 6 weeks.",
        "The version HX-3 of the press increased the yield by 12 %.",
        "The version HX-2 of the press decreased the yield by 12 %.",
        "The team did find cracks in boards of less than 5 mm.",
        "The team did not find any cracks in boards of more than 5 mm.",
        '"Dry quickly," wrote Ada Berg.',
        "Pine resin cures overnight.",
    ],
)
def test_one_wrong_number_unit_name_quotation_negation_or_opposite_takes_the_support_away(sentence: str) -> None:
    assert support(sentence, PASSAGE) < THRESHOLD


@pytest.mark.parametrize("sentence", ["", "?!", "and of the", "   "])
def test_words_that_mean_nothing_have_no_support(sentence: str) -> None:
    assert support(sentence, PASSAGE) == 0.0


def test_the_rest_of_a_sentence_that_says_no_is_not_its_meaning() -> None:
    assert support("find any cracks in boards", PASSAGE) < THRESHOLD


def test_the_end_of_a_number_or_word_is_not_the_number_or_word() -> None:
    assert support("450 boards", PASSAGE) < THRESHOLD


def test_three_million_is_a_number_too() -> None:
    assert support("It has 3,000,000 users today.", "Today it has some 3 million users.") >= THRESHOLD
    assert support("It has 3 billion users today.", "Today it has some 3 million users.") < THRESHOLD


def test_a_sentence_against_a_passage_that_was_read_takes_less_than_a_millisecond() -> None:
    sentences = [f"After {n} weeks the casein glue of board {n} held {n} kg in Kiruna." for n in range(300)]
    support(sentences[0], PASSAGE)
    start = time.process_time()
    for sentence in sentences:
        support(sentence, PASSAGE)
    assert time.process_time() - start < 0.001 * len(sentences)


MILL = "the old mill by the river tested hide glue, bone glue and fish glue on boards of pine and spruce"
BETWEEN = (
    "It was cold in those years, and few people had the patience that slow work with warm pots and brushes needs. " * 2
)


@pytest.mark.parametrize(
    ("sentence", "passage"),
    [
        (f"Near Vännäs {MILL}.", f"There {MILL}."),
        (f"Near Vännäs {MILL}.", f"Much timber came through Vännäs. {BETWEEN} There {MILL}."),
        ("Kiruna 40", "Rooms: Umeå 40, Kiruna 52."),
    ],
)
def test_a_name_or_number_that_is_not_there_or_of_something_else_takes_the_support_away(
    sentence: str, passage: str
) -> None:
    assert support(sentence, passage) < THRESHOLD
