"""What people asked becomes examples."""

from dataclasses import replace
from typing import Any

from bridge.real_questions import NO_EVIDENCE, Gathered, examples, once
from observability.datasets import Example
from observability.spans_back import Span
from tests.bridge.told_spans import AT, TRACE, answered, found_by_likeness_alone, searched

LEASE = ("/a.md", "# The lease\n\nThe lease lasts fifteen seconds. A beat comes every five seconds.", 0.9)
KILN = ("/b.md", "The kiln cools for twelve hours.", 0.1)
QUESTION = "How long is the lease?"
ANSWER = "The lease lasts fifteen seconds [1]."


def of(*traces: list[Span]) -> list[Example | str]:
    return examples(traces, 0.6, {})


def one_of(*traces: list[Span]) -> Example:
    [found] = of(*traces)
    assert isinstance(found, Example), found
    return found


def test_an_answer_rests_on_what_it_cited_word_for_word() -> None:
    found = one_of(answered(QUESTION, ANSWER, [LEASE, KILN], check={"tandem.grounded": True}))
    assert found.input == {"question": QUESTION}
    assert found.output == {
        "answer": ANSWER,
        "evidence": [{"path": "/a.md", "quote": "The lease lasts fifteen seconds."}],
    }
    assert found.metadata == {"trace_id": TRACE, "engine": "echo small", "grounded": True, "asked_at": AT}
    assert (found.key, found.span) == (TRACE, f"{TRACE[:15]}1")


def test_what_an_answer_cited_is_counted_as_it_counted() -> None:
    """The dense side alone called the first passage up, and it was no evidence: the answer's [1] is the second."""
    spans = found_by_likeness_alone(answered(QUESTION, ANSWER, [KILN, LEASE]), 0, 0.3)
    assert [one["path"] for one in one_of(spans).output["evidence"]] == ["/a.md"]


def test_a_search_rests_on_the_beginnings_of_what_was_judged_relevant() -> None:
    long = ("/long.md", "One line of it.\n" * 40, 0.7)
    found = one_of([searched(QUESTION, [LEASE, KILN, long])])
    assert found.output["answer"] is None
    first, second = found.output["evidence"]
    assert first == {"path": "/a.md", "quote": LEASE[1]}
    assert second["quote"].splitlines() == ["One line of it."] * 18
    assert of([searched(QUESTION, [KILN])]) == [NO_EVIDENCE]


def test_a_follow_up_is_asked_as_it_was_understood() -> None:
    found = one_of(answered(QUESTION, ANSWER, [LEASE], asked="And the lease?"))
    assert (found.input["question"], found.metadata["asked"]) == (QUESTION, "And the lease?")


def test_filters_are_asked_again_and_a_time_ago_counts_from_then() -> None:
    told = '{"in": "docs/", "type": "md,pdf", "since": "2d"}'
    found = one_of([searched(QUESTION, [LEASE], tandem__filters=told)])
    filters = {"in": "docs/", "type": "md,pdf", "since": "2026-02-27T12:00:00+00:00"}
    assert found.input == {"question": QUESTION, **filters}


def test_what_is_hidden_is_no_example() -> None:
    hidden = ("/a.md", "[hidden]", 0.9)
    assert of(answered("[hidden]", ANSWER, [LEASE])) == ["the question is hidden"]
    assert of(answered(QUESTION, ANSWER, [hidden])) == ["the passages are hidden"]
    assert one_of(answered(QUESTION, "[hidden]", [LEASE])).output["answer"] is None


def example(key: str, question: str = QUESTION, answer: str | None = ANSWER, **filters: Any) -> Example:
    return Example(key, {"question": question, **filters}, {"answer": answer, "evidence": []}, {})


def test_a_question_is_taken_once_the_latest_with_an_answer() -> None:
    found = [example("1"), example("2", "how long is  the LEASE?"), example("3", answer=None), example("4", type="md")]
    assert once(found, []) == Gathered((found[1], found[3]), (), 2)


def test_what_the_dataset_holds_stays_as_it_is() -> None:
    found = [example("1"), example("2"), example("3", "And the kiln?"), NO_EVIDENCE]
    known = [replace(found[0], id="RGF0YXNldEV4YW1wbGU6MQ==")]
    assert once(found, known) == Gathered((found[0], found[2]), (NO_EVIDENCE,), 1)


def test_ratings_stand_beside_the_answer() -> None:
    [found] = examples([answered(QUESTION, ANSWER, [LEASE])], 0.6, {TRACE: 0.0})
    assert isinstance(found, Example) and found.metadata["rating"] == 0.0
