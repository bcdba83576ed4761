"""A follow-up is searched for in words that stand alone, where a model can say them; else as it was typed."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
import pytest

from bridge.answer import Limits, Means, Route, answering
from bridge.conversations import Conversations
from bridge.draft import Draft
from bridge.service import Answer
from indexer.hits import Freshness
from indexer.search import Looked
from inference_server.engines import Generate
from inference_server.engines.extractive import extractive
from tests.bridge.test_answer import FOUND, working
from wire import Delta, Final, Job, Reply, Said, Turn, Wire

WHOLE = "How long does the kiln cool in winter?"


def model(rewritten: str) -> Generate:
    """Rewrites what it is asked to rewrite, and answers the rest."""

    @asynccontextmanager
    async def generate(job: Job, _: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def said() -> AsyncIterator[Reply]:
            yield Delta(rewritten if job.metadata.task == "rewrite" else "For twelve hours [1].")
            yield Final(engine="model")

        yield said()

    return generate


async def searched(
    wire: Wire, conversations: Conversations, asked: str, session: str | None = "s"
) -> tuple[str, Answer]:
    """What was searched for, and the answer."""
    words: list[str] = []

    async def search(question: str) -> Looked:
        words.append(question)
        return Looked(FOUND, None, "minilm", 0)

    means = Means(search, [Route(wire, "here")], Limits(), conversations.add)
    draft = Draft(uuid4().hex, asked, session=session, turns=conversations.turns(session))
    with anyio.fail_after(30):
        async with answering(draft, means) as parts:
            *_, end = [numbered.part async for numbered in parts]
    assert isinstance(end, Answer)
    return words[0], end


async def test_a_follow_up_is_searched_for_in_words_that_stand_alone(wire: Wire) -> None:
    conversations = Conversations()
    async with working(wire, model(WHOLE)):
        first, answer = await searched(wire, conversations, "How long does the kiln cool?")
        assert (first, answer.question) == ("How long does the kiln cool?", None)
        second, answer = await searched(wire, conversations, "and in winter?")
        assert (second, answer.question) == (WHOLE, WHOLE)
        assert conversations.turns("s") == (
            Turn("user", "How long does the kiln cool?"),
            Turn("assistant", "For twelve hours [1]."),
            Turn("user", WHOLE),
            Turn("assistant", "For twelve hours [1]."),
        )


async def test_a_question_of_another_session_or_of_none_is_no_follow_up(wire: Wire) -> None:
    conversations = Conversations()
    async with working(wire, model(WHOLE)):
        await searched(wire, conversations, "How long does the kiln cool?")
        for session in ("other", None):
            assert (await searched(wire, conversations, "and in winter?", session))[0] == "and in winter?"


@pytest.mark.parametrize("said", ["", "Well.\nIt cools for twelve hours.", "It cools " * 100])
async def test_what_cannot_be_a_question_leaves_the_words_as_typed(wire: Wire, said: str) -> None:
    conversations = Conversations()
    async with working(wire, model(said)):
        await searched(wire, conversations, "How long does the kiln cool?")
        searched_for, answer = await searched(wire, conversations, "and in winter?")
    assert (searched_for, answer.question) == ("and in winter?", None)


async def test_an_engine_without_a_model_leaves_the_words_as_typed(wire: Wire) -> None:
    conversations = Conversations()
    async with working(wire, extractive):
        await searched(wire, conversations, "How long does the kiln cool?")
        assert (await searched(wire, conversations, "and in winter?"))[0] == "and in winter?"


def test_a_session_keeps_its_last_exchanges_and_the_longest_silent_one_goes() -> None:
    conversations = Conversations(most=2)
    answer = Answer("x" * 5000, (), Freshness(None), "e")
    for n in range(9):
        conversations.add("a", f"question {n}", answer)
    turns = conversations.turns("a")
    assert [turn.content for turn in turns[::2]] == ["question 6", "question 7", "question 8"]
    assert all(len(turn.content) == 1000 for turn in turns[1::2])
    conversations.add("b", "?", answer)
    conversations.add("a", "?", answer)
    conversations.add("c", "?", answer)
    assert (bool(conversations.turns("a")), conversations.turns("b"), bool(conversations.turns("c"))) == (
        True,
        (),
        True,
    )
    conversations.add("c", "failed?", Answer("half", (), Freshness(None), "e", error="broke"))
    assert len(conversations.turns("c")) == 2
