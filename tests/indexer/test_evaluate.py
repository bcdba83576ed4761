from pathlib import Path

import pytest

from indexer.evaluate import (
    BadJudgements,
    Judged,
    Result,
    differences,
    intervals,
    load,
    load_run,
    metrics,
    passage_lines,
    rankings,
    run_lines,
    scores,
)


def results(*paths: str) -> dict[str, Result]:
    return {"q": Result([(path, 1.0 - n / 10) for n, path in enumerate(paths)], [("a", "text")])}


def test_the_right_file_on_top_is_perfect_and_further_down_is_less() -> None:
    judged = Judged({"q": "?"}, {"q": {"a": 1}})
    first, second, none = (metrics(judged, results(*r)) for r in (("a", "b"), ("b", "a"), ("b",)))
    assert first["nDCG@10"] == first["RR@10"] == 1
    assert second["nDCG@10"] == pytest.approx(0.6309, abs=1e-4)  # 1 / log2(3)
    assert second["RR@10"] == 0.5
    assert none["nDCG@10"] == none["R@100"] == 0


def test_a_judged_question_without_a_result_counts_zero() -> None:
    assert metrics(Judged({}, {"q": {"a": 1}, "r": {"b": 1}}), results("a"))["R@5"] == 0.5


def test_run_and_passage_lines_have_the_promised_form() -> None:
    assert run_lines(results("a b", "c")) == ["q\ta b\t1\t1.000000", "q\tc\t2\t0.900000"]
    assert passage_lines(results("a")) == ['{"id": "q", "passages": [{"path": "a", "text": "text"}]}']


def test_files_that_are_no_judgements_are_named(tmp_path: Path) -> None:
    (tmp_path / "q").write_text('{"id": "1", "text": "?"}\n')
    (tmp_path / "r").write_text("query\tpath\tgrade\n1\ta\n")
    with pytest.raises(BadJudgements, match="query-id<TAB>path<TAB>grade"):
        load(tmp_path / "q", tmp_path / "r")
    with pytest.raises(BadJudgements, match="missing"):
        load(tmp_path / "missing", tmp_path / "r")


def test_a_run_that_was_written_is_read_back_in_the_order_of_its_ranks(tmp_path: Path) -> None:
    run = tmp_path / "run.tsv"
    run.write_text("".join(f"{line}\n" for line in reversed(run_lines(results("a b", "c\u2028", "d")))), "utf-8")
    assert load_run(run) == {"q": ["a b", "c\u2028", "d"]} == rankings(results("a b", "c\u2028", "d"))


def test_a_file_that_is_no_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q\ta\tfirst\t1.0\n")
    with pytest.raises(BadJudgements, match="query-id<TAB>path<TAB>rank<TAB>score"):
        load_run(tmp_path / "run")
    with pytest.raises(BadJudgements, match="missing cannot be read"):
        load_run(tmp_path / "missing")


def test_runs_are_compared_question_by_question_and_one_that_an_earlier_run_lacks_counts_zero() -> None:
    judged = Judged({}, {"q": {"a": 1}, "r": {"a": 1}, "s": {"a": 1}})
    now, before = {"q": ["a"], "r": ["b", "a"], "s": ["a"]}, {"q": ["b", "a"], "r": ["a"]}
    found = differences(judged, now, before)["RR@10"]
    assert (found.wins, found.losses, found.ties) == (2, 1, 0)
    assert found.mean == pytest.approx((0.5 - 0.5 + 1) / 3)


def test_each_measure_has_its_interval_around_its_mean() -> None:
    judged = Judged({}, {f"q{n}": {"a": 1} for n in range(40)})
    scored = scores(judged, {f"q{n}": ["a", "b"] if n % 2 else ["b", "a"] for n in range(40)})
    low, high = intervals(scored)["RR@10"]
    assert low < 0.75 < high
    assert intervals(scored).keys() == scored.keys() == metrics(judged, {}).keys() - {"queries"}
