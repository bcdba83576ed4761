"""The simulation against what is known: a queue's closed form, and sums that can be done in the head."""

import heapq
import random
from dataclasses import replace

import pytest

from benchmarks.model import Constants, Life, erlang_c, share, simulate

ALONE = Constants(word_s=1.0)  # a word takes a second; nothing else takes time


def test_one_worker_answers_one_after_another() -> None:
    told = simulate([(0.0, 10), (0.0, 10), (5.0, 10)], [Life(slots=1)], ALONE)
    assert [one.end_s for one in told.asked] == pytest.approx([10, 20, 30])
    assert [one.wait_s for one in told.asked] == pytest.approx([0, 10, 15])
    assert [one.first_s for one in told.asked] == pytest.approx([1, 11, 16])
    assert told.busy_s == pytest.approx(30)
    assert told.said(10, 20) == pytest.approx(1.0, rel=0.12)


def test_each_other_answer_slows_a_worker_down() -> None:
    crowded = Constants(word_s=1.0, crowd=0.5)
    # Alone for 4 s; then both at two thirds of the speed, until the first has said its 8 words.
    told = simulate([(0.0, 8), (4.0, 8)], [Life(slots=2)], crowded)
    assert [one.end_s for one in told.asked] == pytest.approx([10, 14])


def test_every_constant_costs_what_it_says() -> None:
    told = Constants(ask_s=1, busy_s=1, send_s=2, begin_s=3, word_s=1, tell_s=4, rest_s=5, away_s=0)
    first, second = simulate([(0.0, 10), (0.0, 10)], [Life(slots=1)], told).asked
    assert (first.wait_s, first.first_s, first.end_s) == pytest.approx((5, 11, 20))
    # It waits for the bridge, is in the queue at 4, and is taken when the slot has rested, at 21.
    assert (second.wait_s, second.end_s) == pytest.approx((22, 38))


def test_a_worker_that_is_looking_hears_nothing() -> None:
    # Its first call looks, for 2 s, is 1 s on its way, and is back after 1 s of silence and 1 s more: then again.
    told = Constants(word_s=1.0, away_s=2.0, look_every_s=1.0, listen_s=1.0)
    heard = [simulate([(at, 1)], [Life(slots=1)], told).asked[0].wait_s for at in (0.0, 3.5, 5.0)]
    assert heard == pytest.approx([3.0, 0.0, 3.0])


def test_a_full_queue_refuses() -> None:
    told = simulate([(0.0, 10)] * 5, [Life(slots=1)], ALONE, depth=3)
    assert [one.refused for one in told.asked] == [False, False, False, True, True]


def test_the_jobs_of_a_dead_worker_go_on_elsewhere_after_a_lease() -> None:
    lives = [Life(slots=1, dies_s=6.0), Life(slots=1, up_s=7.0)]
    (one,) = simulate([(0.0, 10)], lives, Constants(word_s=1.0, lease_s=15)).asked
    assert one.takeovers == 1
    assert one.end_s == pytest.approx(6 + 15 + 4, abs=0.1)  # four words were left


def test_a_worker_that_starts_late_takes_what_waits() -> None:
    (one,) = simulate([(0.0, 10)], [Life(slots=1, up_s=90.0)], ALONE).asked
    assert one.wait_s == pytest.approx(90)


PATIENT = replace(ALONE, listen_s=1e9)


@pytest.mark.parametrize("load", [0.5, 0.9, 1.2])
def test_without_a_network_each_waits_as_in_a_plain_queue(load: float) -> None:
    arrivals, free = coming(4 * load, 5_000), [0.0] * 4
    for asked, (at, words) in zip(simulate(arrivals, [Life(slots=1)] * 4, PATIENT).asked, arrivals, strict=True):
        begins = max(at, heapq.heappop(free))
        heapq.heappush(free, begins + words)
        assert asked.wait_s == pytest.approx(begins - at, abs=1e-6)


def test_as_many_wait_and_as_long_as_erlang_says() -> None:
    arrivals = coming(2.0, 20_000)
    waits = [one.wait_s for one in simulate(arrivals, [Life(slots=1)] * 4, PATIENT).asked]
    waiting = erlang_c(4, 2.0)
    assert sum(wait > 1e-9 for wait in waits) / len(waits) == pytest.approx(waiting, abs=0.02)
    assert sum(waits) / len(waits) == pytest.approx(waiting / (4 - 2.0), rel=0.15)


def coming(rate: float, jobs: int) -> list[tuple[float, float]]:
    chance, at = random.Random(7), 0.0
    found = list[tuple[float, float]]()
    for _ in range(jobs):
        at += chance.expovariate(rate)
        found.append((at, chance.expovariate(1.0)))
    return found


def test_erlang_c_is_as_tabulated() -> None:
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert erlang_c(10, 8.0) == pytest.approx(0.409, abs=0.001)
    assert erlang_c(2, 2.5) == 1.0


def test_a_share_of_values() -> None:
    assert share([3, 1, 2, 4], 0.5) == 2
    assert share([3, 1, 2, 4], 0.95) == 4
    assert share([], 0.5) == 0
