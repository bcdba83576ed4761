"""`GET /metrics`: what the index holds and how its queues fare, as Prometheus reads it (text format 0.0.4)."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import TYPE_CHECKING

import anyio

from bridge.exposition import Sample, family
from wire import QueueDown

if TYPE_CHECKING:
    from bridge.settings import Settings
    from observability.traces import Traces
    from wire.redis.office import Office, Queue, Worker

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LIMIT_S = 1.5  # for the queues: a scrape that waits is a scrape that is missed

_STATES = ("ready", "draining", "silent", "old")
_COUNTED = {
    "admitted": "Jobs that went into the queue.",
    "refused": "Jobs that were not admitted: too many wait, or the answer would come too late.",
    "finished": "Jobs that a worker has answered.",
    "reclaimed": "Jobs that another worker took over.",
    "dead": "Jobs that were given up.",
    "cancelled": "Jobs whose asker wanted no answer any more.",
    "retried": "Dead jobs that were sent again.",
}


@dataclass(frozen=True, slots=True)
class Index:
    """`as_of`: ISO 8601, null before the first run."""

    documents: int
    chunks: int
    pending: int
    failed: int
    as_of: str | None = None


@asynccontextmanager
async def offices(settings: "Settings") -> AsyncGenerator[Mapping[str, "Office"]]:
    """Of the queues that this index has its work done through, by their names: answers', texts' to embed, or none."""
    keys = [settings.redis_stream_key] if settings.engine == "redis" else []
    if settings.embed == "remote":
        from wire import embedding

        keys.append(embedding.queue(settings.redis_stream_key))
    async with AsyncExitStack() as stack:
        found: dict[str, Office] = {}
        for key in keys:
            from wire.redis import RedisWire

            assert settings.redis_url is not None
            wire = RedisWire(settings.redis_url, key, settings.redis_key, lease_s=settings.lease_s)
            found[key] = (await stack.enter_async_context(wire)).office()
        yield found


async def page(index: Index, offices: Mapping[str, "Office"], more: Iterable[str] = ()) -> bytes:
    """A queue that is away is a figure, too. `more`: lines of others."""
    queues: dict[str, Queue] = {}

    async def ask(key: str, office: "Office") -> None:
        with suppress(QueueDown):
            queues[key] = await office.figures()

    with anyio.move_on_after(LIMIT_S):
        async with anyio.create_task_group() as tasks:
            for key, office in offices.items():
                tasks.start_soon(ask, key, office)
    lines = [*_of_index(index), *more]
    up: list[Sample] = [({"queue": key}, int(key in queues)) for key in offices]
    lines += family("tandem_queue_up", "Whether the queue answers.", up)
    lines += _of_queues({key: queues[key] for key in offices if key in queues})
    return "".join(f"{line}\n" for line in lines).encode()


def _of_index(index: Index) -> Iterator[str]:
    yield from family("tandem_index_documents", "Documents in the index.", _one(index.documents))
    yield from family("tandem_index_chunks", "Chunks in the index.", _one(index.chunks))
    yield from family("tandem_index_pending", "Files that wait to be indexed.", _one(index.pending))
    yield from family("tandem_index_failed", "Files that could not be read.", _one(index.failed))
    if index.as_of:
        when = _one(datetime.fromisoformat(index.as_of).timestamp())
        yield from family("tandem_index_as_of_timestamp_seconds", "As of when the index speaks.", when)


def of_traces(traces: "Traces", *, on: bool) -> Iterator[str]:
    yield from family("tandem_traces_on", "Whether traces were asked for.", _one(on))
    yield from family("tandem_traces_problem", "Whether traces do not get through.", _one(traces.problem is not None))
    dropped = "Spans that will never arrive."
    yield from family("tandem_traces_dropped_total", dropped, _one(traces.dropped), "counter")
    refused = "What workers told as spans and was not taken: of another trace, too much, or not known."
    yield from family("tandem_traces_refused_total", refused, _one(traces.refused), "counter")


def _of_queues(queues: Mapping[str, "Queue"]) -> Iterator[str]:
    """A family's samples stand together, whatever queue they are of."""
    for name, (help_, told) in _GAUGES.items():
        samples = [({"queue": key, **labels}, value) for key, queue in queues.items() for labels, value in told(queue)]
        yield from family(f"tandem_queue_{name}", help_, samples)
    for name, help_ in _COUNTED.items():
        samples = [({"queue": key}, queue.counters[name]) for key, queue in queues.items()]
        yield from family(f"tandem_queue_{name}_total", help_, samples, "counter")


def _one(value: float) -> Sequence[Sample]:
    return [({}, value)]


def _mean(values: Iterable[float]) -> Sequence[Sample]:
    """Of a worker without a job yet nothing is known: no figure rather than a fast one."""
    known = [value for value in values if value]
    return _one(fmean(known)) if known else []


def _live(queue: "Queue") -> "Sequence[Worker]":
    return [worker for worker in queue.workers if worker.is_live]


_GAUGES: dict[str, tuple[str, "Callable[[Queue], Sequence[Sample]]"]] = {
    "depth": (
        "Jobs in the queue, those under way among them.",
        lambda queue: [({"stream": stream.name}, stream.depth) for stream in queue.streams],
    ),
    "waiting": (
        "Jobs that no worker has begun.",
        lambda queue: [({"stream": stream.name}, stream.waiting) for stream in queue.streams],
    ),
    "wait_seconds": (
        "How long a new job would wait, about.",
        lambda queue: [({"stream": one.name}, one.wait_s) for one in queue.streams if one.wait_s is not None],
    ),
    "in_flight": ("Jobs that a worker has.", lambda queue: _one(queue.in_flight)),
    "suspects": ("Groups of jobs that died with their worker.", lambda queue: _one(queue.suspects)),
    "dead_letters": ("Jobs given up and kept.", lambda queue: _one(queue.dead)),
    "workers": (
        "Workers by state.",
        lambda queue: [({"state": state}, sum(worker.state == state for worker in queue.workers)) for state in _STATES],
    ),
    "slots": (
        "Jobs that the live workers take at once.",
        lambda queue: _one(sum(worker.slots for worker in _live(queue))),
    ),
    "tokens_per_second": (
        "What the live workers generate now, together.",
        lambda queue: _one(sum(worker.tokens_per_s for worker in _live(queue))),
    ),
    "first_token_seconds": (
        "From a job's start to its first token.",
        lambda queue: _mean(worker.first_token_s for worker in _live(queue)),
    ),
    "job_seconds": (
        "From a job's start to its end.",
        lambda queue: _mean(worker.mean_s for worker in _live(queue)),
    ),
}
