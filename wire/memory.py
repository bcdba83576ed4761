"""The wire inside one process. Messages pass through the same JSON as Redis', so that both behave alike."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from wire import Delivery, Inbox
from wire.messages import Delta, Final, Job, Reply, decode_job, decode_replies, encode_job, encode_reply


class MemoryWire:
    """Both ends. Jobs wait here until a worker takes them, and die with the process.

    `patience_s` is how long a `take` waits for a first job.
    """

    def __init__(self, patience_s: float = 1.0) -> None:
        self._patience_s = patience_s
        self._jobs: deque[bytes] = deque()
        self._arrived = anyio.Event()
        self._readers: dict[str, MemoryObjectSendStream[bytes]] = {}
        self._workers = 0

    @asynccontextmanager
    async def send(self, job: Job) -> AsyncGenerator[AsyncIterator[Reply]]:
        if job.request_id in self._readers:
            raise ValueError(f"expected a request_id of its own, but {job.request_id!r} is under way")
        data = encode_job(job)
        # Unbounded: one answer's length is the most that a reader can lag behind.
        published, heard = anyio.create_memory_object_stream[bytes](float("inf"))
        with published, heard:
            self._readers[job.request_id] = published
            try:
                self._jobs.append(data)
                self._arrived.set()
                yield _replies(heard)
            finally:
                del self._readers[job.request_id]

    async def workers(self) -> int:
        return self._workers

    @asynccontextmanager
    async def attach(self) -> AsyncGenerator[Inbox]:
        self._workers += 1
        try:
            yield self
        finally:
            self._workers -= 1

    async def take(self, slots: int) -> list[Delivery]:
        with anyio.move_on_after(self._patience_s):
            while not self._jobs:
                self._arrived = anyio.Event() if self._arrived.is_set() else self._arrived
                await self._arrived.wait()
        jobs = [decode_job(self._jobs.popleft()) for _ in range(min(slots, len(self._jobs)))]
        return [Delivery(job, job.request_id) for job in jobs]

    async def emit(self, delivery: Delivery, delta: Delta) -> None:
        self._publish(delivery, delta)
        # An engine that never waits must not starve the readers.
        await checkpoint()

    async def finish(self, delivery: Delivery, final: Final) -> None:
        self._publish(delivery, final)

    def _publish(self, delivery: Delivery, reply: Reply) -> None:
        # Nobody listens to a reader that has left, as in pub/sub.
        if reader := self._readers.get(delivery.ticket):
            reader.send_nowait(encode_reply(reply))


async def _replies(heard: MemoryObjectReceiveStream[bytes]) -> AsyncIterator[Reply]:
    async for data in heard:
        for reply in decode_replies(data):
            yield reply
            if isinstance(reply, Final):
                return
