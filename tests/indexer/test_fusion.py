import pytest

from indexer.fusion import FUSED, fuse

WEIGHT = 0.35


def test_each_side_is_spread_over_its_own_range_and_weighed() -> None:
    fused = fuse([(1, 0.9), (2, 0.7), (3, 0.5)], [(2, 12.0), (4, 6.0), (5, 4.0)], WEIGHT)
    assert fused == pytest.approx({1: 0.35, 2: 0.35 * 0.5 + 0.65, 3: 0, 4: 0.65 / 2, 5: 0.65 / 3})


def test_the_last_of_a_full_list_counts_nothing() -> None:
    fused = fuse([], [(n, 200.0 - n) for n in range(FUSED)], WEIGHT)
    assert (fused[0], fused[FUSED - 1]) == (0.65, 0)


def test_the_first_hits_are_the_same_however_many_were_asked_for() -> None:
    dense = [(n, 1 - n / 1000) for n in range(4 * FUSED)]
    lexical = [(7 * n % 997, 30 - n / 20) for n in range(4 * FUSED)]
    few, many = fuse(dense[:FUSED], lexical[:FUSED], WEIGHT), fuse(dense, lexical, WEIGHT)
    assert sorted(few, key=lambda id_: -few[id_])[:50] == sorted(many, key=lambda id_: -many[id_])[:50]
    beyond = [many[n] for n in range(FUSED, 4 * FUSED) if n not in dict(lexical)]
    assert beyond == sorted(beyond, reverse=True)
    assert max(beyond) < 0


def test_a_chunk_that_alone_has_the_word_gets_all_of_the_lexical_side() -> None:
    fused = fuse([(n, 1 - n / 100) for n in range(50)], [(99, 3.0)], WEIGHT)
    assert max(fused, key=lambda id_: fused[id_]) == 99


def test_the_weaker_of_two_that_have_the_words_keeps_its_share() -> None:
    assert fuse([], [(1, 3.0), (2, 1.5)], WEIGHT) == pytest.approx({1: 0.65, 2: 0.325})


def test_a_side_that_found_nothing_takes_no_part() -> None:
    assert fuse([], [(1, 3.0)], WEIGHT) == {1: 0.65}
    assert fuse([], [], WEIGHT) == {}


def test_equal_scores_are_no_division_by_zero() -> None:
    assert fuse([(1, 0.4), (2, 0.4)], [], WEIGHT) == {1: 0.35, 2: 0.35}
    alike = fuse([], [*((n, 3.0) for n in range(FUSED)), (FUSED, 2.0)], WEIGHT)
    assert alike[FUSED - 1] == 0.65
    assert alike[FUSED] < 0
