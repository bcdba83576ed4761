"""Answers that have ended are judged by the engine that the settings name: a share of them, and while nobody waits.

answer -> Job(task="judge") -> verdict -> told; none where somebody asks meanwhile, or what comes back is no verdict

No answer waits for it, or for its place at a model: it begins when the queue is empty, one at a time, and is given up
as soon as anybody asks. What it costs is a trace of its own, `judge`.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import anyio
import anyio.abc

from bridge import spans
from bridge.draft import Draft
from indexer.search import Looked
from wire import Busy, Final, Job, Malformed, Metadata, Passage, QueueDown, Wire
from wire.tasks import background
from wire.verdict import Verdict, verdict

LIMIT_S = 60.0
LOOK_S = 0.5
_STOP_S = 1.0
_TOKENS = 20  # for each line of a verdict
_ENOUGH = 3  # replies in a row that are no verdict: it is told

logger = logging.getLogger("tandem")


@dataclass(frozen=True, slots=True)
class Judged:
    """`retrieved` and `checked`: ids of the spans with the passages and with the answer's check."""

    retrieved: str
    checked: str
    verdict: Verdict


class Judge:
    """`share`: of all answers, 0..1. `wanted`: whether verdicts are of use now; `tell` takes them. `look_s`: how often
    it looks whether somebody asks elsewhere.

    `told`, `refused`, `left`: verdicts, replies that were none, and what was given up or never begun because the queue
    had other work. `problem`: what to do where an engine says nothing but what is no verdict.
    """

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        wire: Wire,
        share: float,
        wanted: Callable[[], bool],
        tell: Callable[[Judged], None],
        look_s: float = LOOK_S,
    ) -> None:
        self._tasks, self._wire, self._share, self._wanted, self._tell = tasks, wire, share, wanted, tell
        self._look_s = look_s
        self._at_work: anyio.CancelScope | None = None
        self.told = self.refused = self.left = self._in_a_row = 0
        self.problem: str | None = None

    @property
    def is_at_work(self) -> bool:
        return self._at_work is not None

    def consider(self, draft: Draft, looked: Looked) -> None:
        """Of an answer that has ended well: begins to judge it, where it is of the sample and no other is at work."""
        case = _case(draft, looked)
        if case and sampled(case.trace_id, self._share) and self._wanted():
            if self._at_work:
                self.left += 1
                return
            self._at_work = anyio.CancelScope()
            self._tasks.start_soon(self._work, case, self._at_work)

    def give_way(self) -> None:
        """Somebody asks."""
        if self._at_work:
            self._at_work.cancel()

    async def _work(self, case: "_Case", scope: anyio.CancelScope) -> None:
        found: Verdict | None = None
        try:
            with scope:
                found = await self._judged(case) if await self._is_free() else None
            self.left += scope.cancelled_caught
        except (Busy, Malformed, QueueDown) as error:
            logger.debug("an answer was not judged: %s", error)
        except Exception:
            logger.exception("an answer could not be judged")
        finally:
            self._at_work = None
        if found:
            self.told += 1
            self._tell(Judged(case.retrieved, case.checked, found))

    async def _is_free(self) -> bool:
        is_free = await self._wire.workers() > 0 and not await self._wire.depth()
        self.left += not is_free
        return is_free

    async def _judged(self, case: "_Case") -> Verdict | None:
        with spans.judging(case.trace_id, case.question) as span:
            job = _job(case, spans.traceparent(span))
            said, end = "", None
            with anyio.move_on_after(LIMIT_S):
                async with background() as tasks:
                    tasks.start_soon(self._watch)
                    said, end = await self._reply(job)
            found = verdict(job, said) if end and not end.error else None
            spans.judged(span, found is not None)
        if not found:
            self._refuse(end)
        else:
            self._in_a_row, self.problem = 0, None
        return found

    async def _watch(self) -> None:
        """Others, elsewhere, may ask at the same queue."""
        with suppress(QueueDown):
            while await self._wire.depth() <= 1:  # noqa: ASYNC110 (a queue tells nobody)
                await anyio.sleep(self._look_s)
            self.give_way()

    async def _reply(self, job: Job) -> tuple[str, Final | None]:
        text, end = "", None
        try:
            async with self._wire.send(job) as replies:
                async for reply in replies:
                    if isinstance(reply, Final):
                        end = reply
                        break
                    text += reply.chunk
            return text, end
        finally:
            if not end:
                with anyio.move_on_after(_STOP_S, shield=True), suppress(QueueDown):
                    await self._wire.cancel(job.request_id)

    def _refuse(self, end: Final | None) -> None:
        self.refused += 1
        self._in_a_row += 1
        engine = (end and (end.model or end.engine)) or "the engine"
        why = (end and end.error) or ("it is no verdict" if end else f"it did not end within {LIMIT_S:g} s")
        logger.debug("an answer was not judged by %s: %s", engine, why)
        if self._in_a_row >= _ENOUGH:
            self.problem = (
                f"TANDEM_JUDGE: {engine} gave no verdict {self._in_a_row} times in a row (the last time: {why}); "
                "set a model that keeps to a form, or unset TANDEM_JUDGE"
            )


@dataclass(frozen=True, slots=True)
class _Case:
    question: str
    passages: tuple[Passage, ...]
    statements: tuple[str, ...]
    retrieved: str
    checked: str
    trace_id: str


def _case(draft: Draft, looked: Looked) -> _Case | None:
    """None where nothing was found, or no span is there of which anything could be said."""
    hits = looked.found.hits
    if not (hits and looked.span and draft.check and draft.trace_id):
        return None
    # All that were found, also what was no evidence: Phoenix counts with a search whose passages are all judged.
    passages = tuple(Passage(text=hit.text, heading=hit.heading) for hit in hits)
    statements = tuple(claim.text for claim in draft.claims)
    return _Case(draft.question, passages, statements, looked.span, draft.check, draft.trace_id)


def _job(case: _Case, traceparent: str | None) -> Job:
    metadata = Metadata(
        task="judge",
        statements=case.statements,
        max_tokens=_TOKENS * (1 + len(case.passages) + len(case.statements)),
        deadline_ms=int(LIMIT_S * 1_000),
        created_ms=spans.now() // 1_000_000,
        traceparent=traceparent,
    )
    return Job(uuid4().hex, case.question, case.passages, metadata=metadata)


def sampled(trace_id: str, share: float) -> bool:
    """A trace's id is random enough, and says the same whoever asks."""
    return int(trace_id[-8:], 16) < share * (1 << 32)
