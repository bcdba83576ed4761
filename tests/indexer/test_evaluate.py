from pathlib import Path

import pytest

from indexer.evaluate import BadJudgements, Judged, Result, load, metrics, passage_lines, run_lines


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
