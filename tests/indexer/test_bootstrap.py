"""The intervals, against cases whose answer is known."""

from math import sqrt

import numpy as np
import pytest

from indexer.bootstrap import difference, interval


def test_of_many_questions_the_interval_is_the_normal_one() -> None:
    scores = [1.0] * 700 + [0.0] * 300
    low, high = interval(scores)
    half = 1.96 * sqrt(0.7 * 0.3 / 1_000)
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.004)


def test_the_interval_holds_the_true_mean_about_95_times_of_100() -> None:
    draws = np.random.default_rng(1)
    samples = draws.beta(2, 3, (200, 80))  # its mean is 0.4
    held = sum(low <= 0.4 <= high for low, high in map(interval, samples.tolist()))
    assert 180 <= held <= 198


def test_the_same_scores_give_the_same_interval_and_alike_ones_a_point() -> None:
    scores = [0.2, 0.9, 0.4, 0.6]
    assert interval(scores) == interval(scores)
    assert interval([0.5] * 9) == interval([0.5]) == (0.5, 0.5)
    assert interval([]) == (0, 0)


def test_two_equal_runs_differ_by_nothing_for_certain() -> None:
    scores = [0.1, 0.7, 1.0, 0.3] * 20
    found = difference(scores, scores)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert (found.wins, found.losses, found.ties) == (0, 0, 80)


def test_a_small_difference_on_every_question_is_found_where_the_questions_differ_far_more() -> None:
    draws = np.random.default_rng(2)
    before = draws.uniform(0, 1, 200)
    now = before + draws.normal(0.03, 0.05, 200)
    found = difference(now.tolist(), before.tolist())
    assert 0 < found.low < found.mean < found.high < 0.05
    apart = [interval(scores.tolist()) for scores in (now, before)]
    assert apart[0][0] < apart[1][1]  # not paired, nobody could tell
    back = difference(before.tolist(), now.tolist())
    assert (back.wins, back.losses) == (found.losses, found.wins)
    assert back.mean == pytest.approx(-found.mean)


def test_more_losses_than_wins_can_be_no_difference() -> None:
    found = difference([1.0, 0.0, 0.0, *[0.5] * 40], [0.0, 0.5, 0.5, *[0.5] * 40])
    assert (found.wins, found.losses, found.ties, found.mean) == (1, 2, 40, 0)
    assert found.low < 0 < found.high


def test_scores_of_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        difference([1.0, 0.0], [1.0])
