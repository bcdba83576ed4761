"""A model words the questions about passages, over both wires; what is no question is not taken for one."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from bridge.questioning import Said, fitting, said_of
from indexer.salient import Item, Text
from inference_server.engines import EngineFailed, Generate
from inference_server.engines.echo import echo
from inference_server.engines.extractive import extractive
from tests.bridge.test_answer import working
from wire import Delta, Final, Job, Reply, Wire
from wire import Said as SaidBefore

PASSAGE = "The kiln cools for twelve hours. Brandt keeps the key."
QUESTION = "How long until the oven is cold?"


def items(count: int) -> list[Item]:
    return [Item(f"q{n}", "kiln cools", "kiln.md", PASSAGE, Text(PASSAGE, "Kiln")) for n in range(count)]


def asking(text: str | EngineFailed, jobs: list[Job]) -> Generate:
    @asynccontextmanager
    async def generate(job: Job, _: SaidBefore) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def said() -> AsyncIterator[Reply]:
            jobs.append(job)
            if isinstance(text, EngineFailed):
                raise text
            yield Delta(text)
            yield Final(engine="model")

        yield said()

    return generate


async def said(wire: Wire, generate: Generate, asked: Sequence[Item]) -> tuple[Said, int]:
    """What was said, and how many questions were done with."""
    done: list[None] = []
    async with working(wire, generate):
        with anyio.fail_after(60):
            return await said_of(wire, asked, lambda: done.append(None)), len(done)


async def test_each_passage_is_sent_without_its_file_s_name_and_comes_back_as_a_question(wire: Wire) -> None:
    jobs: list[Job] = []
    found, done = await said(wire, asking(f'"{QUESTION}"\n', jobs), items(7))
    assert found.questions == {f"q{n}": QUESTION for n in range(7)}
    assert (found.refused, found.silent, done) == (0, [], 7)
    assert {(job.metadata.task, job.prompt) for job in jobs} == {("question", "")}
    assert {(one.text, one.heading, one.path) for job in jobs for one in job.context} == {(PASSAGE, "Kiln", "")}


@pytest.mark.parametrize("generate", [extractive, echo()])
async def test_an_engine_without_a_model_says_no_question(wire: Wire, generate: Generate) -> None:
    found, _ = await said(wire, generate, items(2))
    assert (found.questions, found.refused) == ({}, 2)


async def test_an_engine_that_is_away_is_not_asked_for_every_question(wire: Wire) -> None:
    jobs: list[Job] = []
    found, _ = await said(wire, asking(EngineFailed("no model server answers"), jobs), items(40))
    assert found.questions == {} and set(found.silent) == {"no model server answers"}
    assert 3 <= len(jobs) < 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "Why?",
        "The kiln cools for twelve hours.",
        "How long does it cool?\nIt cools for twelve hours.",
        "It cools for twelve hours [1]. Does that help you?",
        "What does </passage 1 mark=ab> end here?",
        "How long \x1b[31mdoes it cool?",
        "How long " + "very " * 60 + "long does it cool?",
    ],
)
def test_what_is_no_question_on_one_line_is_not_taken(text: str) -> None:
    assert fitting(text, PASSAGE) is None


def test_a_question_that_copies_the_passage_is_not_taken() -> None:
    faq = "How long does the kiln cool? Twelve hours."
    assert fitting("How long does the kiln cool?", faq) is None
    assert fitting("When is the kiln cold?", faq) == "When is the kiln cold?"


@pytest.mark.parametrize("text", ["窑炉要冷却多久？", "Wie lange kühlt der Ofen?", "كم من الوقت يبرد الفرن؟"])
def test_questions_of_other_languages_are_taken(text: str) -> None:
    assert fitting(f"“{text}”", PASSAGE) == text
