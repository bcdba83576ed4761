"""Answers under way: who leaves, who comes back, who never came, and the next process."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from bridge.answers import Answers
from bridge.draft import Draft
from bridge.service import Answer, NotFound, Numbered, Piece, Unavailable
from wire import Delta, Final


class Engine:
    """Makes answers of ten words, one whenever it is let go on."""

    def __init__(self) -> None:
        self.words = anyio.Semaphore(0)
        self.stopped = anyio.Event()

    def go_on(self, words: int = 11) -> None:
        for _ in range(words):
            self.words.release()

    @asynccontextmanager
    async def make(self, draft: Draft) -> AsyncGenerator[AsyncIterator[Numbered]]:
        async def parts() -> AsyncIterator[Numbered]:
            if draft.asked == "away":
                raise Unavailable("no worker listens")
            for n in range(1, 11):
                await self.words.acquire()
                piece = draft.add(Delta(f"{n} ", seq=n, epoch=5))
                assert piece
                yield piece
            await self.words.acquire()
            yield draft.end(Final(engine="ten", seq=11, epoch=5))

        try:
            yield parts()
        finally:
            self.stopped.set()


@pytest.fixture
async def tasks() -> AsyncGenerator[TaskGroup]:
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(30):
            yield tasks
        tasks.cancel_scope.cancel()


def draft(asked: str = "why?") -> Draft:
    return Draft(uuid4().hex, asked, label="here")


async def read(here: Answers, request: str, after: tuple[int, int] = (0, 0)) -> list[Numbered]:
    found: list[Numbered] = []
    async with here.follow(request, after) as reader:
        while some := await reader.read():
            found += some
    return found


async def test_every_place_is_read_on_from_to_the_same_end(tasks: TaskGroup) -> None:
    engine = Engine()
    engine.go_on()
    here = Answers(tasks, engine.make)
    request = here.begin(draft())
    whole = await read(here, request)
    assert [one.place for one in whole] == [(5, n) for n in range(1, 12)]
    assert isinstance(whole[-1].part, Answer)
    assert whole[-1].part.answer == "1 2 3 4 5 6 7 8 9 10 "
    for n, one in enumerate(whole, 1):
        assert await read(here, request, one.place) == whole[n:]


async def test_a_read_that_is_broken_off_loses_nothing(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make)
    async with here.follow(here.begin(draft())) as reader:
        with anyio.move_on_after(0.01):
            await reader.read()
        engine.go_on()
        assert (await reader.read())[0].place == (5, 1)


async def test_a_reader_that_stalls_holds_nobody_up_and_keeps_no_copy(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make)
    request = here.begin(draft())
    async with here.follow(request) as stalled:
        engine.go_on()
        assert len(await read(here, request)) == 11
        assert len(await stalled.read()) == 11


async def test_an_answer_that_nobody_reads_any_more_is_given_up_after_the_grace(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make, grace_s=0.05)
    request = here.begin(draft())
    engine.go_on(1)
    async with here.follow(request) as reader:
        await reader.read()
    await engine.stopped.wait()
    *_, end = await read(here, request)
    assert isinstance(end.part, Answer)
    assert (end.part.answer, end.part.error) == ("1 ", "the answer was cancelled")


async def test_an_answer_that_nobody_ever_reads_is_given_up_too(tasks: TaskGroup) -> None:
    engine = Engine()
    Answers(tasks, engine.make, unread_s=0.05).begin(draft())
    await engine.stopped.wait()


async def test_who_comes_back_in_time_finds_it_going_on(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make, grace_s=1)
    request = here.begin(draft())
    for _ in range(3):  # each absence is shorter than the grace, all of them are not
        async with here.follow(request):
            await anyio.sleep(0.1)
        await anyio.sleep(0.4)
    engine.go_on()
    assert len(await read(here, request)) == 11


async def test_one_reader_may_ask_for_a_longer_absence(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make, grace_s=0)
    request = here.begin(draft())
    async with here.follow(request, grace_s=60):
        pass
    await anyio.wait_all_tasks_blocked()
    engine.go_on()
    assert len(await read(here, request)) == 11


async def test_a_question_that_is_refused_is_refused_to_everybody(tasks: TaskGroup) -> None:
    here = Answers(tasks, Engine().make)
    request = here.begin(draft("away"))
    for _ in range(2):
        with pytest.raises(Unavailable, match="no worker listens"):
            await read(here, request)
    assert not await here.cancel(request)


async def test_cancelling_ends_it_for_its_readers_once(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make)
    request = here.begin(draft())
    engine.go_on(2)
    async with here.follow(request) as reader:
        while not await reader.read():
            await checkpoint()
        assert await here.cancel(request)
        assert engine.stopped.is_set()
    assert not await here.cancel(request)
    *said, end = await read(here, request)
    assert isinstance(end.part, Answer)
    assert end.part.answer == "".join(one.part.chunk for one in said if isinstance(one.part, Piece))
    assert end.place[1] == said[-1].place[1] + 1


async def test_the_next_process_reads_on_what_the_last_one_began(tasks: TaskGroup) -> None:
    engine = Engine()
    first = Answers(tasks, engine.make)
    begun = draft()
    begun.label, begun.question = "the box", "why then?"
    request = first.begin(begun)
    engine.go_on()
    before = await read(first, request)

    async def find(wanted: str) -> tuple[Draft, object] | None:
        again = Engine()
        again.go_on()
        found = Draft.of(wanted, begun.record(None))
        return (found, again.make(found)) if wanted == request else None

    second = Answers(tasks, Engine().make, find)  # type: ignore[arg-type]
    for n in (0, 4, 10):
        after = before[n - 1].place if n else (0, 0)
        assert [(one.place, getattr(one.part, "chunk", None)) for one in await read(second, request, after)] == [
            (one.place, getattr(one.part, "chunk", None)) for one in before[n:]
        ]
    with pytest.raises(NotFound, match="ask again"):
        await read(second, "unknown")


async def test_what_ended_long_ago_is_forgotten_and_of_very_many_the_oldest(tasks: TaskGroup) -> None:
    engine = Engine()
    engine.go_on(50)
    here = Answers(tasks, engine.make, most=2)
    requests = [here.begin(draft()) for _ in range(4)]
    for request in requests:
        await read(here, request)
    here.begin(draft())
    with pytest.raises(NotFound):
        await read(here, requests[0])
    assert len(await read(here, requests[3])) == 11


async def test_what_this_process_does_not_end_is_no_end_for_its_reader() -> None:
    engine = Engine()
    engine.go_on(3)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as ending:
            here = Answers(ending, engine.make)
            request = here.begin(draft())
            async with here.follow(request) as reader:
                read = list(await reader.read())
                while len(read) < 3:
                    read += await reader.read()
                here.leave()
                ending.cancel_scope.cancel()
                with anyio.CancelScope(shield=True), pytest.raises(Unavailable, match="read on"):
                    await reader.read()


async def test_each_end_is_heard_of_once_and_what_this_process_does_not_end_is_none(tasks: TaskGroup) -> None:
    engine, heard = Engine(), list[tuple[str, bool, str]]()
    engine.go_on()
    async with anyio.create_task_group() as ending:
        here = Answers(ending, engine.make, ended=lambda one, end, how: heard.append((one.asked, end is not None, how)))
        for asked in ("whole", "away", "cancelled"):
            request = here.begin(draft(asked))
            if asked == "cancelled":
                await here.cancel(request)
            with suppress(Unavailable):
                await read(here, request)
        here.begin(draft("goes on"))
        await checkpoint()
        ending.cancel_scope.cancel()
    assert heard == [("whole", True, "answered"), ("away", False, "refused"), ("cancelled", True, "cancelled")]


async def test_a_place_beyond_the_text_is_told_as_another_text(tasks: TaskGroup) -> None:
    engine = Engine()
    engine.go_on()
    here = Answers(tasks, engine.make)
    request = here.begin(draft())
    await read(here, request)
    (only,) = await read(here, request, (5, 99))
    assert isinstance(only.part, Answer)
    assert "begun again" in (only.part.error or "")


async def test_the_longest_absence_that_any_reader_was_granted_holds(tasks: TaskGroup) -> None:
    engine = Engine()
    here = Answers(tasks, engine.make, grace_s=0)
    request = here.begin(draft())
    async with here.follow(request, grace_s=60):
        pass
    async with here.follow(request):
        pass
    await anyio.wait_all_tasks_blocked()
    engine.go_on()
    assert len(await read(here, request)) == 11
