"""How much of the evidence is found again, and how far an answer says what it said."""

import pytest

from bridge import evidence
from bridge.service import Answer, Citation
from indexer.hits import Freshness

QUOTE = "The lease of a worker lasts fifteen seconds and is renewed every five."
HALVES = ("A note. The lease of a worker lasts", "fifteen seconds and is renewed every five.\n\nThe end.")


def test_evidence_is_found_whatever_the_borders_of_passages_and_the_blanks_in_them() -> None:
    assert evidence.found([QUOTE], [QUOTE.replace(" ", "\n").upper()]) == 1.0
    assert evidence.found([QUOTE], HALVES) == 1.0
    assert evidence.found([QUOTE], HALVES[:1]) == pytest.approx(0.4, abs=0.05)
    assert evidence.found([QUOTE, "Nothing of this stands anywhere at all."], [QUOTE]) == 0.5
    assert evidence.found([QUOTE], ["The worker renews its lease: fifteen seconds, every five of them."]) == 0.0


def test_scripts_without_blanks_are_compared_by_their_letters_too() -> None:
    quote = "トレーラーは三日まで借りることができます。延長は受付で。"
    assert evidence.found([quote], [f"規則\n{quote}"]) == 1.0
    assert evidence.found([quote], ["窯は十二時間冷まします。"]) == 0.0


def test_without_evidence_nothing_is_judged() -> None:
    assert evidence.found([], [QUOTE]) is evidence.first_at([], [QUOTE]) is None
    assert evidence.found(["..."], [QUOTE]) is evidence.first_at(["..."], [QUOTE]) is None


def test_the_first_passage_that_has_it_counts_by_its_rank() -> None:
    assert evidence.first_at([QUOTE], ["Nothing.", "Nothing.", QUOTE, QUOTE]) == pytest.approx(1 / 3)
    assert evidence.first_at([QUOTE], ["Nothing."]) == 0.0
    assert evidence.first_at([QUOTE], []) == 0.0


def test_an_answer_keeps_what_it_says_again_in_other_words_order_and_marks() -> None:
    reference = "The lease lasts 15 seconds [1]. A beat comes every 5 seconds [2]."
    assert evidence.kept(reference, "A beat comes every 5 seconds [1]. The lease lasts 15 seconds [3].") == 1.0
    assert (evidence.kept(reference, "The lease lasts 15 seconds [1].") or 1) < 0.8
    assert (evidence.kept(reference, "The lease lasts 90 seconds [1].") or 1) < 0.4
    assert evidence.kept("The passages do not say.", "The lease lasts 15 seconds [1].") is None


def test_an_answer_is_as_grounded_as_its_least_supported_sentence() -> None:
    def answer(text: str) -> Answer:
        cited = Citation(2, "/a.md", "file:///a.md", QUOTE, passage=QUOTE)
        return Answer(text, (cited,), Freshness(None), "extractive")

    assert evidence.groundedness(answer(f"{QUOTE} [2]")) == 1.0
    assert (evidence.groundedness(answer(f"{QUOTE} [2] The lease lasts ninety hours [2].")) or 1) < 0.5
    assert evidence.groundedness(answer(f"{QUOTE} The lease is renewed by hand in Lisbon.")) == 0.0
    assert evidence.groundedness(answer("The passages do not say.")) is None
