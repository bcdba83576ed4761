"""The heart: take, hold, generate, emit, finish.

    wire --take--> job --hold, generate--> Delta* Final --emit, finish--> wire

The same loop serves the queue in memory and the one in Redis. A crash costs its own job only; a queue that
goes away is waited for; a job that is lost to another worker or cancelled stops its engine at once.
"""

import logging
from collections.abc import Callable

import anyio

from inference_server.engines import EngineFailed, EngineLost, Generate
from inference_server.spans import generation
from inference_server.telling import Keep, telling
from wire import Delivery, Final, Hold, Inbox, Job, QueueDown, Wire, WorkerCard

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
GRACE_S = 30.0

logger = logging.getLogger(__name__)


async def work(
    wire: Wire,
    generate: Generate,
    *,
    slots: int,
    stopped: anyio.Event,
    engine: str = "",
    model: str | None = None,
    grace_s: float = GRACE_S,
    standing: Callable[[str | None], None] = lambda _: None,
    keep: Keep | None = None,
    log_level: int = logging.DEBUG,
) -> None:
    """Serves jobs, `slots` at once. When `stopped` is set, takes nothing new; returns once what it took is done, or
    handed back to the queue after `grace_s`. `engine` and `model` are what others see of this worker; `standing` is
    told None once the queue is served, and why where it is away; `keep`: what keeps a job's spans for its sender, where
    they have no collector here; `log_level`: of the one line a job."""
    free = anyio.Semaphore(slots)
    outage, lost = _Outage(stopped, standing), _Lost(stopped)
    async with wire.attach(WorkerCard(engine, model, slots)) as inbox, anyio.create_task_group() as jobs:
        while not stopped.is_set():
            await free.acquire()
            free.release()
            await lost.wait()
            if stopped.is_set():
                break
            for delivery in await _take(inbox, free.value, outage):
                free.acquire_nowait()
                jobs.start_soon(_serve_and_tell, inbox, delivery, generate, free, lost, log_level, keep)
        inbox.drain()
        jobs.cancel_scope.deadline = anyio.current_time() + grace_s


async def _take(inbox: Inbox, slots: int, outage: "_Outage") -> list[Delivery]:
    try:
        deliveries = await inbox.take(slots)
    except QueueDown as error:
        await outage.wait(error)
        return []
    outage.end()
    return deliveries


async def _serve_and_tell(
    inbox: Inbox,
    delivery: Delivery,
    generate: Generate,
    free: anyio.Semaphore,
    lost: "_Lost",
    log_level: int,
    keep: Keep | None,
) -> None:
    async with telling(inbox, delivery.job, keep):
        await _serve(inbox, delivery, generate, free, lost, log_level)


async def _serve(
    inbox: Inbox, delivery: Delivery, generate: Generate, free: anyio.Semaphore, lost: "_Lost", log_level: int
) -> None:
    request_id, began = delivery.job.request_id, anyio.current_time()
    ended = "handed back"
    try:
        async with inbox.hold(delivery) as hold:
            if not hold.ended:
                final = await _answer(hold, delivery.job, generate)
                await hold.finish(final)
        ended = hold.ended or ended
    except EngineLost as error:
        lost.back = error.back
        ended = f"handed back: {error}"
    except QueueDown as error:
        ended = f"left to others: {error}"
    except Exception:
        logger.exception("job %s could not be finished", request_id)
        ended = "left to others"
    finally:
        free.release()
        logger.log(log_level, "job %s: %s after %.2f s", request_id, ended, anyio.current_time() - began)


async def _answer(hold: Hold, job: Job, generate: Generate) -> Final:
    """Emits the deltas as they come and returns the final, whatever happened."""
    with generation(job, hold.said, hold.waited_s) as span:
        try:
            final = Final(error="the engine stopped without an end: ask again", error_code="engine")
            async with generate(job, hold.said) as replies:
                async for reply in replies:
                    if isinstance(reply, Final):
                        final = reply
                        break
                    span.said(reply.chunk)
                    await hold.emit(reply)
        except EngineLost:
            raise  # no end of the job's: who takes it next goes on
        except EngineFailed as error:
            span.failed(error)
            logger.warning("job %s: %s", job.request_id, error)
            final = Final(error=str(error), error_code=error.code)
        except Exception as error:
            span.failed(error)
            logger.exception("job %s crashed the engine", job.request_id)
            what = type(error).__name__
            final = Final(error=f"the engine crashed ({what}); the worker's log says more", error_code="engine")
        span.ended(final)
    return final


class _Outage:
    """The queue gives no jobs: one warning, ever longer pauses, one line when it is back."""

    def __init__(self, stopped: anyio.Event, standing: Callable[[str | None], None]) -> None:
        self._stopped, self._standing = stopped, standing
        self._since: float | None = None
        self._is_served = False

    async def wait(self, error: QueueDown) -> None:
        now = anyio.current_time()
        if self._since is None:
            self._since = now
            logger.warning("%s; the worker waits for it", error)
            self._standing(str(error))
            self._is_served = False
        await _pause(now - self._since, self._stopped)

    def end(self) -> None:
        if self._since is not None:
            logger.info("the queue is back after %.1f s", anyio.current_time() - self._since)
        self._since = None
        if not self._is_served:
            self._standing(None)
        self._is_served = True


class _Lost:
    """The engine died under a job: until it is `back`, others can take what waits."""

    def __init__(self, stopped: anyio.Event) -> None:
        self._stopped = stopped
        self.back: anyio.Event | None = None

    async def wait(self) -> None:
        while self.back and not self.back.is_set() and not self._stopped.is_set():
            await _pause(0, self._stopped)


async def _pause(away_s: float, stopped: anyio.Event) -> None:
    """As long again as the queue has been away."""
    with anyio.move_on_after(min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, away_s))):
        await stopped.wait()
