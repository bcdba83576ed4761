"""The bridge's end: a job goes in, its replies come out as one text, in order, each once.

Replies are heard as they are published; a hole, a lost connection or a second of silence is made good from the log. A
job that the queue itself has lost is sent again, unless a part of its answer has been read: that ends with
`restarted`, for another run's text must not be joined to it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Literal, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream
from msgspec.structs import replace

from wire import QueueDown, Unknown
from wire.messages import Final, Job, Malformed, Reply, decode_replies, encode_job, encode_reply
from wire.steps import DEADLINE_MS, Heard, Logged, Steps, Terms

SILENCE_S = 1.0
_PAUSE_S = 0.2
_LATE_PAUSE_S = 1.0

T = TypeVar("T")

CANCELLED = Final(error="the answer was cancelled", error_code="cancelled", seq=1)
_LOST = Final(
    error="the queue lost this job after a part of its answer; ask again", error_code="restarted", finish_reason="error"
)


class Merge:
    """Where a reader stands in an answer: at `seq` of `epoch`. `resumes`: it was not there from the beginning."""

    def __init__(self, epoch: int = 0, seq: int = 0, *, resumes: bool = False) -> None:
        self.epoch: int = epoch
        self.seq: int = seq
        self._resumes = resumes
        self.unnumbered = False

    def take(self, reply: Reply) -> Literal["next", "old", "hole", "ahead"]:
        """What a reply is to this reader; "ahead": it is of a text that does not go on from what was read."""
        if isinstance(reply, Final) and reply.error:
            return "next"  # an error ends an answer wherever it stands
        if not reply.seq and self._resumes:  # what an old worker said before is kept nowhere
            return "ahead"
        if not reply.seq:  # of an old worker; it is not joined to what another says of the same job
            self.unnumbered = self.unnumbered or not self.seq
            return "old" if self.seq else "next"
        if self.unnumbered:
            return "ahead"
        if reply.epoch < self.epoch or (reply.epoch == self.epoch and reply.seq <= self.seq):
            return "old"
        if reply.seq <= self.seq:
            return "ahead"
        if reply.seq > self.seq + 1:
            return "hole"
        self.epoch, self.seq = reply.epoch, reply.seq
        return "next"


@asynccontextmanager
async def sending(
    steps: Steps, job: Job, stream: str, depth: int, quota: int, record: bytes = b""
) -> AsyncGenerator[AsyncIterator[Reply]]:
    """See `Wire.send`."""
    data = encode_job(job)
    meta = job.metadata
    terms = Terms(stream, meta.client or "", meta.idem or "", meta.deadline_ms or DEADLINE_MS, depth, quota, record)

    async def admit() -> None:
        await steps.admit(job.request_id, data, terms)

    # Subscribe before the job exists: pub/sub keeps nothing for latecomers.
    async with _listening(steps, job.request_id) as heard:
        admitted = await twice(lambda: steps.admit(job.request_id, data, terms))
        if admitted.request_id == job.request_id:
            # A job that was there before may have been begun, or even answered: its log is read.
            logged = Logged(known=True) if admitted.is_new else None
            async with aclosing(_replies(steps, job.request_id, heard, Merge(), stream, admit, logged)) as replies:
                yield replies
            return
    async with resuming(steps, admitted.request_id, (0, 0), stream) as replies:
        yield replies


@asynccontextmanager
async def resuming(
    steps: Steps, request_id: str, after: tuple[int, int], stream: str
) -> AsyncGenerator[AsyncIterator[Reply]]:
    """See `Wire.resume`."""
    async with _listening(steps, request_id) as heard:
        if not (logged := await twice(lambda: steps.read(request_id, after))).known:
            raise Unknown(f"no answer {request_id!r} is under way or kept")
        async with aclosing(
            _replies(steps, request_id, heard, Merge(*after, resumes=True), stream, None, logged)
        ) as replies:
            yield replies


@asynccontextmanager
async def listening(steps: Steps, request_id: str) -> AsyncGenerator[None]:
    """See `Wire.listening`."""
    async with _listening(steps, request_id):
        yield


async def cancel(steps: Steps, request_id: str) -> bool:
    return await twice(lambda: steps.cancel(request_id, encode_reply(CANCELLED)))


class Cancels:
    """What could not be cancelled because the queue was away is cancelled once it is back: within `last_s`, for then an
    answer has ended by itself. One call at a time, however many are given up while it is away."""

    def __init__(self, steps: Steps, tasks: TaskGroup, last_s: float = DEADLINE_MS / 1000) -> None:
        self._steps, self._last_s = steps, last_s
        self._tasks: TaskGroup | None = tasks
        self._late: dict[str, float] = {}  # until when

    async def cancel(self, request_id: str) -> bool:
        try:
            return await cancel(self._steps, request_id)
        except (QueueDown, anyio.get_cancelled_exc_class()):  # who asks need not wait until that is found out
            if self._tasks and not self._late:
                self._tasks.start_soon(self._tell)
            self._late[request_id] = anyio.current_time() + self._last_s
            raise

    def leave(self) -> None:
        """From now on nothing is tried again: the tasks end."""
        self._tasks = None

    async def _tell(self) -> None:
        while self._late:
            await anyio.sleep(_LATE_PAUSE_S)
            with suppress(QueueDown):
                for request_id, until in list(self._late.items()):
                    if anyio.current_time() < until:
                        await cancel(self._steps, request_id)
                    del self._late[request_id]


async def twice(ask: Callable[[], Awaitable[T]]) -> T:
    """A connection that died in silence is found out by its use: a router forgot it, the other machine lost its power,
    this one slept. The pool then makes a new one for the next who asks. Raises QueueDown where that fails too."""
    try:
        return await ask()
    except QueueDown:
        return await ask()


@asynccontextmanager
async def _listening(steps: Steps, request_id: str) -> AsyncGenerator[MemoryObjectReceiveStream[Heard]]:
    async with AsyncExitStack() as stack:
        yield await twice(lambda: stack.enter_async_context(steps.listen(request_id)))


async def _replies(
    steps: Steps,
    request_id: str,
    heard: MemoryObjectReceiveStream[Heard],
    place: Merge,
    stream: str,
    admit: Callable[[], Awaitable[None]] | None,
    logged: Logged | None = None,
) -> AsyncGenerator[Reply]:
    log = _Log(steps, request_id, place)
    lost = replace(_LOST, seq=place.seq + 1)
    begun = False
    logged = logged or await log.read()
    frames, from_log = logged.frames, True
    while True:
        hole = False
        for reply in (reply for data in frames for reply in _read(data)):
            verdict = place.take(reply)
            if verdict == "ahead" or (verdict == "hole" and from_log):
                yield lost
                return
            if verdict == "hole":
                hole = True
                break
            if verdict == "old":
                continue
            begun = True
            if isinstance(reply, Final) and not reply.seq:
                with suppress(QueueDown):  # it is only tidying
                    await steps.trim(stream, request_id)
            yield reply
            if isinstance(reply, Final):
                return
            lost = replace(_LOST, seq=place.seq + 1, epoch=place.epoch)
        if not hole:
            data, silent = await _next(heard)
            if data is not None:
                frames, from_log = (data,), False
                continue
            if place.unnumbered and not silent:
                raise QueueDown(
                    "the connection to the queue was lost, and an old worker's answer is not kept: ask again"
                )
        logged = await log.read()
        frames, from_log = logged.frames, True
        if not logged.known and admit and not begun:
            await log.patiently(admit)
        elif not logged.known or (hole and not frames):
            yield lost
            return


async def _next(heard: MemoryObjectReceiveStream[Heard]) -> tuple[Heard, bool]:
    """What is heard next; whether there was nothing but silence."""
    with suppress(anyio.WouldBlock):  # under load the next frame is here already
        return heard.receive_nowait(), False
    with anyio.move_on_after(SILENCE_S):
        return await heard.receive(), False
    return None, True


def _read(data: bytes) -> tuple[Reply, ...]:
    try:
        return decode_replies(data)
    except Malformed as error:
        return (Final(error=f"a worker's reply cannot be read: {error}", error_code="engine"),)


class _Log:
    """The log from where a reader stands, however the queue comes and goes meanwhile."""

    def __init__(self, steps: Steps, request_id: str, place: Merge) -> None:
        self._steps, self._request_id, self._place = steps, request_id, place

    async def read(self) -> Logged:
        found = Logged(known=True)

        async def read() -> None:
            nonlocal found
            found = await self._steps.read(self._request_id, (self._place.epoch, self._place.seq))

        await self.patiently(read)
        return found

    async def patiently(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Raises QueueDown once it has been away for too long."""
        since = anyio.current_time()
        while True:
            try:
                return await ask()
            except QueueDown:
                if anyio.current_time() - since > self._steps.away_s:
                    raise
            await anyio.sleep(_PAUSE_S)
