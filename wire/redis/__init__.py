"""The wire through Redis 6.2 or newer: PROTOCOL's fixed part, which old bridges and old workers speak too, and ours.

stream {key}            job entries, field `data`      bridge XADD -> worker XREADGROUP, XACK, XDEL
group  gpu_workers      from id 0, made by whichever worker comes first
pub/sub result:{id}     replies                        worker PUBLISH -> bridge
{key}:...               leases, logs, the dead         `wire.redis.lua`
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Self

from wire import NOBODY, Inbox, Told, WorkerCard, asking
from wire.messages import Job, Malformed, Reply
from wire.redis.dead import DeadLetters
from wire.redis.ear import Ear
from wire.redis.office import Office
from wire.redis.rights import missing
from wire.redis.server import Server
from wire.redis.steps import GROUP, RedisSteps
from wire.serving import serving
from wire.steps import KEPT_MS
from wire.tasks import background

# Names of keys below the stream's: no model's.
_OURS = frozenset(
    ("job", "rlog", "cancel", "ctl", "workers", "worker", "held", "suspects", "draining", "inflight", "idem")
) | {"inference_dead", "counters"}

__all__ = ["GROUP", "RedisWire"]


class RedisWire:
    """Both ends: `async with RedisWire(url) as wire`. Entering asks nothing of the server.

    `key` is the stream's; `password` is used where the URL has none; `patience_s` is how long a `take` waits for
    a first job; a worker silent for `lease_s` loses its jobs; a server silent for `limit_s` is down; `depth` and
    `quota`: how many jobs may be in the queue, and under way for one client (0: any number); `silence_s`: the longest
    wait of a reader for the next piece, three quarters of it for a server that is away; `kept_s`: how long the answers
    to what is sent here are kept.
    """

    def __init__(
        self,
        url: str,
        key: str = "inference_queue",
        password: str | None = None,
        patience_s: float = 1.0,
        lease_s: float = 15.0,
        limit_s: float = 2.0,
        depth: int = 0,
        quota: int = 0,
        silence_s: float = 60.0,
        kept_s: float = KEPT_MS / 1000,
    ) -> None:
        self._key, self._lease_s, self._limit_s = key, lease_s, limit_s
        self._depth, self._quota = depth, quota
        self._patience_s, self._silence_s, self._kept_s = patience_s, silence_s, kept_s
        self._server = Server(url, password, limit_s)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._server.close)
            tasks = await opened.enter_async_context(background())
            opened.enter_context(self._server.keeping_ready(tasks))
            self._ear = Ear(self._server, tasks)
            self.steps = self._steps()
            self._cancels = asking.Cancels(self.steps, tasks)
            opened.callback(self._cancels.leave)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    def send(self, job: Job, record: bytes = b"") -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        return asking.sending(self.steps, job, self._stream(job.metadata.model), self._depth, self._quota, record)

    def listening(self, request_id: str) -> AbstractAsyncContextManager[None]:
        return asking.listening(self.steps, request_id)

    def resume(
        self, request_id: str, after: tuple[int, int] = (0, 0)
    ) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        return asking.resuming(self.steps, request_id, after, self._key)

    async def record(self, request_id: str) -> bytes | None:
        return await asking.twice(lambda: self.steps.record(request_id))

    async def spans(self, request_id: str, trace: str) -> Told:
        return await self.steps.spans(request_id, trace)

    async def cancel(self, request_id: str) -> bool:
        return await self._cancels.cancel(request_id)

    async def workers(self) -> int:
        return await asking.twice(self.steps.workers)

    async def depth(self) -> int:
        return (await self.office().figures()).depth

    def office(self) -> Office:
        return Office(self._server, self._key, GROUP, self._lease_s)

    async def missing_rights(self) -> list[str]:
        """The commands that a bridge needs and this user may not give. Raises QueueDown."""
        return await missing(self._server, self._key)

    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self._server, self._key)

    @asynccontextmanager
    async def attach(self, card: WorkerCard = NOBODY) -> AsyncGenerator[Inbox]:
        streams = [self._key, *([self._stream(card.model)] if card.model else [])]
        # A worker's steps know what it has joined and whether it is alone with its jobs.
        async with serving(self._steps(), streams, card, self._lease_s, self._limit_s) as inbox:
            yield inbox

    def _stream(self, model: str | None) -> str:
        """Raises Malformed for a model that is named as one of our own keys."""
        if model and model.split(":")[0] in _OURS:
            raise Malformed(f"expected the name of a model, found {model!r}, which the queue uses itself")
        return f"{self._key}:{model}" if model else self._key

    def _steps(self) -> RedisSteps:
        return RedisSteps(
            self._server, self._ear, self._key, self._lease_s, self._patience_s, self._silence_s, self._kept_s
        )
