"""What is told about questions whose ranks are known."""

from pathlib import Path

import pytest

from bridge.own_files import Asked, Own, never_found
from bridge.own_report import judged_in_words, judgements, own_in_words, report
from indexer.hits import Hit
from indexer.salient import Item, Text, Unasked

CORPUS = Path("/d")
KILN = "The kiln cools for twelve hours and Brandt keeps its key in the office until the morning."


def asked(path: str, file_rank: int | None, passage_rank: int | None = None, first: str = "The loom.") -> Asked:
    item = Item(f"{path}{file_rank}", f"where is {path}", path, KILN, Text(KILN))
    name = f"/d/{path}" if file_rank == 1 else "/d/other.md"
    return Asked(item, False, file_rank, passage_rank, (Hit(name, f"file://{name}", 1.0, first),))


def own(*questions: Asked, cannot: tuple[Unasked, ...] = ()) -> Own:
    return Own(CORPUS, 9, questions, (Unasked("t.csv", "no whole sentence"),), cannot, 0)


def test_recall_counts_ranks_within_k_and_the_reciprocal_rank_ends_at_ten() -> None:
    told = report(own(asked("a", 1, 2), asked("b", 4, None), asked("c", 10, 11), asked("d", 11), asked("e", None)))
    assert told["files"] == pytest.approx({"recall@1": 0.2, "recall@5": 0.4, "recall@10": 0.6, "MRR@10": 1.35 / 5})
    assert told["passages"] == pytest.approx({"recall@1": 0, "recall@5": 0.2, "recall@10": 0.2, "MRR@10": 0.1})
    low, high = told["intervals"]["files"]["recall@5"]
    assert low < 0.4 < high


def test_a_file_is_never_found_where_none_of_its_questions_found_it() -> None:
    lost = never_found(own(asked("a", 1), asked("a", None), asked("b", 11), asked("b", None), asked("c", 10)))
    assert [one.path for one in lost] == ["b"]


def test_why_a_file_is_never_found_is_told_as_far_as_it_is_known() -> None:
    nearly = KILN.replace("twelve", "eleven")
    files = own(
        asked("copied", None, first=nearly),
        asked("late", 37),
        asked("lost", None),
        cannot=(Unasked("broken.pdf", "failed: no pages"),),
    )
    assert {one.path: one.reason for one in never_found(files)} == {
        "broken.pdf": "failed: no pages",
        "copied": "near-duplicate: much the same stands in other.md",
        "late": "comes at 37; other.md comes first",
        "lost": "not among the first 100 passages; other.md comes first",
    }


def test_the_worst_questions_come_first_with_what_was_found_instead() -> None:
    told = report(own(asked("a", 1), asked("b", 3), asked("c", None), asked("d", 40)))
    assert [Path(one["path"]).name for one in told["worst"]] == ["c", "d", "b"]
    assert told["worst"][0]["found"] == [{"path": "/d/other.md", "heading": None, "score": 1.0, "text": "The loom."}]


def test_people_are_told_each_part_in_words() -> None:
    told = own_in_words(report(own(asked("a", 1, 1), asked("b", None))))
    assert "2 questions about 2 of 9 files: 0 in the engine's words, 2 masked sentences" in told
    assert [line.split() for line in told.splitlines() if line.startswith("recall@1 ")] == [
        ["recall@1", "0.500", "0.000", "to", "1.000", "0.500", "0.000", "to", "1.000"]
    ]
    assert "never found among the first 10: 1\n  /d/b: not among the first 100 passages" in told
    assert "nothing could be asked of 1\n  /d/t.csv: no whole sentence" in told
    assert "where is b\n    wanted  /d/b, which came nowhere\n    found   /d/other.md" in told


def test_judgements_name_one_file_a_question() -> None:
    assert judgements(own(asked("a b", 1))) == ["query-id\tpath\tgrade", "a b1\ta b\t1"]


def test_a_comparison_stands_beside_its_measure() -> None:
    difference = {"mean": -0.1, "low": -0.2, "high": 0.05, "wins": 3, "losses": 5, "ties": 2}
    measured = {"queries": 10, "R@5": 0.5, "intervals": {"R@5": (0.3, 0.7)}, "against": {"R@5": difference}}
    *_, line = judged_in_words(measured).splitlines()
    assert line.split() == "R@5 0.5000 0.3000 to 0.7000 -0.1000 -0.2000 to +0.0500 3 5 2".split()
