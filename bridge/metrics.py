"""`GET /metrics`: what the index holds and how the queue fares, as Prometheus reads it (text format 0.0.4)."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import anyio

from wire import QueueDown

if TYPE_CHECKING:
    from wire.redis.office import Office, Queue

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LIMIT_S = 1.5  # for the queue: a scrape that waits is a scrape that is missed

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
    documents: int
    chunks: int
    pending: int
    failed: int


async def page(index: Index, office: "Office | None") -> bytes:
    """`office`: the queue's, where there is one. A queue that is away is a figure, too."""
    queue: Queue | None = None
    if office:
        with anyio.move_on_after(LIMIT_S), suppress(QueueDown):
            queue = await office.figures()
    lines = list(_of_index(index))
    if office:
        lines += _metric("tandem_queue_up", "Whether the queue answers.", int(queue is not None))
    if queue:
        lines += _of_queue(queue)
    return "".join(f"{line}\n" for line in lines).encode()


def _of_index(index: Index) -> Iterator[str]:
    yield from _metric("tandem_index_documents", "Documents in the index.", index.documents)
    yield from _metric("tandem_index_chunks", "Chunks in the index.", index.chunks)
    yield from _metric("tandem_index_pending", "Files that wait to be indexed.", index.pending)
    yield from _metric("tandem_index_failed", "Files that could not be read.", index.failed)


def _of_queue(queue: "Queue") -> Iterator[str]:
    depth = {stream.name: stream.depth for stream in queue.streams}
    waiting = {stream.name: stream.waiting for stream in queue.streams}
    wait = {stream.name: stream.wait_s for stream in queue.streams if stream.wait_s is not None}
    yield from _labelled("tandem_queue_depth", "Jobs in the queue, those under way among them.", "stream", depth)
    yield from _labelled("tandem_queue_waiting", "Jobs that no worker has begun.", "stream", waiting)
    yield from _labelled("tandem_queue_wait_seconds", "How long a new job would wait, about.", "stream", wait)
    yield from _metric("tandem_queue_in_flight", "Jobs that a worker has.", queue.in_flight)
    yield from _metric("tandem_queue_suspects", "Groups of jobs that died with their worker.", queue.suspects)
    yield from _metric("tandem_queue_dead_letters", "Jobs given up and kept.", queue.dead)
    states = {state: sum(worker.state == state for worker in queue.workers) for state in _STATES}
    yield from _labelled("tandem_queue_workers", "Workers by state.", "state", states)
    live = [worker for worker in queue.workers if worker.is_live]
    rate = sum(worker.tokens_per_s for worker in live)
    yield from _metric("tandem_queue_slots", "Jobs that the live workers take at once.", sum(one.slots for one in live))
    yield from _metric("tandem_queue_tokens_per_second", "What the live workers generate now, together.", rate)
    # Of a worker without a job yet nothing is known: no figure rather than a fast one.
    if told := [worker.first_token_s for worker in live if worker.first_token_s]:
        yield from _metric("tandem_queue_first_token_seconds", "From a job's start to its first token.", fmean(told))
    if told := [worker.mean_s for worker in live if worker.mean_s]:
        yield from _metric("tandem_queue_job_seconds", "From a job's start to its end.", fmean(told))
    for name, count in queue.counters.items():
        yield from _metric(f"tandem_queue_{name}_total", _COUNTED[name], count, "counter")


def _metric(name: str, help_: str, value: float, kind: str = "gauge") -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}", f"{name} {value:.15g}"]


def _labelled(name: str, help_: str, label: str, values: Mapping[str, float]) -> list[str]:
    samples = [f'{name}{{{label}="{_escaped(key)}"}} {value:.15g}' for key, value in values.items()]
    return [f"# HELP {name} {help_}", f"# TYPE {name} gauge", *samples]


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
