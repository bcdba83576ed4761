"""What a thumb on an answer becomes, and what is refused as none."""

import pytest

from bridge.rating import rating
from bridge.service import BadInput

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(("up", "score", "label"), [(True, 1.0, "up"), (False, 0.0, "down")])
def test_a_thumb_is_a_persons_score_on_the_whole_trace(up: bool, score: float, label: str) -> None:
    said = rating(TRACE, up, "  It names the wrong year.\n")
    assert (said.of, said.place, said.name, said.kind) == (TRACE, "trace", "rating", "HUMAN")
    assert (said.score, said.label, said.explanation) == (score, label, "It names the wrong year.")


def test_a_trace_has_one_rating_whoever_gives_it_and_however_its_id_is_written() -> None:
    first, second = rating(TRACE, True, "good"), rating(TRACE.upper(), False)
    assert (first.of, first.name, first.identifier) == (second.of, second.name, second.identifier)


@pytest.mark.parametrize("comment", [None, "", " \n"])
def test_nothing_said_is_no_comment(comment: str | None) -> None:
    assert rating(TRACE, True, comment).explanation is None


@pytest.mark.parametrize("trace_id", ["", "7f", "g" * 32, f"{TRACE}0", f"{TRACE} ", "0" * 32, "٣" * 32])
def test_what_is_no_id_of_a_trace_is_refused_with_what_one_is(trace_id: str) -> None:
    with pytest.raises(BadInput, match="`trace_id` was expected to be 32 hex digits"):
        rating(trace_id, True)


def test_a_comment_is_unicode_of_a_thousand_characters_at_most() -> None:
    assert rating(TRACE, True, "ä" * 1_000).explanation == "ä" * 1_000
    with pytest.raises(BadInput, match=r"the comment has 1,001 characters; at most 1,000 are taken"):
        rating(TRACE, True, "ä" * 1_001)
    with pytest.raises(BadInput, match="half a surrogate pair"):
        rating(TRACE, True, "\ud800")
