"""When a measure is worse than before, and when nobody can tell."""

import pytest

from bridge.comparing import compared, is_worse, most_lost

BEFORE = {"found": {str(n): 1.0 for n in range(20)}}


def now(*lost: int, by: float = 1.0) -> dict[str, dict[str, float]]:
    return {"found": {str(n): 1.0 - by * (n in lost) for n in range(20)}}


def test_nothing_changed_is_no_change() -> None:
    one = compared(now(), BEFORE)["found"]
    assert (one.verdict, one.difference.mean, one.difference.low, one.difference.high) == ("no change", 0, 0, 0)
    assert not is_worse({"found": one})


def test_a_question_or_two_of_twenty_can_be_chance_and_five_cannot() -> None:
    assert compared(now(3, 4), BEFORE)["found"].verdict == "no change"
    worse = compared(now(*range(5)), BEFORE)
    assert worse["found"].verdict == "worse" and is_worse(worse)
    assert worse["found"].difference.mean == pytest.approx(-0.25)
    assert compared(BEFORE, now(*range(5)))["found"].verdict == "better"


def test_only_questions_and_measures_that_both_have_are_compared() -> None:
    fewer = {"found": {"1": 1.0, "30": 0.0}, "kept": {"1": 0.0}}
    found = compared(fewer, BEFORE)
    assert list(found) == ["found"]
    assert (found["found"].questions, found["found"].verdict) == (1, "no change")
    assert compared({"found": {"30": 1.0}}, BEFORE) == {}


def test_of_a_few_questions_no_verdict_is_given() -> None:
    few = {"found": {str(n): 0.0 for n in range(4)}}
    assert compared(few, BEFORE)["found"].verdict == "too few questions"


def test_what_was_written_and_read_again_has_not_changed() -> None:
    third = {"found": {str(n): 1 / 3 + 1e-12 for n in range(20)}}
    assert compared({"found": {str(n): 1 / 3 for n in range(20)}}, third)["found"].verdict == "no change"


def test_questions_that_lost_most_come_first() -> None:
    later = {"found": {"1": 0.0, "2": 0.5, "3": 1.0}, "first": {"1": 1.0, "2": 0.1, "3": 1.0}}
    before = {"found": {"1": 0.9, "2": 1.0, "3": 1.0}, "first": {"1": 0.5, "2": 1.0, "3": 0.5}}
    measures = compared(later, before)
    assert (measures["found"].lost, measures["first"].lost) == (("1", "2"), ("2",))
    assert most_lost(measures, later, before) == ["2", "1"]
