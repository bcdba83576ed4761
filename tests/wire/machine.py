"""A random walk over the steps on a real Redis: workers that take, start, write, finish, hand back, die and come back
to life, leases that lapse at any moment, calls that are repeated. What was accepted is checked against the logs."""

import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from wire.messages import Delta, Final, Job, decode_job, encode_job, encode_reply
from wire.redis.steps import GROUP, RedisSteps
from wire.steps import Figures, Frame, Started, Taken, Terms, WorkerCard

_FIGURES = Figures(WorkerCard("walk", None, 4))
_CANCELLED = encode_reply(Final(error="cancelled", error_code="cancelled", seq=1))


@dataclass(slots=True)
class _Mine:
    """What a worker believes that it holds."""

    taken: Taken
    request_id: str
    started: Started
    following: int


@dataclass(slots=True)
class Walk:
    """`steps`: one for each worker."""

    steps: list[RedisSteps]
    redis: "Redis"
    base: str
    random: random.Random
    jobs: list[str] = field(default_factory=list[str])
    held: dict[int, list[_Mine]] = field(default_factory=lambda: defaultdict[int, list[_Mine]](list))
    zombies: list[tuple[int, _Mine]] = field(default_factory=list[tuple[int, _Mine]])
    accepted: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[int, int]]](list)
    )
    finals: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    epochs: dict[str, list[int]] = field(default_factory=lambda: defaultdict[str, list[int]](list))
    count: int = 0

    async def go(self, steps: int) -> None:
        acts = [
            *[self.admit] * 4,
            *[self.take] * 8,
            *[self.write] * 36,
            *[self.write_together] * 4,
            *[self.finish] * 6,
            *[self.beat] * 6,
            *[self.lapse] * 6,
            *[self.write_as_a_zombie] * 8,
            self.hand_back,
            self.cancel,
            self.die,
        ]
        while self.count < steps:
            self.count += 1
            await self.random.choice(acts)()
        await self.check()

    def worker(self) -> tuple[int, str]:
        n = self.random.randrange(len(self.steps))
        return n, f"w{n}"

    async def admit(self) -> None:
        if self.jobs and self.random.random() < 0.2:  # the answer to the first call was lost
            request_id = self.random.choice(self.jobs[-20:])
        else:
            request_id = uuid.UUID(int=self.random.getrandbits(128)).hex
            self.jobs.append(request_id)
        terms = Terms(self.base, deadline_ms=3_600_000)
        admitted = await self.steps[0].admit(request_id, encode_job(Job(request_id, "why?")), terms)
        assert admitted.request_id == request_id

    async def take(self) -> None:
        n, name = self.worker()
        await self.steps[n].beat(name, [_frame(mine) for mine in self.held[n]], _FIGURES)
        for taken in await self.steps[n].take(name, [self.base], 3, len(self.held[n])):
            request_id = decode_job(taken.data).request_id
            if self.random.random() < 0.05:
                continue  # killed between the two
            started = await self.steps[n].start(name, taken, request_id)
            if started.state == "ours":
                assert started.epoch not in self.epochs[request_id], "two owners of one epoch"
                assert started.epoch > max(self.epochs[request_id], default=0)
                self.epochs[request_id].append(started.epoch)
                assert len(started.frames) == len(self.accepted[request_id]), "a log that is not what was accepted"
                mine = _Mine(taken, request_id, started, len(started.frames) + 1)
                self.held[n].append(mine)

    async def write(self) -> None:
        n, _ = self.worker()
        if self.held[n]:
            await self._write(n, self.random.choice(self.held[n]))

    async def write_together(self) -> None:
        """One call for many jobs, of which some may be another's by now."""
        n, _ = self.worker()
        many = {mine.request_id: mine for _, mine in self.zombies[-3:]} | {one.request_id: one for one in self.held[n]}
        if many:
            frames = [_frame(mine, _said(mine)) for mine in many.values()]
            for mine, ours in zip(many.values(), await self.steps[n].append(frames), strict=True):
                self._written(mine, ours)

    async def write_as_a_zombie(self) -> None:
        if self.zombies:
            n, mine = self.random.choice(self.zombies[-30:])
            if self.random.random() < 0.7:
                await self._write(n, mine)
            else:
                await self._finish(n, mine)

    async def _write(self, n: int, mine: _Mine) -> None:
        frame = _frame(mine, _said(mine))
        (ours,) = await self.steps[n].append([frame])
        if self.random.random() < 0.1:  # its answer was lost: once more
            (again,) = await self.steps[n].append([frame])
            assert again == ours
        self._written(mine, ours)

    def _written(self, mine: _Mine, ours: bool) -> None:
        if ours:
            assert mine.started.epoch == self.epochs[mine.request_id][-1], "a frame of an old epoch was accepted"
            assert not self.finals[mine.request_id], "a frame after the final was accepted"
            self.accepted[mine.request_id].append((mine.started.epoch, mine.following))
            mine.following += 1

    async def finish(self) -> None:
        n, _ = self.worker()
        if self.held[n]:
            mine = self.held[n].pop(self.random.randrange(len(self.held[n])))
            await self._finish(n, mine)
            self.zombies.append((n, mine))

    async def _finish(self, n: int, mine: _Mine) -> None:
        data = encode_reply(Final(seq=mine.following, epoch=mine.started.epoch))
        before = await self._is_done(mine.request_id)
        ours = await self.steps[n].finish(f"w{n}", _frame(mine, data))
        if ours and not before:
            assert mine.started.epoch == self.epochs[mine.request_id][-1], "a final of an old epoch was accepted"
            self.finals[mine.request_id] += 1

    async def _is_done(self, request_id: str) -> bool:
        return bool(await self.redis.hget(f"{self.base}:job:{request_id}", "done"))

    async def beat(self) -> None:
        n, name = self.worker()
        told = await self.steps[n].beat(name, [_frame(mine) for mine in self.held[n]], _FIGURES)
        gone = told.lost | told.cancelled
        self.zombies += [(n, mine) for mine in self.held[n] if mine.request_id in gone]
        self.held[n] = [mine for mine in self.held[n] if mine.request_id not in gone]

    async def lapse(self) -> None:
        """A lease runs out, whatever its owner does."""
        if not self.epochs:  # nobody has taken anything yet
            return
        pending: list[Any] = await self.redis.xpending_range(self.base, GROUP, "-", "+", 50)
        if pending:
            one = self.random.choice(pending)
            name, entry = one["consumer"], one["message_id"]
            await self.redis.xclaim(self.base, GROUP, name, 0, [entry], idle=10_000_000, justid=True)

    async def hand_back(self) -> None:
        n, name = self.worker()
        if self.held[n]:
            mine = self.held[n].pop()
            await self.steps[n].hand_back(name, _frame(mine))
            self.zombies.append((n, mine))

    async def cancel(self) -> None:
        if self.jobs:
            await self.steps[0].cancel(self.random.choice(self.jobs[-50:]), _CANCELLED)

    async def die(self) -> None:
        """All that it held becomes a zombie's; its leases lapse one by one."""
        n, _ = self.worker()
        self.zombies += [(n, mine) for mine in self.held[n]]
        self.held[n] = []

    async def check(self) -> None:
        for request_id in self.jobs:
            log: Any = await self.redis.xrange(f"{self.base}:rlog:{request_id}")
            ids = [tuple(map(int, entry.decode().split("-"))) for entry, _ in log]
            frames = [fields[b"d"] for _, fields in log if b"d" in fields]
            written = [place for place in ids if place[1]]
            assert [seq for _, seq in written] == list(range(1, len(written) + 1)), "a hole in a log"
            ends = [position for position, data in enumerate(frames) if b'"is_final":true' in data]
            assert len(ends) <= 1, "two finals"
            assert not ends or ends == [len(frames) - 1], "a frame after the final"
            assert written[: len(self.accepted[request_id])] == self.accepted[request_id], "not what was accepted"
            assert len(written) - len(self.accepted[request_id]) == len(ends), "a frame that nobody wrote"
            assert self.finals[request_id] <= len(ends)


def _said(mine: _Mine) -> bytes:
    return encode_reply(Delta("x", mine.following, mine.started.epoch))


def _frame(mine: _Mine, data: bytes = b"") -> Frame:
    return Frame(mine.taken.stream, mine.taken.entry, mine.request_id, mine.started.epoch, mine.following, data)
