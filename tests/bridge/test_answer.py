"""Question -> hits -> job -> replies, over both wires, with the worker's real loop and engines that do as told."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import pytest

from bridge.answer import Limits, Means, Route, answering
from bridge.draft import Draft
from bridge.service import Answer, Overloaded, Part, Piece, Unavailable
from indexer.hits import Found, Freshness, Hit
from indexer.search import Looked
from inference_server.engines import EngineFailed, Generate
from inference_server.engines.extractive import extractive
from inference_server.worker import work
from wire import Delta, Final, Inbox, Job, QueueDown, Reply, Said, Wire
from wire.memory import MemoryWire

KILN = Hit(
    "/d/kiln.md",
    "file:///d/kiln.md",
    1.5,
    "# Kiln\n\nThe kiln cools for twelve hours.",
    start_line=1,
    end_line=3,
    heading="Kiln",
    dense_score=0.7,
    lexical_score=2.0,
)
LOOM = Hit("/d/loom.pdf", "file:///d/loom.pdf", 0.4, "The loom has eight shafts.", page=7, dense_score=0.3)
FRESHNESS = Freshness("2026-11-03T17:02:11+00:00", 3)
FOUND = Found((KILN, LOOM), FRESHNESS, ("lexical search only",))
QUESTION = "How long does the kiln cool?"
LIMITS = Limits()


def searching(found: Found | Unavailable = FOUND) -> Callable[[str], Awaitable[Looked]]:
    async def search(_: str) -> Looked:
        if isinstance(found, Unavailable):
            raise found
        return Looked(found, None, "minilm", 0)

    return search


def saying(*replies: Reply | Exception, then_wait: bool = False) -> Generate:
    """An engine that says these, raises what is an error, and then ends or waits for ever."""

    @asynccontextmanager
    async def generate(_: Job, __: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def said() -> AsyncIterator[Reply]:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
                yield reply
            if then_wait:
                await anyio.sleep_forever()

        yield said()

    return generate


@asynccontextmanager
async def working(wire: Wire, generate: Generate) -> AsyncGenerator[None]:
    """A worker listens on `wire`."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(work, wire, generate, slots=2, stopped=anyio.Event()))
        with anyio.fail_after(30):
            while not await wire.workers():  # noqa: ASYNC110 (its first take tells the wire, and nobody us)
                await anyio.sleep(0.01)
        yield
        tasks.cancel_scope.cancel()


def draft(session: str | None = None) -> Draft:
    return Draft(uuid4().hex, QUESTION, session=session)


async def ask(
    routes: Sequence[Route], found: Found | Unavailable = FOUND, limits: Limits = LIMITS, session: str | None = None
) -> tuple[list[str], Answer]:
    """The pieces, and the answer."""
    parts: list[Part] = []
    with anyio.fail_after(30):
        async with answering(draft(session), Means(searching(found), routes, limits)) as heard:
            parts = [numbered.part async for numbered in heard]
    *pieces, answer = parts
    assert isinstance(answer, Answer)
    assert all(isinstance(piece, Piece) for piece in pieces)
    return [piece.chunk for piece in pieces if isinstance(piece, Piece)], answer


async def test_an_answer_comes_in_pieces_then_whole_with_its_evidence_and_its_freshness(wire: Wire) -> None:
    async with working(wire, extractive):
        pieces, answer = await ask([Route(wire, "here")])
    assert answer.answer == "".join(pieces) == "The kiln cools for twelve hours. [1]"
    assert (answer.engine, answer.grounded, answer.error, answer.cache_hit) == ("extractive", True, None, False)
    assert (answer.freshness, answer.degraded) == (FRESHNESS, ("lexical search only",))
    (cited,) = answer.citations
    assert (cited.n, cited.path, cited.quote) == (1, "/d/kiln.md", "The kiln cools for twelve hours.")
    assert (cited.heading, cited.start_line, cited.end_line, cited.page) == ("Kiln", 1, 3, None)


async def test_the_worker_is_given_the_question_as_typed_and_the_evidence_with_its_place(wire: Wire) -> None:
    jobs: list[Job] = []

    @asynccontextmanager
    async def noting(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        jobs.append(job)
        async with saying(Final(engine="noting", model="m1"))(job, said) as replies:
            yield replies

    async with working(wire, noting):
        pieces, answer = await ask([Route(wire, "here")], session="s1")
        await ask([Route(wire, "here")])
    assert (pieces, answer.engine) == ([], "noting m1")
    first, second = jobs
    assert (first.prompt, first.metadata.session, second.metadata.session) == (QUESTION, "s1", None)
    (passage,) = first.context
    assert (passage.text, passage.path, passage.heading) == (KILN.text, KILN.path, "Kiln")
    assert (passage.start_line, passage.end_line, passage.page) == (1, 3, None)
    assert first.request_id != second.request_id


async def test_what_only_the_dense_side_found_is_evidence_from_a_likeness_on() -> None:
    given: list[str] = []

    @asynccontextmanager
    async def noting(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        given[:] = [passage.path for passage in job.context]
        async with saying(Final())(job, said) as replies:
            yield replies

    wire = MemoryWire()
    unknown = replace(LOOM, path="/d/unknown", dense_score=None)
    unlike = replace(KILN, path="/d/unlike", dense_score=0.0)
    async with working(wire, noting):
        await ask([Route(wire, "here")], Found((LOOM, unlike, unknown), FRESHNESS), Limits(evidence=0.31))
        assert given == ["/d/unlike", "/d/unknown"]
        await ask([Route(wire, "here")], Found((LOOM, unlike, unknown), FRESHNESS), Limits(evidence=0.3))
        assert given == ["/d/loom.pdf", "/d/unlike", "/d/unknown"]


async def test_without_evidence_the_engine_says_so_and_nothing_is_cited(wire: Wire) -> None:
    async with working(wire, extractive):
        _, answer = await ask([Route(wire, "here")], Found((), FRESHNESS))
    assert (answer.answer, answer.citations, answer.grounded) == ("The documents do not say.", (), None)


async def test_markers_count_the_passages_that_were_given_not_the_hits(wire: Wire) -> None:
    async with working(wire, extractive):
        _, answer = await ask([Route(wire, "here")], Found((LOOM, KILN), FRESHNESS))
    assert answer.answer == "The kiln cools for twelve hours. [1]"
    assert [citation.path for citation in answer.citations] == ["/d/kiln.md"]


# --- the next route


async def test_where_no_worker_listens_the_next_route_answers_and_it_is_said(wire: Wire) -> None:
    last = MemoryWire()
    async with working(last, extractive):
        _, answer = await ask([Route(wire, "the box"), Route(last, "extractive")])
    assert (answer.engine, answer.error) == ("extractive", None)
    assert answer.degraded == (
        "lexical search only",
        "no worker listens at the box; start one with `tandem worker`",
    )


async def test_where_no_route_is_left_the_question_is_refused_with_every_reason(wire: Wire) -> None:
    with pytest.raises(Unavailable) as refused:
        await ask([Route(wire, "the box"), Route(MemoryWire(), "the shed")])
    assert "no worker listens at the box; start one" in str(refused.value)
    assert "no worker listens at the shed; start one" in str(refused.value)


async def test_an_engine_that_fails_before_its_first_word_is_stood_in_for(wire: Wire) -> None:
    last = MemoryWire()
    async with working(wire, saying(EngineFailed("its model is away: start it"))), working(last, extractive):
        pieces, answer = await ask([Route(wire, "openai m"), Route(last, "extractive")])
    assert pieces == ["The kiln cools for twelve hours. [1]"]
    assert (answer.engine, answer.error) == ("extractive", None)
    assert answer.degraded[-1] == "openai m: its model is away: start it"


async def test_an_engine_that_fails_with_nobody_behind_it_ends_the_answer_with_its_reason(wire: Wire) -> None:
    async with working(wire, saying(EngineFailed("its model is away: start it"))):
        pieces, answer = await ask([Route(wire, "openai m")])
    assert (pieces, answer.answer, answer.error) == ([], "", "its model is away: start it")


async def test_once_a_word_is_out_nobody_else_goes_on_with_it(wire: Wire) -> None:
    last = MemoryWire()
    breaking = saying(Delta("The kiln cools for twelve hours. [1]"), EngineFailed("it broke off: ask again"))
    async with working(wire, breaking), working(last, extractive):
        pieces, answer = await ask([Route(wire, "openai m"), Route(last, "extractive")])
    assert pieces == ["The kiln cools for twelve hours. [1]"]
    assert (answer.answer, answer.error) == (pieces[0], "it broke off: ask again")
    # The text so far is cited all the same, but nobody vouches for half an answer.
    assert [citation.n for citation in answer.citations] == [1]
    assert answer.grounded is None


# --- silence and ends


async def test_a_worker_that_falls_silent_ends_the_answer_with_a_reason_and_keeps_what_came(wire: Wire) -> None:
    async with working(wire, saying(Delta("The kiln "), Delta("cools"), then_wait=True)):
        pieces, answer = await ask([Route(wire, "here")], limits=Limits(silence_s=1))
    assert "".join(pieces) == "The kiln cools"
    assert (answer.answer, answer.error) == ("The kiln cools", "the worker was silent for 1 s; ask again")


async def test_the_limit_is_for_each_silence_not_for_the_whole_answer(wire: Wire) -> None:
    @asynccontextmanager
    async def slow(_: Job, __: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def said() -> AsyncIterator[Reply]:
            for n in range(12):
                await anyio.sleep(0.12)
                yield Delta(f"{n} ")
            yield Final(engine="slow")

        yield said()

    async with working(wire, slow):
        pieces, answer = await ask([Route(wire, "here")], limits=Limits(silence_s=1.4))
    assert (len(pieces), answer.error) == (12, None)


async def test_who_leaves_early_gives_the_answer_up_and_disturbs_no_other(wire: Wire) -> None:
    async with working(wire, saying(Delta("endless"), then_wait=True)):
        with anyio.fail_after(30):
            async with answering(draft(), Means(searching(), [Route(wire, "here")], LIMITS)) as parts:
                assert (await anext(parts)).part == Piece("endless")
            _, answer = await ask([Route(wire, "here")], limits=Limits(silence_s=1))
            assert answer.answer == "endless"


async def test_who_leaves_early_stops_the_engine(wire: Wire) -> None:
    stopped = anyio.Event()

    @asynccontextmanager
    async def endless(_: Job, __: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async def said() -> AsyncIterator[Reply]:
            yield Delta("on and on")
            await anyio.sleep_forever()

        try:
            yield said()
        finally:
            stopped.set()

    async with working(wire, endless):
        with anyio.fail_after(30):
            async with answering(draft(), Means(searching(), [Route(wire, "here")], LIMITS)) as parts:
                await anext(parts)
            await stopped.wait()


async def test_more_than_the_queue_takes_is_told_with_a_time_to_come_back() -> None:
    full = MemoryWire(depth=1)
    async with full.attach(), full.send(Job("first", "why?")):
        with pytest.raises(Overloaded, match="1 jobs") as refused:
            await ask([Route(full, "here")])
    assert refused.value.retry_after_s >= 1


class BrokenWire:
    """A wire with a worker; after `pieces` its queue goes away, or the replies just stop."""

    def __init__(self, *pieces: str, error: QueueDown | None = None) -> None:
        self._pieces, self._error = pieces, error

    @asynccontextmanager
    async def send(self, job: Job, record: bytes = b"") -> AsyncGenerator[AsyncIterator[Reply]]:
        yield self._replies()

    async def _replies(self) -> AsyncIterator[Reply]:
        for piece in self._pieces:
            yield Delta(piece)
        if self._error:
            raise self._error

    def listening(self, request_id: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def workers(self) -> int:
        return 1

    async def depth(self) -> int:
        return 0

    async def record(self, request_id: str) -> bytes | None:
        return None

    async def cancel(self, request_id: str) -> bool:
        return False

    def resume(self, request_id: str, after: tuple[int, int] = (0, 0)) -> AbstractAsyncContextManager[Any]:
        raise AssertionError("nobody resumes here")

    @asynccontextmanager
    async def attach(self) -> AsyncGenerator[Inbox]:
        raise AssertionError("nobody works here")
        yield


async def test_a_queue_that_goes_away_before_the_first_word_is_passed_over() -> None:
    last = MemoryWire()
    async with working(last, extractive):
        _, answer = await ask([Route(BrokenWire(error=QueueDown("Redis is away: start it")), "redis"), Route(last, "")])
    assert (answer.engine, answer.degraded[-1]) == ("extractive", "Redis is away: start it")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (QueueDown("Redis is away: start it"), "Redis is away: start it"),
        (None, "the answer stopped without its end; ask again"),
    ],
)
async def test_a_queue_that_goes_away_in_mid_answer_ends_it_there(error: QueueDown | None, told: str) -> None:
    last = MemoryWire()
    async with working(last, extractive):
        pieces, answer = await ask([Route(BrokenWire("The kiln ", error=error), "redis"), Route(last, "extractive")])
    assert pieces == ["The kiln "]
    assert (answer.answer, answer.error) == ("The kiln ", told)


async def test_a_search_that_cannot_be_done_refuses_the_question(wire: Wire) -> None:
    async with working(wire, extractive):
        with pytest.raises(Unavailable, match=r"^the store is away: start it$"):
            await ask([Route(wire, "here")], Unavailable("the store is away: start it"))
