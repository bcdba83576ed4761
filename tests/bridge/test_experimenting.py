"""A question that is asked again becomes a run, which tells no more than may be told."""

from collections.abc import Collection

import anyio
import pytest

from bridge.experimenting import Asking, asked_again
from observability.datasets import Example, Run
from observability.redaction import HIDDEN
from tests.bridge.fake_service import ANSWER, FakeService


async def run(question: str, hide: Collection[str]) -> Run:
    service = FakeService()
    example = Example("1", {"question": question}, {"evidence": [{"quote": "Renew the key each May."}]}, {}, id="one")
    runs: list[Run] = []
    async with anyio.create_task_group() as tasks:
        service.work_in(tasks)
        runs.append(await asked_again(service, example, Asking(5, True, frozenset(hide))))
        tasks.cancel_scope.cancel()
    return runs[0]


@pytest.mark.parametrize("hidden", ["questions", "passages", "answers"])
async def test_an_engines_error_may_repeat_what_is_hidden(hidden: str) -> None:
    assert (await run("stop short", [hidden])).error == HIDDEN


@pytest.mark.parametrize("hide", [[], ["parameters"]])
async def test_what_hides_no_text_leaves_the_error_and_the_answer(hide: list[str]) -> None:
    assert (await run("stop short", hide)).error == "no worker took the job"
    output = (await run("When is the key renewed?", hide)).output
    assert output and output["answer"] == ANSWER.answer
