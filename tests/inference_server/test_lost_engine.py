"""An engine that dies under a job: the job goes back to the queue, and the worker rests until the engine is back."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio import fail_after

from inference_server.engines import EngineLost
from inference_server.worker import work
from wire import Delta, Final, Job, Reply, Said, Wire


class Mortal:
    """Says "one ", dies, and says the rest of its answer when it is asked again."""

    def __init__(self) -> None:
        self.asked = 0
        self.heard, self.died, self.asked_again, self.back = (anyio.Event() for _ in range(4))

    @asynccontextmanager
    async def generate(self, job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        self.asked += 1
        if self.asked > 1:
            self.asked_again.set()
        yield self._replies(said)

    async def _replies(self, said: Said) -> AsyncIterator[Reply]:
        if not said.text:
            yield Delta("one ", tokens=(1,))
            await self.heard.wait()
            self.died.set()
            raise EngineLost("the engine died", self.back)
        assert said == Said("one ", (1,))
        yield Delta("two", tokens=(2,))
        yield Final(engine="mortal")


async def test_a_job_whose_engine_died_goes_on_where_it_stopped_once_the_engine_is_back(wire: Wire) -> None:
    engine, stopped = Mortal(), anyio.Event()
    with fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(work, wire, engine.generate, slots=1, stopped=stopped))
            async with wire.send(Job(uuid.uuid4().hex, "count")) as replies:
                first = await anext(replies)
                engine.heard.set()
                with anyio.move_on_after(0.5):
                    await engine.asked_again.wait()
                assert engine.asked == 1, "nothing is taken while the engine is away"
                engine.back.set()
                rest = [reply async for reply in replies]
            stopped.set()
    assert [reply.chunk for reply in (first, *rest)] == ["one ", "two", ""]
    assert rest[-1].error is None


async def test_a_worker_whose_engine_is_away_stops_when_it_is_told(wire: Wire) -> None:
    engine, stopped = Mortal(), anyio.Event()
    with fail_after(30):
        async with anyio.create_task_group() as tasks, wire.send(Job(uuid.uuid4().hex, "count")):
            tasks.start_soon(partial(work, wire, engine.generate, slots=1, stopped=stopped))
            engine.heard.set()
            await engine.died.wait()
            stopped.set()
