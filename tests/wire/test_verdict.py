"""What a judge says counts only where it is the form of its own job, filled in to the end."""

import pytest

from wire import Job, Metadata, Passage
from wire.verdict import Verdict, form, verdict

JOB = Job(
    "a request", "how long?", (Passage(text="a"), Passage(text="b")), metadata=Metadata(task="judge", statements=("c",))
)
MARK, *ASKED = form(JOB)
FILLED = [MARK, "passage 1: yes", "passage 2: no", "statement 1: yes"]


def test_the_form_has_a_line_for_each_passage_and_each_statement() -> None:
    assert ASKED == ["passage 1:", "passage 2:", "statement 1:"]


def test_a_form_that_is_filled_in_is_a_verdict() -> None:
    assert verdict(JOB, "\n".join(FILLED)) == Verdict((True, False), (True,))
    loosely = "\n".join(["", f" {FILLED[0]} ", "passage 1:  YES", "passage 2:no", "statement 1: No", ""])
    assert verdict(JOB, loosely) == Verdict((True, False), (False,))


@pytest.mark.parametrize(
    "said",
    [
        "",
        "yes",
        "The documents do not say.",
        "\n".join(FILLED[1:]),
        "\n".join(["verdict 00000000", *FILLED[1:]]),
        "\n".join(FILLED[:-1]),
        "\n".join([*FILLED, "statement 2: yes"]),
        "\n".join(["Here it is:", *FILLED]),
        "\n".join([*FILLED, "", "I hope this helps."]),
        "\n".join([*FILLED[:-1], "statement 1: mostly"]),
        "\n".join([*FILLED[:-1], "statement 1:"]),
        "\n".join([*FILLED[:-1], "statement 1: yes, it says so"]),
        "\n".join([FILLED[0], FILLED[2], FILLED[1], FILLED[3]]),
        "\n".join(["```", *FILLED, "```"]),
    ],
)
def test_anything_else_is_none(said: str) -> None:
    assert verdict(JOB, said) is None


def test_the_form_of_another_job_is_none() -> None:
    other = Job("another request", JOB.prompt, JOB.context, metadata=JOB.metadata)
    assert verdict(JOB, "\n".join([*form(other)[:1], *FILLED[1:]])) is None
