"""The heart: take, generate, emit, finish.

    wire --take--> job --generate--> Delta* Final --emit, finish--> wire

The same loop serves the queue in memory and the one in Redis. A crash costs its own job only; a queue that
goes away is waited for.
"""

import logging

import anyio
from msgspec.structs import replace

from inference_server.engines import EngineFailed, Generate
from inference_server.spans import generation
from wire import Delivery, Final, Inbox, QueueDown, Wire

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
# No reader waits longer for a reply.
TELLING_LIMIT_S = 60.0

logger = logging.getLogger(__name__)


async def work(wire: Wire, generate: Generate, *, slots: int, stopped: anyio.Event) -> None:
    """Serves jobs, `slots` at once. When `stopped` is set, takes nothing new and returns once what it took is done."""
    free = anyio.Semaphore(slots)
    outage = _Outage(stopped)
    async with wire.attach() as inbox, anyio.create_task_group() as jobs:
        while not stopped.is_set():
            await free.acquire()
            free.release()
            for delivery in await _take(inbox, free.value, outage):
                free.acquire_nowait()
                jobs.start_soon(_serve, inbox, delivery, generate, free, stopped)


async def _take(inbox: Inbox, slots: int, outage: "_Outage") -> list[Delivery]:
    try:
        deliveries = await inbox.take(slots)
    except QueueDown as error:
        await outage.wait(error)
        return []
    outage.end()
    return deliveries


async def _serve(
    inbox: Inbox, delivery: Delivery, generate: Generate, free: anyio.Semaphore, stopped: anyio.Event
) -> None:
    try:
        final = await _answer(inbox, delivery, generate)
        await _finish(inbox, delivery, final, stopped)
    except Exception:
        logger.exception("job %s could not be finished", delivery.job.request_id)
    finally:
        free.release()


async def _answer(inbox: Inbox, delivery: Delivery, generate: Generate) -> Final:
    """Emits the deltas as they come and returns the final, whatever happened."""
    job = delivery.job
    seq = 0
    with generation(job) as span:
        try:
            final = Final(error="the engine stopped without an end: ask again", error_code="engine")
            async with generate(job) as replies:
                async for reply in replies:
                    if isinstance(reply, Final):
                        final = reply
                        break
                    seq += 1
                    span.said(reply.chunk)
                    await inbox.emit(delivery, replace(reply, seq=seq))
        except EngineFailed as error:
            span.failed(error)
            logger.warning("job %s: %s", job.request_id, error)
            final = Final(error=str(error), error_code=error.code)
        except QueueDown as error:
            span.failed(error)
            # A reader that still listens must not see this text go on after a hole.
            final = Final(error="the queue went away in mid-answer: ask again", error_code="restarted")
        except Exception as error:
            span.failed(error)
            logger.exception("job %s crashed the engine", job.request_id)
            what = type(error).__name__
            final = Final(error=f"the engine crashed ({what}); the worker's log says more", error_code="engine")
        span.ended(final)
    return replace(final, seq=seq + 1)


async def _finish(inbox: Inbox, delivery: Delivery, final: Final, stopped: anyio.Event) -> None:
    since = anyio.current_time()
    while True:
        try:
            return await inbox.finish(delivery, final)
        except QueueDown as error:
            away_s = anyio.current_time() - since
            if stopped.is_set() or away_s > TELLING_LIMIT_S:
                logger.warning("job %s: its end could not be told: %s", delivery.job.request_id, error)
                return None
            await _pause(away_s, stopped)


class _Outage:
    """The queue gives no jobs: one warning, ever longer pauses, one line when it is back."""

    def __init__(self, stopped: anyio.Event) -> None:
        self._stopped = stopped
        self._since: float | None = None

    async def wait(self, error: QueueDown) -> None:
        now = anyio.current_time()
        if self._since is None:
            self._since = now
            logger.warning("%s; the worker waits for it", error)
        await _pause(now - self._since, self._stopped)

    def end(self) -> None:
        if self._since is not None:
            logger.info("the queue is back after %.1f s", anyio.current_time() - self._since)
        self._since = None


async def _pause(away_s: float, stopped: anyio.Event) -> None:
    """As long again as the queue has been away."""
    with anyio.move_on_after(min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, away_s))):
        await stopped.wait()
