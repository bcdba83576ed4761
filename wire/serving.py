"""The worker's end: jobs are held under a lease that beats renew, and what they say leaves in frames.

A frame is what a job has said since its last one, sent with those of all other jobs in one go: at once where the last
one left 25 ms ago or there was none, else when that time is over, or it has 32 pieces. Each has its number; the queue
refuses a frame of a worker that has lost the job, which is how it hears of that at the latest.
"""

import logging
import os
import secrets
import socket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal, TypeVar

import anyio
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from wire import Delivery, QueueDown, Said, WorkerCard
from wire.messages import Delta, Final, Malformed, decode_job, decode_replies, encode_reply, request_id_of
from wire.steps import Figures, Frame, Started, Steps, Taken
from wire.tasks import background

FRAME_PIECES = 32
FRAME_S = 0.025  # faster than anybody reads; a call to the queue costs as much as ten tokens
_CALM = 16  # answers at once that one processor bears at that rate; with more of them frames are rarer
_AHEAD = 512  # pieces that a job may be ahead of the queue
_RUSH = 16
_PAUSE_S = 0.1
_BEAT_S = 1.0  # at most; a third of a short lease
_RECENT = 0.2  # the weight of the latest job in the means

_Ended = Literal["lost", "cancelled", "deadline", "finished"]
_T = TypeVar("_T")
_ENDS = {
    "cancelled": Final(error="the answer was cancelled", error_code="cancelled"),
    "deadline": Final(error="the answer's time was up", error_code="deadline"),
}

logger = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    steps: Steps, streams: Sequence[str], card: WorkerCard, lease_s: float, leave_s: float
) -> AsyncGenerator["Serving"]:
    inbox = Serving(steps, streams, card, lease_s)
    try:
        async with background() as tasks:
            tasks.start_soon(inbox.flush)
            tasks.start_soon(inbox.beat)
            tasks.start_soon(inbox.hear_cancels)
            yield inbox
    finally:  # after its last beat, which would say that it lives
        with anyio.move_on_after(leave_s, shield=True), suppress(QueueDown):
            await inbox.leave()


class Serving:
    """An attached worker; see `Inbox`."""

    def __init__(self, steps: Steps, streams: Sequence[str], card: WorkerCard, lease_s: float) -> None:
        self.steps, self.name = steps, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._streams, self._card, self._lease_s = streams, card, lease_s
        self._holds: dict[str, Holding] = {}
        self._coming: set[str] = set()  # entries that were taken and are not held yet
        self._waiting: dict[str, Holding] = {}  # with something to send
        self._given_up: dict[str, Frame] = {}  # and not known to the queue as such
        self.flushes = True
        self._touched, self._beat_now = anyio.Event(), anyio.Event()
        self._joined = False
        self._draining = False
        self._mean_s = self._first_s = 0.0
        self._pieces, self._rate, self._counted = 0, 0.0, anyio.current_time()

    async def take(self, slots: int) -> list[Delivery]:
        if not self._joined:
            await self._one_beat()  # who takes is known by name before
            self._joined = True
        deliveries: list[Delivery] = []
        for taken in await self.steps.take(self.name, self._streams, slots, len(self._holds) + len(self._coming)):
            try:
                deliveries.append(Delivery(decode_job(taken.data), taken.stream, taken.entry))
                self._coming.add(taken.entry)
            except Malformed as error:
                await self._bury(taken, error)
        return deliveries

    async def _bury(self, taken: Taken, error: Malformed) -> None:
        logger.warning("job entry %s refused: %s", taken.entry, error)
        final = Final(error=f"the job cannot be read: {error}", error_code="invalid_job", seq=1)
        request_id = request_id_of(taken.data)
        with suppress(QueueDown):  # then it lapses, and is buried later
            await self.steps.bury(self.name, taken, str(error), request_id, encode_reply(final))

    @asynccontextmanager
    async def hold(self, delivery: Delivery) -> AsyncGenerator["Holding"]:
        request_id = delivery.job.request_id
        taken = Taken(delivery.stream, delivery.entry, b"")
        started = await self._start(taken, request_id)
        holding = Holding(self, delivery, started)
        before = self._holds.get(request_id)
        if before and started.epoch:  # the same job under two entries: the later start has the log
            before.end("lost")
        self._holds[request_id] = holding
        try:
            with holding.scope:
                holding.begin(started)
                yield holding
            holding.stopped()
        finally:
            with anyio.CancelScope(shield=True):
                await self._close(holding)
            if self._holds.get(request_id) is holding:
                del self._holds[request_id]

    async def _start(self, taken: Taken, request_id: str) -> Started:
        """Goes to its end: a job that was started and not held would look as if its worker had died."""
        started = Started("lost")
        with anyio.CancelScope(shield=True):
            try:
                started = await self.patiently(lambda: self.steps.start(self.name, taken, request_id))
            finally:
                self._coming.discard(taken.entry)
        return started

    async def _close(self, holding: "Holding") -> None:
        if holding.ended in _ENDS:
            await holding.finish(_ENDS[holding.ended])
        elif holding.ended is None:
            with suppress(QueueDown):
                await self.steps.hand_back(self.name, holding.frame_of(b""))

    def drain(self) -> None:
        self._draining = True
        self._beat_now.set()

    def touch(self, holding: "Holding") -> None:
        """It has something to send."""
        if not self._waiting or holding.is_due(anyio.current_time()):
            self._touched.set()
        self._waiting[holding.request_id] = holding

    def ended(self, first_s: float, took_s: float) -> None:
        """A job has ended well."""
        self._mean_s = took_s if not self._mean_s else (1 - _RECENT) * self._mean_s + _RECENT * took_s
        self._first_s = first_s if not self._first_s else (1 - _RECENT) * self._first_s + _RECENT * first_s

    @property
    def frame_s(self) -> float:
        return FRAME_S * max(1.0, len(self._holds) / _CALM)

    async def flush(self) -> None:
        """Sends frames as they fall due."""
        try:
            await self._flush()
        finally:
            self.flushes = False
            for holding in self._holds.values():
                holding.drop()

    async def _flush(self) -> None:
        while True:
            now = anyio.current_time()
            self._waiting = {name: one for name, one in self._waiting.items() if one.has_more}
            due = [one for one in self._waiting.values() if one.is_due(now)]
            if not due:
                rest = min((one.left + self.frame_s - now for one in self._waiting.values()), default=float("inf"))
                self._touched = anyio.Event()
                with anyio.move_on_after(rest):
                    await self._touched.wait()
                continue
            # Whoever would be due soon goes along: one pipeline for many jobs.
            due = [one for one in self._waiting.values() if one.is_due(now + FRAME_S / 2)]
            frames = [one.frame() for one in due]
            try:
                kept = await self.steps.append(frames)
            except QueueDown:
                await anyio.sleep(_PAUSE_S)  # they are sent again; the beat tells when that is in vain
                continue
            for one, ours in zip(due, kept, strict=True):
                self._pieces += one.sent(ours)

    async def beat(self) -> None:
        """Renews the leases; without that for two thirds of one, what is held is lost."""
        worked = anyio.current_time()
        while True:
            with anyio.move_on_after(min(_BEAT_S, self._lease_s / 3)):
                await self._beat_now.wait()
            self._beat_now = anyio.Event()
            if not self._joined:
                continue
            try:
                await self._one_beat()
                worked = anyio.current_time()
                await self._hand_back()
            except QueueDown as error:
                if self._holds and anyio.current_time() - worked > self._lease_s * 2 / 3:
                    logger.warning("%s; %d jobs are given up, another worker takes them", error, len(self._holds))
                    for holding in list(self._holds.values()):
                        self._given_up[holding.request_id] = holding.frame_of(b"")
                        holding.end("lost")

    async def _one_beat(self) -> None:
        now = anyio.current_time()
        self._rate, self._pieces, self._counted = self._pieces / max(now - self._counted, 1e-3), 0, now
        figures = Figures(
            self._card,
            "draining" if self._draining else "ready",
            len(self._holds),
            self._mean_s,
            self._rate,
            self._first_s,
        )
        held = [holding.frame_of(b"") for holding in self._holds.values()]
        told = await self.steps.beat(self.name, held, figures)
        for request_id in told.lost | told.cancelled:
            if holding := self._holds.get(request_id):
                holding.end("lost" if request_id in told.lost else "cancelled")

    async def _hand_back(self) -> None:
        """What was given up while the queue was away, where nobody has it yet: a beat of ours that was long on its way
        may have renewed its lease."""
        while self._given_up:
            request_id, frame = next(iter(self._given_up.items()))
            if request_id not in self._holds and frame.entry not in self._coming:
                await self.steps.hand_back(self.name, frame)
            del self._given_up[request_id]

    async def hear_cancels(self) -> None:
        while True:
            with suppress(QueueDown):  # until then the beats tell
                async with self.steps.cancels() as heard:
                    async for request_id in heard:
                        if request_id is None:
                            self._beat_now.set()  # a call may have been missed; the flags are still there
                        elif holding := self._holds.get(request_id.decode(errors="replace")):
                            holding.end("cancelled")
            await anyio.sleep(_BEAT_S)

    async def patiently(self, ask: Callable[[], Awaitable[_T]], holding: "Holding | None" = None) -> _T:
        """Raises QueueDown once it has been away for as long as a lease, or the job is lost."""
        since = anyio.current_time()
        while True:
            try:
                return await ask()
            except QueueDown:
                if anyio.current_time() - since > self._lease_s or (holding and holding.ended == "lost"):
                    raise
            await anyio.sleep(_PAUSE_S)

    async def tell(self, request_id: str, trace: str, spans: bytes) -> None:
        await self.patiently(lambda: self.steps.tell(request_id, trace, spans))

    async def leave(self) -> None:
        if self._joined:
            await self.steps.leave(self.name)


class Holding:
    """One job under way; see `Hold`."""

    def __init__(self, inbox: Serving, delivery: Delivery, started: Started) -> None:
        self._inbox, self._delivery, self._epoch = inbox, delivery, started.epoch
        self.request_id = delivery.job.request_id
        self.waited_s = started.waited_s
        self.scope = anyio.CancelScope()
        self.ended: _Ended | None = None
        self.said, self._next = _said(started.frames)
        self._began = anyio.current_time()
        self.left = float("-inf")  # when its last frame did
        self._first_s = 0.0
        self._pieces: deque[Delta] = deque()
        self._sending: tuple[Frame, int] | None = None
        self._news = anyio.Event()

    def begin(self, started: Started) -> None:
        if started.state in ("lost", "done"):
            self.end("lost" if started.state == "lost" else "finished")
        elif started.state == "cancelled" or started.left_s <= 0:
            self.end("cancelled" if started.state == "cancelled" else "deadline")
        else:
            self.scope.deadline = anyio.current_time() + started.left_s

    def end(self, why: _Ended) -> None:
        if self.ended is None or (why == "lost" and self.ended != "finished"):
            self.ended = why
            self._tell()
            self.scope.cancel()

    def stopped(self) -> None:
        """The body is over; if nobody cancelled it by name, then the clock did."""
        if self.ended is None and self.scope.cancelled_caught:
            self.ended = "deadline"

    async def emit(self, delta: Delta) -> None:
        if not delta.chunk.isascii():
            delta.chunk.encode()  # half a surrogate pair costs this job, not the frame that all jobs share
        self._pieces.append(delta)
        if len(self._pieces) == 1 or len(self._pieces) == FRAME_PIECES:
            self._inbox.touch(self)
        if len(self._pieces) % _RUSH == 0:
            await checkpoint()  # an engine that never waits must not starve the others
        while len(self._pieces) > _AHEAD:
            await self._news.wait()

    async def finish(self, final: Final) -> None:
        if self.ended:  # what it said last is not waited for
            self._pieces.clear()
        self.left = float("-inf")  # there is nothing to wait for
        while self.has_more and self.ended != "lost" and self._inbox.flushes:
            self._inbox.touch(self)
            await self._news.wait()
        if self.ended in ("lost", "finished"):
            return
        final = replace(final, seq=self._next, epoch=self._epoch)
        try:
            data = encode_reply(final)
        except Malformed as error:
            final = replace(final, error=f"the engine's last words: {error}", error_code="engine", finish_reason=None)
            data = encode_reply(final)
        frame = self.frame_of(data)
        try:
            ours = await self._inbox.patiently(lambda: self._inbox.steps.finish(self._inbox.name, frame), self)
        except QueueDown as error:
            logger.warning("job %s: its end could not be told: %s", self.request_id, error)
            ours = False
        if ours and not final.error:
            self._inbox.ended(self._first_s, anyio.current_time() - self._began)
        if self.ended is None:
            self.ended = "finished" if ours else "lost"

    @property
    def has_more(self) -> bool:
        return bool(self._pieces or self._sending)

    def is_due(self, now: float) -> bool:
        return bool(self._sending) or len(self._pieces) >= FRAME_PIECES or now - self.left >= self._inbox.frame_s - 1e-3

    def frame(self) -> Frame:
        """What is to be sent now: the same again until the queue has it."""
        if not self._sending:
            pieces = list(self._pieces)
            self._pieces.clear()
            delta = Delta(
                "".join(piece.chunk for piece in pieces),
                self._next,
                self._epoch,
                tuple(token for piece in pieces for token in piece.tokens),
            )
            self._sending = self.frame_of(encode_reply(delta)), len(pieces)
            self.left = anyio.current_time()
            self._first_s = self._first_s or self.left - self._began
        return self._sending[0]

    def frame_of(self, data: bytes) -> Frame:
        return Frame(self._delivery.stream, self._delivery.entry, self.request_id, self._epoch, self._next, data)

    def sent(self, ours: bool) -> int:
        """How many pieces went out."""
        pieces = self._sending[1] if self._sending else 0
        self._sending = None
        self._next += 1
        self._tell()
        if not ours:
            self.end("lost")
        return pieces

    def drop(self) -> None:
        """Nobody sends any more."""
        self._pieces.clear()
        self._sending = None
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def _said(frames: Sequence[bytes]) -> tuple[Said, int]:
    """What a log's frames say, and the number of the next."""
    deltas = [reply for data in frames for reply in decode_replies(data) if isinstance(reply, Delta)]
    tokens = tuple(token for delta in deltas for token in delta.tokens)
    return Said("".join(delta.chunk for delta in deltas), tokens), deltas[-1].seq + 1 if deltas else 1
