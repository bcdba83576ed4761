"""The plan's sums, where they can be checked by hand."""

import pytest

from benchmarks.plan import plan, wanted


def test_twice_the_questions_take_twice_the_workers_where_they_are_full() -> None:
    few, many = (plan(wanted([f"qps={qps}", "half_at=0", "slots=8", "first_s=5"])) for qps in (8, 16))
    assert few["tokens_per_s"] == 2400
    assert few["workers"] in (8, 9)  # 320 tokens a second each
    assert many["workers"] / few["workers"] == pytest.approx(2, abs=0.2)
    assert few["first_word_p95_s"] <= 5


def test_what_costs_nothing_grows_nothing() -> None:
    small = plan(wanted(["qps=0.1", "chunks=0"]))
    assert (small["workers"], small["bridges"], small["disk_gb"], small["month"]) == (1, 1, 0, 0)
    assert plan(wanted(["qps=0.1", "hour=2"]))["month"] == 1460


def test_more_chunks_take_more_of_the_bridge() -> None:
    assert plan(wanted(["chunks=2000000"]))["bridge_processors_busy"] > plan(wanted([]))["bridge_processors_busy"]


@pytest.mark.parametrize("word", ["qps", "qps=x", "qps=-1", "many=1"])
def test_a_word_that_is_none_is_told_with_those_that_are(word: str) -> None:
    with pytest.raises(SystemExit, match=r"expected as NAME=NUMBER, of chunks, qps, .*; not"):
        wanted([word])


def test_an_impossible_wish_is_told() -> None:
    with pytest.raises(SystemExit, match="no number of workers"):
        plan(wanted(["first_s=0.001"]))
