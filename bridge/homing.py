"""What the spans of our jobs tell comes home through the queue: a worker needs no way to a collector of ours.

send --job--> worker              once a job has ended, or was left: asked for until its worker has told,
gather --> Wire.spans --> Traces  for LIMIT_S at most; nobody who reads an answer waits for it
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import msgspec
from opentelemetry.trace import format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from bridge import spans
from bridge.draft import Draft
from observability.traces import Asked, Off, Traces
from wire import Job, QueueDown, Reply, Told, Wire
from wire.tasks import background

LIMIT_S = 5.0
LEAVE_S = 0.5  # for what has ended already
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_LEAVING_PAUSE_S = 0.02


@asynccontextmanager
async def homing(traces: Traces) -> AsyncGenerator["Homing"]:
    async with background() as tasks:
        yield Homing(traces, tasks)


class Homing:
    """Where nothing is traced it does nothing."""

    def __init__(self, traces: Traces, tasks: anyio.abc.TaskGroup) -> None:
        self._traces, self._tasks = traces, tasks
        self._under_way: set[anyio.CancelScope] = set()
        self._leaving, self._idle = anyio.Event(), anyio.Event()

    def over(self, wire: Wire) -> Wire:
        """The same wire; the spans of what is sent by it come home."""
        return wire if isinstance(self._traces, Off) else Homeward(wire, self)

    def gather(self, wire: Wire, request_id: str, asked: Asked) -> None:
        """Of a job that has ended by now, or is given up."""
        if not isinstance(self._traces, Off) and not self._leaving.is_set():
            asked, scope = replace(asked, until=max(asked.since, spans.now())), anyio.CancelScope()
            self._under_way.add(scope)
            self._tasks.start_soon(self._gather, wire, request_id, asked, scope)

    def resumed(self, wire: Wire, draft: Draft) -> None:
        """Of an answer that another process began."""
        if draft.trace_id and draft.span_id:
            trace, span, since = int(draft.trace_id, 16), int(draft.span_id, 16), round(draft.asked_at * 1e9)
            self.gather(wire, draft.request, Asked(trace, span, since, draft.session))

    async def leave(self) -> None:
        """Before the wires close: what has ended a moment ago is waited for."""
        self._leaving.set()
        with anyio.move_on_after(LEAVE_S, shield=True):
            while self._under_way:
                await self._idle.wait()
        for scope in list(self._under_way):
            scope.cancel()

    async def _gather(self, wire: Wire, request_id: str, asked: Asked, scope: anyio.CancelScope) -> None:
        scope.deadline = anyio.current_time() + LIMIT_S
        try:
            with scope:
                await self._until_told(wire, request_id, asked)
        finally:
            self._under_way.remove(scope)
            self._idle.set()
            self._idle = anyio.Event()

    async def _until_told(self, wire: Wire, request_id: str, asked: Asked) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            told = await _told(wire, request_id, format_trace_id(asked.trace))
            if told.data:
                self._traces.arrived(told.data, asked)
            if told.whole or (self._leaving.is_set() and not told.ended):
                return

    async def _pause(self, pause_s: float) -> None:
        if self._leaving.is_set():
            await anyio.sleep(_LEAVING_PAUSE_S)
        else:
            with anyio.move_on_after(pause_s):
                await self._leaving.wait()


class Homeward:
    """See `Homing.over`."""

    def __init__(self, wire: Wire, homing: Homing) -> None:
        self.wire, self._homing = wire, homing
        self.attach, self.workers, self.depth, self.listening = wire.attach, wire.workers, wire.depth, wire.listening
        self.resume, self.record, self.cancel, self.spans = wire.resume, wire.record, wire.cancel, wire.spans

    def send(self, job: Job, record: bytes = b"") -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        asked = _asked(job)
        return self._sending(job, record, asked) if asked else self.wire.send(job, record)

    @asynccontextmanager
    async def _sending(self, job: Job, record: bytes, asked: Asked) -> AsyncGenerator[AsyncIterator[Reply]]:
        metadata = msgspec.structs.replace(job.metadata, spans=True)
        wanted = msgspec.structs.replace(job, metadata=metadata)
        async with self.wire.send(wanted, record) as replies:
            try:
                yield replies
            finally:
                self._homing.gather(self.wire, job.request_id, asked)


def _asked(job: Job) -> Asked | None:
    """Of a job in a trace that is kept."""
    carrier = {"traceparent": job.metadata.traceparent or ""}
    parent = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    if not (parent.is_valid and parent.trace_flags.sampled):
        return None
    return Asked(parent.trace_id, parent.span_id, spans.now(), job.metadata.session)


async def _told(wire: Wire, request_id: str, trace: str) -> Told:
    try:
        return await wire.spans(request_id, trace)
    except QueueDown:
        return Told()
