"""What is the same passage, and which copy stands for all."""

import random
import time

import pytest

from indexer import lexical
from indexer.folding import folded
from indexer.presenting import Ranked, merged, presented
from indexer.records import Candidate, ChunkRow, document_id, vector_key

WORDS = [
    f"{a}{b}{c}er"
    for a in ("lan", "gas", "coo", "mar", "win", "har")
    for b in "bdfgklmnprst"
    for c in ("an", "o", "il")
]
CLAUSE = (
    "The keeper of the western yard shall pay the parish a rent of 40 crowns for each lantern that hangs in the barn, "
    "and is not bound to mend the gate, the well or the roof of the barn unless Miller asks for it in writing before "
    "the harvest; whatever is mended without such a letter is mended at the cost of whoever mends it, and nobody owes "
    "anything for work that was neither asked for nor seen by the parish during the twelve months that follow it."
)


def chunk(path: str, text: str, score: float = 1.0, modified: int = 0, ordinal: int = 0) -> Ranked:
    row = ChunkRow(
        id=document_id(f"{path} {ordinal}"),
        ordinal=ordinal,
        text=text,
        start=ordinal * 1000,
        end=ordinal * 1000 + len(text),
        start_line=ordinal + 1,
        end_line=ordinal + 1,
        page=None,
        heading=None,
        terms=lexical.pack(lexical.terms(text)),
        key=vector_key(text),
    )
    return Ranked(score, score, score, Candidate(document_id(path), path, "", modified, row), score, {})


def found(*ranked: Ranked) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.candidate.path, one.also_in) for one in folded(ranked)]


def test_copies_are_found_once_and_the_freshest_of_equals_stands_for_them() -> None:
    old, new, better = chunk("/old", CLAUSE, 0.9, 1), chunk("/new", CLAUSE, 0.899, 3), chunk("/x", CLAUSE, 0.5, 9)
    other = chunk("/other", "The lantern hangs in the barn.", 0.7)
    assert found(old, new, other, better) == [("/new", ("/old", "/x")), ("/other", ())]
    assert found(other) == [("/other", ())]
    assert found() == []


def test_another_layout_case_or_slip_of_the_pen_is_the_same_passage() -> None:
    laid_out = CLAUSE.replace(", ", ",\n\n  * ").replace("lantern", "**Lantern**").upper()
    slip = CLAUSE.replace("whoever", "whoeverr", 1)
    assert found(chunk("/a", CLAUSE), chunk("/b", laid_out, 0.9), chunk("/c", slip, 0.8)) == [("/a", ("/b", "/c"))]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("40 crowns", "45 crowns"),
        ("40 crowns", "40 marks"),
        ("twelve months", "thirteen months"),
        ("is not bound", "is bound"),
        ("is not bound", "is now bound"),
        ("shall pay", "may pay"),
        ("Miller", "Millar"),
        ("neither asked", "either asked"),
        ("a rent of 40", "a rent of -40"),
        ("a rent of 40", "a rent of €40"),
        ("before the harvest", "after the harvest"),
        ("the gate, the well", "the well, the gate"),
        ("owes", "owns"),
    ],
)
def test_a_difference_that_may_matter_is_never_folded_away(before: str, after: str) -> None:
    changed = CLAUSE.replace(before, after)
    assert changed != CLAUSE
    assert len(found(chunk("/v1", CLAUSE), chunk("/v2", changed))) == 2


def test_a_negation_in_a_script_without_capitals_or_spaces_is_never_folded_away() -> None:
    text = "灯笼挂在谷仓里并且可以在夜间点亮" * 6
    assert len(found(chunk("/a", text), chunk("/b", text.replace("可以", "不可以", 1)))) == 2
    assert len(found(chunk("/a", text), chunk("/b", text))) == 1


def test_passages_of_one_file_stay_apart_however_alike() -> None:
    assert found(chunk("/a", CLAUSE), chunk("/a", CLAUSE, 0.9, ordinal=5)) == [("/a", ()), ("/a", ())]


def test_a_file_that_stands_for_one_passage_stands_for_its_neighbours_too() -> None:
    second = CLAUSE.replace("lantern", "candle").replace("barn", "mill")
    copies = [chunk("/a", CLAUSE, 0.9, 1), chunk("/b", CLAUSE, 0.9, 2)]
    copies += [chunk("/a", second, 0.8, 3, 1), chunk("/b", second, 0.8, 2, 1)]
    (hit,) = presented(merged(folded(copies), 5), lambda _: (None, None), explain=False)
    assert (hit.path, hit.also_in, hit.start_line, hit.end_line) == ("/b", ("/a",), 1, 2)


def test_near_copies_are_found_however_many_passages_there_are() -> None:
    chance = random.Random(2)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 120))) for _ in range(200)]
    slips = {n: text.replace("er ", "err ", 1) for n, text in enumerate(texts) if text.count(" ") > 40}
    ranked = [chunk(f"/{n}", text, 1 - n / 1000) for n, text in enumerate(texts)]
    ranked += [chunk(f"/slip{n}", text, 0.5 - n / 1000) for n, text in slips.items()]
    told = dict(found(*ranked))
    assert len(slips) > 50
    assert all(told[f"/{n}"] == (f"/slip{n}",) for n in slips)
    assert len(told) == len(texts)


def test_form_letters_take_time_in_proportion_and_stay_apart() -> None:
    letters = [chunk(f"/letters/{n}.txt", f"{CLAUSE} The letter has the number {n}.") for n in range(800)]
    began = time.process_time()
    assert folded(letters) == letters
    assert time.process_time() - began < 1
