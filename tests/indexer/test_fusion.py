import pytest

from indexer.fusion import fuse


def test_each_side_is_spread_over_its_own_range_and_weighed() -> None:
    fused = fuse([(1, 0.9), (2, 0.7), (3, 0.5)], [(2, 12.0), (4, 6.0), (5, 4.0)], depth=3, dense_weight=0.35)
    assert fused == pytest.approx({1: 0.35, 2: 0.35 * 0.5 + 0.65, 3: 0, 4: 0.65 / 4, 5: 0})


def test_a_chunk_that_alone_has_the_word_gets_all_of_the_lexical_side() -> None:
    fused = fuse([(n, 1 - n / 100) for n in range(50)], [(99, 3.0)], depth=100, dense_weight=0.35)
    assert max(fused, key=lambda id_: fused[id_]) == 99


def test_the_weaker_of_two_that_have_the_words_keeps_its_share() -> None:
    assert fuse([], [(1, 3.0), (2, 1.5)], depth=100, dense_weight=0.35) == pytest.approx({1: 0.65, 2: 0.325})


def test_a_side_that_found_nothing_takes_no_part() -> None:
    assert fuse([], [(1, 3.0)], depth=100, dense_weight=0.35) == {1: 0.65}
    assert fuse([], [], depth=100, dense_weight=0.35) == {}


def test_equal_scores_are_no_division_by_zero() -> None:
    assert fuse([(1, 0.4), (2, 0.4)], [], depth=2, dense_weight=0.35) == {1: 0.35, 2: 0.35}
