"""What the processes say to each other: a job goes one way, replies come back. PROTOCOL: `wire.messages`.

Two adapters carry them, in memory and through Redis, and behave the same.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from wire.messages import Delta, ErrorCode, Final, Job, Malformed, Metadata, Passage, Reply, Turn, Usage

__all__ = [
    "Delivery",
    "Delta",
    "ErrorCode",
    "Final",
    "Inbox",
    "Job",
    "Malformed",
    "Metadata",
    "Passage",
    "QueueDown",
    "Reply",
    "Turn",
    "Usage",
    "Wire",
]


class QueueDown(Exception):
    """The queue cannot be reached or has refused us; the message says where it is and what to do."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job in a worker's hands until `finish`. `ticket` is the adapter's own name for it."""

    job: Job
    ticket: str


class Wire(Protocol):
    """Both ends. Every call may raise `QueueDown`, and does so within seconds rather than hang."""

    def send(self, job: Job) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        """Listens, then enqueues the job; iterates `Delta* Final` and stops. Leaving early stops listening.

        Raises `Malformed` for a job that cannot be written. How long a silence may last is the caller's to say.
        """
        ...

    async def workers(self) -> int:
        """How many live workers listen."""
        ...

    def attach(self) -> AbstractAsyncContextManager["Inbox"]:
        """The worker's end. Entering asks nothing of the queue, so a worker may start before it."""
        ...


class Inbox(Protocol):
    """An attached worker's end of the wire."""

    async def take(self, slots: int) -> list[Delivery]:
        """At most `slots` jobs; waits a second or so for the first, then returns without any."""
        ...

    async def emit(self, delivery: Delivery, delta: Delta) -> None: ...

    async def finish(self, delivery: Delivery, final: Final) -> None:
        """Publishes the final, then acknowledges the job. Safe to repeat."""
        ...
