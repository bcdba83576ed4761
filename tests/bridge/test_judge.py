"""A model judges answers in nobody's way: over both wires, with the worker's real loop and a real engine."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from uuid import uuid4

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from bridge.answer import Means, Route, answering
from bridge.draft import Draft
from bridge.grounding import Claim
from bridge.judge import Judge, Judged, sampled
from bridge.service import Answer
from indexer.search import Looked
from inference_server.engines import Generate
from inference_server.engines.extractive import extractive
from inference_server.engines.openai import openai_engine
from inference_server.worker import work
from tests import judging_model
from tests.bridge.test_answer import FOUND, LIMITS, LOOM, QUESTION, saying, searching, working
from tests.inference_server.test_openai import ModelServer, serving
from tests.processes import until
from wire import Delta, Final, Job, Reply, Said, Wire
from wire.verdict import Verdict, form

RETRIEVED, CHECKED = "a" * 16, "c" * 16
LOOKED = Looked(FOUND, None, "minilm", 0, span=RETRIEVED)
ALL = 1.0


def answered(**what: str | None) -> Draft:
    """An answer that has ended, with its check in a trace."""
    told = {"trace_id": uuid4().hex, "check": CHECKED, **what}
    claims = (Claim("The kiln cools for twelve hours.", (1,), 0.9), Claim("It is blue.", (), 0.0))
    return Draft(uuid4().hex, QUESTION, claims=claims, **told)


class Bench:
    """A judge, and what it told."""

    def __init__(self, judge: Judge, heard: MemoryObjectReceiveStream[Judged]) -> None:
        self.judge, self._heard = judge, heard

    async def verdict(self) -> Judged:
        with anyio.fail_after(30):
            return await self._heard.receive()

    async def refused(self, times: int) -> None:
        before = self.judge.refused
        for n in range(before + 1, before + times + 1):
            self.judge.consider(answered(), LOOKED)

            async def is_counted(n: int = n) -> bool:
                return self.judge.refused == n and not self.judge.is_at_work

            await until(is_counted)


@asynccontextmanager
async def sitting(wire: Wire, share: float = ALL, wanted: bool = True, look_s: float = 60) -> AsyncGenerator[Bench]:
    say, heard = anyio.create_memory_object_stream[Judged](10)
    with say, heard:
        async with anyio.create_task_group() as tasks:
            yield Bench(Judge(tasks, wire, share, lambda: wanted, say.send_nowait, look_s), heard)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def alone(wire: Wire, generate: Generate) -> AsyncGenerator[None]:
    """A worker that has one slot."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(work, wire, generate, slots=1, stopped=anyio.Event()))
        await until(wire.workers)
        yield
        tasks.cancel_scope.cancel()


class Hanging:
    """Judges for ever, and answers at once."""

    def __init__(self) -> None:
        self.judges, self.stopped = anyio.Event(), anyio.Event()

    def generate(self, job: Job, said: Said) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        return self._judging() if job.metadata.task == "judge" else extractive(job, said)

    @asynccontextmanager
    async def _judging(self) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def never() -> AsyncIterator[Reply]:
            self.judges.set()
            await anyio.sleep_forever()
            yield Delta("")

        try:
            yield never()
        finally:
            self.stopped.set()


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    server = ModelServer()
    with serving(server):
        yield server


async def test_a_model_says_of_each_passage_whether_it_helps_and_of_each_statement_whether_it_is_supported(
    wire: Wire, server: ModelServer
) -> None:
    server.answer = judging_model.answering("", lambda line: "no" if line.endswith("2:") else "yes")
    async with (
        openai_engine(server.url, None, "small") as generate,
        alone(wire, generate),
        sitting(wire) as bench,
    ):
        bench.judge.consider(answered(), LOOKED)
        told = await bench.verdict()
    assert told == Judged(RETRIEVED, CHECKED, Verdict((True, False), (True, False)))
    shown = server.asked[-1]["messages"][-1]["content"]
    assert QUESTION in shown and LOOM.text in shown and "Statement 2: It is blue." in shown
    assert (bench.judge.told, bench.judge.refused, bench.judge.left, bench.judge.problem) == (1, 0, 0, None)


@pytest.mark.parametrize(
    "replies",
    [
        (Delta("passage 1: yes\npassage 2: yes\nstatement 1: yes\nstatement 2: yes"), Final(engine="old")),
        (Delta("The documents do not say."), Final(engine="old")),
        (Final(error="out of memory", error_code="engine"),),
    ],
    ids=["a form without its mark", "an answer", "an error"],
)
async def test_what_is_no_verdict_tells_nothing_and_after_some_of_them_what_to_do(
    wire: Wire, replies: tuple[Reply, ...]
) -> None:
    async with alone(wire, saying(*replies)), sitting(wire) as bench:
        await bench.refused(2)
        assert bench.judge.problem is None
        await bench.refused(1)
        assert "gave no verdict 3 times in a row" in (bench.judge.problem or "")
        assert bench.judge.told == 0


async def test_who_asks_while_an_answer_is_judged_has_the_only_slot_at_once(wire: Wire) -> None:
    engine = Hanging()
    async with alone(wire, engine.generate), sitting(wire) as bench:
        with anyio.fail_after(30):
            bench.judge.consider(answered(), LOOKED)
            await engine.judges.wait()
            means = Means(searching(), [Route(wire, "here")], LIMITS, judge=bench.judge)
            async with answering(Draft(uuid4().hex, QUESTION), means) as parts:
                *_, end = [numbered.part async for numbered in parts]
            assert isinstance(end, Answer)
            assert end.answer == "The kiln cools for twelve hours. [1]"
            await engine.stopped.wait()
        assert (bench.judge.told, bench.judge.left) == (0, 1)


async def test_who_asks_elsewhere_at_the_same_queue_does_too(wire: Wire) -> None:
    engine = Hanging()
    async with alone(wire, engine.generate), sitting(wire, look_s=0.01) as bench:
        with anyio.fail_after(30):
            bench.judge.consider(answered(), LOOKED)
            await engine.judges.wait()
            async with wire.send(Job(uuid4().hex, QUESTION)) as replies:
                [*_, end] = [reply async for reply in replies]
        assert isinstance(end, Final) and not end.error
        assert engine.stopped.is_set()


async def test_while_any_job_is_under_way_or_nobody_works_nothing_is_judged(wire: Wire) -> None:
    jobs: list[Job] = []

    @asynccontextmanager
    async def noting(job: Job, _: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def never() -> AsyncIterator[Reply]:
            await anyio.sleep_forever()
            yield Delta("")

        jobs.append(job)
        yield never()

    async with sitting(wire) as bench:

        async def is_left(times: int) -> bool:
            return bench.judge.left == times and not bench.judge.is_at_work

        bench.judge.consider(answered(), LOOKED)
        await until(partial(is_left, 1))
        async with working(wire, noting), wire.send(Job("a person's", QUESTION)):
            bench.judge.consider(answered(), LOOKED)
            await until(partial(is_left, 2))
            bench.judge.consider(answered(), LOOKED)
            await until(partial(is_left, 3))
    assert {job.request_id for job in jobs} <= {"a person's"}


async def test_one_answer_is_judged_at_a_time(wire: Wire) -> None:
    engine = Hanging()
    async with alone(wire, engine.generate), sitting(wire) as bench:
        bench.judge.consider(answered(), LOOKED)
        with anyio.fail_after(30):
            await engine.judges.wait()
        bench.judge.consider(answered(), LOOKED)
        assert bench.judge.left == 1


async def test_who_ends_in_the_middle_takes_the_job_out_of_the_queue(wire: Wire) -> None:
    engine = Hanging()
    async with alone(wire, engine.generate):
        async with sitting(wire) as bench:
            bench.judge.consider(answered(), LOOKED)
            with anyio.fail_after(30):
                await engine.judges.wait()
        with anyio.fail_after(30):
            await engine.stopped.wait()

        async def is_empty() -> bool:
            return not await wire.depth()

        await until(is_empty)


@pytest.mark.parametrize(
    ("share", "wanted", "draft", "looked"),
    [
        (0.0, True, answered(), LOOKED),
        (ALL, False, answered(), LOOKED),
        (ALL, True, answered(trace_id=None), LOOKED),
        (ALL, True, answered(check=None), LOOKED),
        (ALL, True, answered(), Looked(FOUND, None, "minilm", 0)),
    ],
    ids=["off", "nobody listens", "no trace", "no check", "no search"],
)
async def test_what_is_not_wanted_is_not_begun(
    wire: Wire, share: float, wanted: bool, draft: Draft, looked: Looked
) -> None:
    async with sitting(wire, share, wanted) as bench:
        bench.judge.consider(draft, looked)
        assert not bench.judge.is_at_work


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_all_traces_is_judged(share: float) -> None:
    many = 4_000
    chosen = sum(sampled(uuid4().hex, share) for _ in range(many))
    assert abs(chosen / many - share) <= 0.05 * (0 < share < 1)


async def test_the_form_of_one_answer_is_not_that_of_another(wire: Wire) -> None:
    """So what a model remembers, or a file foresees, is no verdict."""
    last: list[str] = []

    @asynccontextmanager
    async def repeating(job: Job, _: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        mark, *lines = form(job)
        last.append(mark)

        async def said() -> AsyncIterator[Reply]:
            yield Delta("\n".join([last[0], *(f"{line} yes" for line in lines)]))
            yield Final(engine="parrot")

        yield said()

    async with alone(wire, repeating), sitting(wire) as bench:
        bench.judge.consider(answered(), LOOKED)
        await bench.verdict()
        await bench.refused(1)
