"""The wire inside one process. Messages pass through the same JSON as Redis', so that both behave alike; jobs and logs
die with the process."""

import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from wire import NOBODY, Busy, Inbox, Told, WorkerCard, asking
from wire.messages import Job, Reply
from wire.serving import serving
from wire.steps import KEPT_MS, SPANS_MOST, Admitted, Beat, Figures, Frame, Heard, Logged, Started, Taken, Terms

_KEPT = 500  # logs of answers that have ended


class MemoryWire:
    """Both ends. `patience_s` is how long a `take` waits for a first job."""

    def __init__(self, patience_s: float = 1.0, depth: int = 0) -> None:
        self.steps = MemorySteps(patience_s)
        self._depth = depth

    def send(self, job: Job, record: bytes = b"") -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        return asking.sending(self.steps, job, "", self._depth, 0, record)

    def listening(self, request_id: str) -> AbstractAsyncContextManager[None]:
        return asking.listening(self.steps, request_id)

    async def record(self, request_id: str) -> bytes | None:
        return await self.steps.record(request_id)

    def resume(
        self, request_id: str, after: tuple[int, int] = (0, 0)
    ) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        return asking.resuming(self.steps, request_id, after, "")

    async def spans(self, request_id: str, trace: str) -> Told:
        return await self.steps.spans(request_id, trace)

    async def cancel(self, request_id: str) -> bool:
        return await asking.cancel(self.steps, request_id)

    async def workers(self) -> int:
        return await self.steps.workers()

    async def depth(self) -> int:
        return self.steps.depth

    @asynccontextmanager
    async def attach(self, card: WorkerCard = NOBODY) -> AsyncGenerator[Inbox]:
        self.steps.attached += 1
        try:
            async with serving(self.steps, [""], card, lease_s=15, leave_s=1) as inbox:
                yield inbox
        finally:
            self.steps.attached -= 1


@dataclass(slots=True)
class _Kept:
    """A job, from its admission until its log is dropped."""

    data: bytes
    until: float
    client: str
    record: bytes = b""
    epoch: int = 0
    owner: str | None = None
    done: float | None = None
    cancelled: bool = False
    since: float = field(default_factory=time.monotonic)
    spans: dict[str, bytes] = field(default_factory=dict[str, bytes])
    told: bool = False
    log: list[tuple[int, int, bytes]] = field(default_factory=list[tuple[int, int, bytes]])


class MemorySteps:
    """See `Steps`. One event loop does everything, so each method without an `await` inside is a step."""

    def __init__(self, patience_s: float) -> None:
        self.attached = 0
        self.away_s = 0.0
        self._patience_s = patience_s
        self._jobs: dict[str, _Kept] = {}
        self._waiting: deque[str] = deque()
        self._arrived = anyio.Event()
        self._same: dict[tuple[str, str], str] = {}
        self._readers: dict[str, list[MemoryObjectSendStream[Heard]]] = {}

    @asynccontextmanager
    async def listen(self, request_id: str) -> AsyncGenerator[MemoryObjectReceiveStream[Heard]]:
        # Unbounded: one answer's length is the most that a reader can lag behind.
        said, heard = anyio.create_memory_object_stream[Heard](float("inf"))
        readers = self._readers.setdefault(request_id, [])
        readers.append(said)
        with said, heard:
            try:
                yield heard
            finally:
                readers.remove(said)
                if not readers:
                    self._readers.pop(request_id, None)

    def cancels(self) -> AbstractAsyncContextManager[MemoryObjectReceiveStream[Heard]]:
        return self.listen("")

    async def admit(self, request_id: str, data: bytes, terms: Terms) -> Admitted:
        self._drop_old()
        if request_id in self._jobs:
            return Admitted(request_id)
        same = self._same.get((terms.client, terms.idem)) if terms.idem else None
        if same in self._jobs:
            return Admitted(same)
        if terms.depth and len(self._waiting) >= terms.depth:
            raise Busy(f"{len(self._waiting)} jobs are waiting already", retry_after_s=5)
        if terms.quota and self._of(terms.client) >= terms.quota:
            raise Busy(f"{terms.quota} answers of yours are under way already", retry_after_s=5)
        deadline = time.monotonic() + terms.deadline_ms / 1000
        self._jobs[request_id] = _Kept(data, deadline, terms.client, terms.record)
        if terms.idem:
            self._same[terms.client, terms.idem] = request_id
        self._put(request_id)
        return Admitted(request_id, is_new=True)

    async def read(self, request_id: str, after: tuple[int, int]) -> Logged:
        kept = self._jobs.get(request_id)
        if not kept:
            return Logged(known=False)
        return Logged(True, tuple(data for epoch, seq, data in kept.log if (epoch, seq) > after))

    async def record(self, request_id: str) -> bytes | None:
        kept = self._jobs.get(request_id)
        return kept.record or None if kept else None

    async def spans(self, request_id: str, trace: str) -> Told:
        kept = self._jobs.get(request_id)
        if not kept:
            return Told()
        return Told(kept.spans.pop(trace, b""), bool(kept.done), kept.told)

    async def tell(self, request_id: str, trace: str, spans: bytes) -> None:
        kept = self._jobs.get(request_id)
        if not kept:
            return
        told = kept.spans.get(trace, b"") + spans
        if len(told) <= SPANS_MOST:
            kept.spans[trace] = told
        kept.told = bool(kept.done)

    async def cancel(self, request_id: str, final: bytes) -> bool:
        kept = self._jobs.get(request_id)
        if not kept or kept.done:
            return False
        kept.cancelled = True
        self._publish("", request_id.encode())
        if request_id in self._waiting:
            self._waiting.remove(request_id)
            kept.epoch += 1
            self._write(request_id, kept, 1, final)
            kept.done = time.monotonic()
        return True

    async def workers(self) -> int:
        return self.attached

    @property
    def depth(self) -> int:
        return sum(not kept.done for kept in self._jobs.values())

    async def trim(self, stream: str, request_id: str) -> None: ...

    async def take(self, worker: str, streams: Sequence[str], slots: int, held: int) -> list[Taken]:
        with anyio.move_on_after(self._patience_s):
            while not self._waiting:
                await self._arrived.wait()
        names = [self._waiting.popleft() for _ in range(min(slots, len(self._waiting)))]
        return [Taken("", name, self._jobs[name].data) for name in names]

    async def start(self, worker: str, taken: Taken, request_id: str) -> Started:
        kept = self._jobs[request_id]
        if kept.done:
            return Started("done")
        kept.epoch, kept.owner = kept.epoch + 1, worker
        frames = tuple(data for _, _, data in kept.log)
        now = time.monotonic()
        state = "cancelled" if kept.cancelled else "ours"
        return Started(state, kept.epoch, kept.until - now, frames, now - kept.since)

    async def append(self, frames: Sequence[Frame]) -> list[bool]:
        ours: list[bool] = []
        for frame in frames:
            kept = self._jobs[frame.request_id]
            ours.append(kept.epoch == frame.epoch and not kept.done)
            if ours[-1]:
                self._write(frame.request_id, kept, frame.seq, frame.data)
        # An engine that never waits must not starve the readers.
        await checkpoint()
        return ours

    async def finish(self, worker: str, frame: Frame) -> bool:
        kept = self._jobs[frame.request_id]
        if kept.epoch != frame.epoch:
            return False
        if not kept.done:
            self._write(frame.request_id, kept, frame.seq, frame.data)
            kept.done = time.monotonic()
        return True

    async def beat(self, worker: str, held: Sequence[Frame], figures: Figures) -> Beat:
        return Beat()  # who shares a process is told at once

    async def hand_back(self, worker: str, frame: Frame) -> None:
        kept = self._jobs[frame.request_id]
        if kept.epoch == frame.epoch and not kept.done:
            self._put(frame.request_id)

    async def bury(self, worker: str, taken: Taken, reason: str, request_id: str | None, final: bytes) -> None:
        raise AssertionError("a job that was written here can be read here")

    async def leave(self, worker: str) -> None: ...

    def _put(self, request_id: str) -> None:
        self._waiting.append(request_id)
        self._arrived.set()
        self._arrived = anyio.Event()

    def _of(self, client: str) -> int:
        return sum(kept.client == client and not kept.done for kept in self._jobs.values())

    def _write(self, request_id: str, kept: _Kept, seq: int, data: bytes) -> None:
        kept.log.append((kept.epoch, seq, data))
        self._publish(request_id, data)

    def _publish(self, channel: str, data: bytes) -> None:
        for reader in self._readers.get(channel, ()):
            reader.send_nowait(data)

    def _drop_old(self) -> None:
        ended = [name for name, kept in self._jobs.items() if kept.done]  # in the order of their admission
        oldest = time.monotonic() - KEPT_MS / 1000
        for position, name in enumerate(ended):
            if position < len(ended) - _KEPT or (self._jobs[name].done or 0) < oldest:
                del self._jobs[name]
        self._same = {key: name for key, name in self._same.items() if name in self._jobs}
