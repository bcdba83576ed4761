"""What both ends ask of a queue. Each step happens at once or not at all, whoever dies in the middle.

    admit   a job goes in, known by its request_id, unless it is there already
    take    jobs that nobody has, and those whose worker is gone
    start   epoch = a higher one than all before: who wrote under the one before is refused from here on
    append  a frame goes to the log and to who listens: refused under an old epoch, or where the one before is missing
    finish  the final, the acknowledgement and the end of the lease
    tell    what a worker's spans tell of a job is put beside it, for the bridge to take by `spans`
    beat    the lease goes on; which jobs are another's now, and which are cancelled
    cancel  a flag and a call; a job that nobody began ends here

A log holds an answer's frames by (epoch, seq). `seq` counts on when another takes over, so that a reader sees one text.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from anyio.streams.memory import MemoryObjectReceiveStream

from wire import Told, WorkerCard

DEADLINE_MS = 600_000  # of a job that states none
KEPT_MS = 600_000  # a log, after its final
SPANS_MOST = 65_536  # bytes of what is told of one job
DEATHS = 3  # of a worker whose only job it was, until a job is given up


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which a job is admitted. `client` is who asks, "" for nobody in particular. `depth`: jobs waiting at most;
    `quota`: jobs of one client at most; 0: any number. `record`: see `Wire.send`."""

    stream: str
    client: str = ""
    idem: str = ""
    deadline_ms: int = DEADLINE_MS
    depth: int = 0
    quota: int = 0
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request that a job is now: another's id where the client's key was used before. `is_new`: by this call, so
    that nothing of it can have been said before."""

    request_id: str
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    stream: str
    entry: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """`state`: "lost" where another has it, "done" where nothing is left to do. `frames`: what is out already.
    `waited_s`: since its admission."""

    state: Literal["ours", "lost", "done", "cancelled"]
    epoch: int = 0
    left_s: float = 0.0
    frames: tuple[bytes, ...] = ()
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A reply on its way into a log."""

    stream: str
    entry: str
    request_id: str
    epoch: int
    seq: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Logged:
    """What a log holds after some place. `known`: the job is there at all."""

    known: bool
    frames: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """What a worker tells with each beat. `mean_s`: how long a job takes; 0: none has ended yet."""

    card: WorkerCard
    state: Literal["ready", "draining"] = "ready"
    in_flight: int = 0
    mean_s: float = 0.0
    tokens_per_s: float = 0.0
    first_token_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Beat:
    """Of the jobs that a worker believes it has, by request_id."""

    lost: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()


Heard = bytes | None
"""A frame, or none: something may have been missed."""


class Steps(Protocol):
    """Every call may raise `QueueDown`; repeating it then does no harm. `away_s`: how long a reader waits for a queue
    that is away."""

    away_s: float

    def listen(self, request_id: str) -> AbstractAsyncContextManager[MemoryObjectReceiveStream[Heard]]:
        """The frames of a request from now on: the queue has confirmed."""
        ...

    async def admit(self, request_id: str, data: bytes, terms: Terms) -> Admitted:
        """Raises `Busy`."""
        ...

    async def read(self, request_id: str, after: tuple[int, int]) -> Logged:
        """The frames after (epoch, seq)."""
        ...

    async def record(self, request_id: str) -> bytes | None:
        """See `Wire.record`."""
        ...

    async def spans(self, request_id: str, trace: str) -> Told:
        """See `Wire.spans`."""
        ...

    async def cancel(self, request_id: str, final: bytes) -> bool:
        """`final` is for a job that nobody has begun."""
        ...

    async def workers(self) -> int: ...

    async def trim(self, stream: str, request_id: str) -> None:
        """An old worker has ended its job: what it acknowledged and did not delete goes."""
        ...

    # --- the worker's

    def cancels(self) -> AbstractAsyncContextManager[MemoryObjectReceiveStream[Heard]]:
        """The request_ids that are cancelled from now on."""
        ...

    async def take(self, worker: str, streams: Sequence[str], slots: int, held: int) -> list[Taken]:
        """Waits a second or so for the first. `held`: how many it has already."""
        ...

    async def start(self, worker: str, taken: Taken, request_id: str) -> Started: ...

    async def append(self, frames: Sequence[Frame]) -> list[bool]:
        """For each whether it is in its log, once. False: the job is another's."""
        ...

    async def finish(self, worker: str, frame: Frame) -> bool: ...

    async def tell(self, request_id: str, trace: str, spans: bytes) -> None:
        """See `Inbox.tell`."""
        ...

    async def beat(self, worker: str, held: Sequence[Frame], figures: Figures) -> Beat:
        """`held` without data."""
        ...

    async def hand_back(self, worker: str, frame: Frame) -> None:
        """For whoever takes next; not counted as a failure."""
        ...

    async def bury(self, worker: str, taken: Taken, reason: str, request_id: str | None, final: bytes) -> None:
        """A job that nobody can serve: out of the queue, kept among the dead with its reason."""
        ...

    async def leave(self, worker: str) -> None: ...
