"""A daemon whose answers are judged by its own model: what a Phoenix is told, and that nobody ever waits for it."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.responses import Response

from tests import judging_model
from tests.inference_server.test_openai import ModelServer, fall_silent, serving, stream
from tests.observability.collector import Collector, Row, collecting
from tests.observability.read_back import evaluated
from tests.observability.receivers import Receiver, at_phoenix
from tests.processes import Daemon, place, until
from tests.test_one_trace import ANSWERED, END_S, NOTES, ask, sending_to, write_notes

pytestmark = pytest.mark.slow

QUESTION = "How long does the kiln cool?"
ANSWER = "The kiln cools for twelve hours [1]. It is then opened [1]."
ALL = {"TANDEM_JUDGE": "1"}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    server = ModelServer()
    with serving(server):
        yield server


@asynccontextmanager
async def daemon_of(server: ModelServer, at: Collector | Receiver, settings: dict[str, str]) -> AsyncGenerator[Daemon]:
    model = {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": server.url, "TANDEM_MODEL": "small"}
    traces = {"PHOENIX_COLLECTOR_ENDPOINT": at.url} if isinstance(at, Collector) else sending_to(at)
    with place() as here:
        write_notes(here)
        async with here.daemon(here.docs, settings={**model, **traces, **settings}) as daemon:
            await daemon.in_step(len(NOTES))
            yield daemon


def judged(server: ModelServer) -> int:
    return sum(map(judging_model.is_to_judge, server.asked))


async def verdicts(collector: Collector, count: int) -> list[Row]:
    return await anyio.to_thread.run_sync(collector.verdicts, count)


async def test_a_verdict_stands_beside_our_own_measures_and_its_making_in_a_trace_of_its_own(
    server: ModelServer,
) -> None:
    server.answer = judging_model.answering(ANSWER, lambda line: "no" if line == "statement 2:" else "yes")
    with collecting() as collector:
        async with daemon_of(server, collector, ALL) as daemon:
            final = await ask(daemon, QUESTION, session="talk-1")
            assert (final["answer"], final["engine"]) == (ANSWER, "openai small-1")
            rows = await verdicts(collector, 3)
            spans = await anyio.to_thread.run_sync(collector.until_told, {name for name, *_ in ANSWERED} | {"judge"})
    answer = [span for span in spans if span.trace_id.hex() == final["trace_id"]]
    [root] = [span for span in spans if span.name == "judge"]
    judge = [span for span in spans if span.trace_id == root.trace_id]
    assert sorted(span.name for span in answer) == sorted(name for name, *_ in ANSWERED)
    assert sorted(span.name for span in judge) == ["generate", "judge", "wait in queue"]
    assert root.trace_id.hex() != final["trace_id"]
    assert not [span for span in judge if "session.id" in {pair.key for pair in span.attributes}]
    ids = {span.name: span.span_id.hex() for span in answer}
    *passages, groundedness = [(path, row["span_id"], row["name"], row["result"]["score"]) for path, row in rows]
    assert passages == [("/v1/document_annotations", ids["retrieve"], "relevance (judge)", 1.0)] * 2
    assert groundedness == ("/v1/span_annotations", ids["check citations"], "groundedness (judge)", 0.5)
    assert [row["document_position"] for _, row in rows[:2]] == [0, 1]


async def test_phoenix_counts_with_the_verdict_and_keeps_our_own_measures_beside_it(
    server: ModelServer, tmp_path: Path
) -> None:
    server.answer = judging_model.answering(ANSWER, lambda line: "no" if line == "passage 1:" else "yes")
    async with at_phoenix(tmp_path) as phoenix, daemon_of(server, phoenix, ALL) as daemon:

        async def said(kind: str, by: str, names: set[str]) -> list[dict[str, Any]] | None:
            nodes = await anyio.to_thread.run_sync(evaluated, phoenix.endpoint, phoenix.api_key, kind)
            [told] = [node[by] for node in nodes.values() if node[by]] or [[]]
            key = "evaluationName" if by == "documentRetrievalMetrics" else "name"
            return told if names <= {one[key] for one in told} else None

        await ask(daemon, QUESTION)
        await phoenix.once_there(1, lambda span: span.name == "judge")
        found = await until(partial(said, "RETRIEVER", "documentRetrievalMetrics", {"relevance (judge)"}))
        [metrics] = [one for one in found if one["evaluationName"] == "relevance (judge)"]
        assert (metrics["precision"], metrics["hit"]) == (0.5, 1.0) and 0 < metrics["ndcg"] < 1
        names = {"groundedness", "groundedness (judge)"}
        found = await until(partial(said, "EVALUATOR", "spanAnnotations", names))
        kinds = {one["name"]: one["annotatorKind"] for one in found if one["name"] in names}
        assert kinds == {"groundedness": "CODE", "groundedness (judge)": "LLM"}


async def test_what_a_judge_may_not_tell_leaves_in_no_annotation(server: ModelServer) -> None:
    server.answer = judging_model.answering(ANSWER)
    with collecting() as collector:
        async with daemon_of(server, collector, {**ALL, "TANDEM_TRACE_HIDE": "all"}) as daemon:
            await ask(daemon, QUESTION)
            rows = await verdicts(collector, 3)
    assert "kiln" not in json.dumps(rows)
    assert {row["result"]["explanation"] for _, row in rows} <= {None, "[hidden]"}


async def test_a_model_that_judges_for_ever_holds_up_no_answer_and_no_end(server: ModelServer) -> None:
    def answer(asked: dict[str, Any]) -> Response:
        return stream([], fall_silent) if judging_model.is_to_judge(asked) else judging_model.said(ANSWER)

    server.answer = answer
    with collecting() as collector:
        async with daemon_of(server, collector, ALL) as daemon:

            async def is_judged() -> bool:
                return judged(server) > 0

            await ask(daemon, QUESTION)
            await until(is_judged)
            with anyio.fail_after(30):
                for question in ("When is the lease renewed?", "Who opens the door?", "What lasts fifteen seconds?"):
                    final = await ask(daemon, question)
                    assert (final["answer"], final.get("error"), final["degraded"]) == (ANSWER, None, [])
            assert await daemon.program.stop(within_s=END_S) == 0
    told = b"".join(collector.bodies)
    assert b"groundedness" in told and b"(judge)" not in told


@pytest.mark.parametrize("settings", [{}, {"TANDEM_JUDGE": "0"}])
async def test_where_nothing_is_sampled_no_model_is_asked_to_judge(
    server: ModelServer, settings: dict[str, str]
) -> None:
    server.answer = judging_model.answering(ANSWER)
    with collecting() as collector:
        async with daemon_of(server, collector, settings) as daemon:
            await ask(daemon, QUESTION)
            await ask(daemon, "When is the lease renewed?")
    assert judged(server) == 0 and len(server.asked) == 2
    assert b"(judge)" not in b"".join(collector.bodies)


@pytest.mark.parametrize("said", ["yes", "passage 1: yes\npassage 2: yes\nstatement 1: yes", ""])
async def test_words_that_are_no_verdict_are_none(server: ModelServer, said: str) -> None:
    server.answer = lambda asked: judging_model.said(said if judging_model.is_to_judge(asked) else ANSWER)
    with collecting() as collector:
        async with daemon_of(server, collector, ALL) as daemon:
            for n in range(3):
                await ask(daemon, f"How long does kiln {n} cool?")
                await anyio.to_thread.run_sync(collector.until_told, {"judge"})

            async def warned() -> list[str]:
                return [one for one in (await daemon.status())["warnings"] if one.startswith("TANDEM_JUDGE: ")]

            [warning] = await until(warned)
            assert "small-1 gave no verdict 3 times in a row" in warning
    assert b"(judge)" not in b"".join(collector.bodies)


async def test_an_engine_without_a_model_and_a_daemon_without_a_phoenix_say_that_nothing_is_judged(
    server: ModelServer,
) -> None:
    with place() as here:
        async with here.daemon(settings=ALL) as daemon:
            assert "extractive engine has no model" in "".join((await daemon.status())["warnings"])
        model = {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": server.url, "TANDEM_MODEL": "small"}
        async with here.daemon(settings={**ALL, **model}) as daemon:
            assert "TANDEM_JUDGE judges nothing: traces are off" in "".join((await daemon.status())["warnings"])
