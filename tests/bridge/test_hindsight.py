"""What is said of the spans of a trace, also of those that were made before anything was measured."""

from bridge.hindsight import FAILED, HIDDEN_TEXT, UNKNOWN, UNMEASURED, in_hindsight
from tests.bridge.told_spans import answered, found_by_likeness_alone, searched

LEASE = ("/a.md", "The lease lasts fifteen seconds. A beat comes every five seconds.", 0.9)
KILN = ("/b.md", "The kiln cools for twelve hours.", 0.1)
QUESTION = "How long is the lease?"


def test_numbers_that_stand_on_the_spans_are_told_as_they_are() -> None:
    check = {"tandem.claims": (0.9, 0.2), "tandem.cited": (1,), "tandem.supports": (0.2,), "tandem.grounded": False}
    spans = answered(QUESTION, "[hidden]", [LEASE, KILN], check=check, tandem__relevances=(0.8, 0.3))
    found = in_hindsight(spans, 0.6)
    assert [(one.name, one.score, one.of[-1]) for one in found.annotations] == [
        ("relevance", 1.0, "2"),
        ("relevance", 0.0, "2"),
        ("groundedness", 0.2, "4"),
        ("citation", 0.2, "4"),
    ]
    assert found.unjudged == (UNKNOWN,)


def test_an_answer_that_was_never_checked_is_checked_by_the_passages_of_its_trace() -> None:
    for answer, label in (("The lease lasts fifteen seconds [1].", "grounded"), ("It lasts a year [1].", "ungrounded")):
        found = in_hindsight(answered(QUESTION, answer, [LEASE, KILN]), 0.6)
        [groundedness] = [one for one in found.annotations if one.name == "groundedness"]
        assert (groundedness.label, groundedness.of[-1]) == (label, "1")
        assert [one.score for one in found.annotations if one.name == "relevance"] == [1.0, 0.0]
        assert [one.identifier for one in found.annotations if one.name == "citation"] == ["1"]


def test_it_counts_passages_as_the_answer_did() -> None:
    """The dense side alone called the first one up, and it was no evidence: the answer's [1] is the second."""
    spans = answered(QUESTION, "The lease lasts fifteen seconds [1].", [KILN, LEASE])
    spans = found_by_likeness_alone(spans, 0, 0.3)
    for threshold, label in ((0.6, "grounded"), (0.2, "ungrounded")):
        assert label in [one.label for one in in_hindsight(spans, threshold).annotations]


def test_what_cannot_be_judged_is_said_with_its_reason() -> None:
    old = searched(QUESTION, [(*LEASE[:2], None)])
    assert in_hindsight([old], 0.6).unjudged == (UNMEASURED,)
    hidden = [("/a.md", "[hidden]", None)]
    all_hidden = answered("[hidden]", "[hidden]", hidden, tandem__relevances=(0.8,))
    assert in_hindsight(all_hidden, 0.6).unjudged == (UNKNOWN, HIDDEN_TEXT)
    assert (
        in_hindsight(answered(QUESTION, "So [1].", hidden, tandem__relevances=(0.8,)), 0.6).unjudged[-1] == HIDDEN_TEXT
    )
    failed = answered(QUESTION, "The lease", [LEASE], status="ERROR")
    assert in_hindsight(failed, 0.6).unjudged == (FAILED,)


def test_of_a_search_that_found_nothing_there_is_nothing_to_say() -> None:
    found = in_hindsight([searched(QUESTION, [])], 0.6)
    assert (found.annotations, found.unjudged) == ((), ())
