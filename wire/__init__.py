"""What the processes say to each other: a job goes one way, replies come back. PROTOCOL: `wire.messages`.

wire.asking     the bridge's end    send, resume, cancel       replies merged by number, holes filled from the log
wire.serving    the worker's end    take, hold, emit, finish   leases, frames, hand-over
wire.steps      what both ask of a queue, each step at once or not at all
wire.memory, wire.redis             the two adapters of those steps
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from wire.messages import Delta, ErrorCode, Final, Job, Malformed, Metadata, Passage, Reply, Turn, Usage

__all__ = [
    "NOBODY",
    "Busy",
    "Delivery",
    "Delta",
    "ErrorCode",
    "Final",
    "Hold",
    "Inbox",
    "Job",
    "Malformed",
    "Metadata",
    "Passage",
    "QueueDown",
    "Reply",
    "Said",
    "Told",
    "Turn",
    "Unknown",
    "Usage",
    "Wire",
    "WorkerCard",
]


class QueueDown(Exception):
    """The queue cannot be reached or has refused us; the message says where it is and what to do."""


class Busy(Exception):
    """The job is not admitted: the answer would come too late, or this client asks too much at once."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unknown(LookupError):
    """No such request, or its answer is too old to be kept."""


@dataclass(frozen=True, slots=True)
class Said:
    """What of an answer is out already: another worker began it."""

    text: str = ""
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What workers' spans tell of a job, in OTLP, as far as it was not handed out before. `ended`: the job is over;
    `whole`: and who ended it has told what it had to tell."""

    data: bytes = b""
    ended: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class WorkerCard:
    """What a worker says of itself. `model`: it also takes the jobs that name this one."""

    engine: str = ""
    model: str | None = None
    slots: int = 1


NOBODY = WorkerCard()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job in a worker's hands, until it is held and finished. `stream` and `entry` are the queue's own names."""

    job: Job
    stream: str = ""
    entry: str = ""


class Wire(Protocol):
    """Both ends. Every call may raise `QueueDown`, and does so within seconds rather than hang."""

    def send(self, job: Job, record: bytes = ...) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        """Listens, then enqueues the job; iterates `Delta* Final` and stops. Leaving early stops listening.

        `record` is kept beside the job as long as its answer: what who resumes it must know, in words of their own.
        Raises `Malformed` for a job that cannot be written, `Busy` for one that is not admitted. How long a silence may
        last is the caller's to say.
        """
        ...

    def listening(self, request_id: str) -> AbstractAsyncContextManager[None]:
        """Within it a `send` of that request listens already, and has one call less to wait for."""
        ...

    def resume(
        self, request_id: str, after: tuple[int, int] = ...
    ) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        """Goes on after the reply of that (epoch, seq), or from the start, in any process. Raises `Unknown`."""
        ...

    async def record(self, request_id: str) -> bytes | None:
        """What was kept beside a job; None where nothing was, or nothing is any more."""
        ...

    async def spans(self, request_id: str, trace: str) -> Told:
        """What was told of a job in this trace, once: `SPANS_MOST` bytes of it and one more at most."""
        ...

    async def cancel(self, request_id: str) -> bool:
        """Stops the job wherever it is; its readers get a final. Whether there was anything to stop. Where this raises
        `QueueDown`, or is not waited for, the job is stopped once the queue is back, if this process is still there."""
        ...

    async def workers(self) -> int:
        """How many live workers listen."""
        ...

    async def depth(self) -> int:
        """How many jobs wait or are under way, whoever has sent them."""
        ...

    def attach(self, card: WorkerCard = ...) -> AbstractAsyncContextManager["Inbox"]:
        """The worker's end. Entering asks nothing of the queue, so a worker may start before it."""
        ...


class Inbox(Protocol):
    """An attached worker's end of the wire."""

    async def take(self, slots: int) -> list[Delivery]:
        """At most `slots` jobs; waits a second or so for the first, then returns without any."""
        ...

    def drain(self) -> None:
        """Nothing will be taken any more: who asks for workers is told."""
        ...

    async def tell(self, request_id: str, trace: str, spans: bytes) -> None:
        """What our spans tell of a job that is out of our hands, for whoever asks `Wire.spans`; nothing tells that
        nothing comes. More than `SPANS_MOST` bytes of one job are not kept."""
        ...

    def hold(self, delivery: Delivery) -> AbstractAsyncContextManager["Hold"]:
        """Ours from here on, until another worker is given it. The body is cancelled when the job is lost, cancelled or
        too late; what the reader is owed then is said here. A job that is left unfinished is handed back."""
        ...


class Hold(Protocol):
    """One job under way."""

    said: Said
    waited_s: float
    """From the job's admission until now, by the queue's clock alone."""
    ended: Literal["lost", "cancelled", "deadline", "finished"] | None
    """Why the body was cancelled, once it was; "finished" also where nothing was left to do from the start."""

    async def emit(self, delta: Delta) -> None:
        """On its way at once if nothing was for 25 ms, else when they are over. Waits if the queue cannot keep up."""
        ...

    async def finish(self, final: Final) -> None:
        """The final goes out and the job is acknowledged, in one step. An outage of the queue is waited for."""
        ...
