"""What the spans of a job tell goes home through the queue, to a sender who has asked for it.

    hold, generate, finish --slot free--> pack --tell--> beside the job, until the sender takes it

Nothing that the job says waits for it; spans that cannot be told within TELL_S are lost, and the job is not.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress

import anyio
from anyio import to_thread
from opentelemetry.trace import format_trace_id, get_current_span

from inference_server.spans import parent_of
from wire import Inbox, Job, QueueDown
from wire.steps import SPANS_MOST

TELL_S = 2.0

logger = logging.getLogger(__name__)

Pack = Callable[[int], bytes]
"""What is kept so far, in OTLP, of at most so many bytes; nothing where there is nothing."""
Keep = Callable[[int], AbstractContextManager[Pack]]
"""Trace id -> its spans that end from now on are kept until the body ends."""


@asynccontextmanager
async def telling(inbox: Inbox, job: Job, keep: Keep | None) -> AsyncGenerator[None]:
    """`keep`: none where this worker's spans have a collector of their own; then the sender is told that none come."""
    parent = get_current_span(parent_of(job)).get_span_context()
    if not (job.metadata.spans and parent.is_valid):
        yield
        return
    with keep(parent.trace_id) if keep else nullcontext(_nothing) as pack:
        try:
            yield
        finally:
            await _tell(inbox, job.request_id, format_trace_id(parent.trace_id), pack)


async def _tell(inbox: Inbox, request_id: str, trace: str, pack: Pack) -> None:
    with anyio.move_on_after(TELL_S, shield=True), suppress(QueueDown):
        try:
            data = await to_thread.run_sync(pack, SPANS_MOST)
        except Exception:
            logger.exception("the spans of job %s could not be packed", request_id)
            data = b""
        await inbox.tell(request_id, trace, data)


def _nothing(_: int) -> bytes:
    return b""
