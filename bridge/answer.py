"""The heart: question -> hits -> job -> replies."""

import dataclasses
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio import to_thread
from msgspec.structs import replace
from openinference.semconv.trace import SpanAttributes
from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode

from bridge import spans
from bridge.conversations import standalone
from bridge.draft import Draft
from bridge.grounding import is_evidence
from bridge.judge import Judge
from bridge.reusing import Reusing
from bridge.service import Answer, Numbered, Overloaded, Part, Unavailable
from indexer.hits import Hit
from indexer.search import Looked
from wire import Busy, Delta, Final, Job, Metadata, Passage, QueueDown, Reply, Unknown, Wire
from wire.tasks import background

_CANCEL_S = 2.0


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a worker. `label` names it for people, in `status` and where it fails. `resumed` is told of an answer of
    another process that was read to its end here."""

    wire: Wire
    label: str
    resumed: Callable[[Draft], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Limits:
    """`evidence`: the cosine from which the dense side alone may call a passage evidence. `silence_s`: the longest
    wait for the next piece."""

    evidence: float = 0.6
    silence_s: float = 60


@dataclass(frozen=True, slots=True)
class Means:
    """What answers are made with. `remember`: what was asked and said in a session."""

    search: Callable[[str], Awaitable[Looked]]
    routes: Sequence[Route]
    limits: Limits
    remember: Callable[[str | None, str, Part], None] | None = None
    reusing: Reusing | None = None
    judge: Judge | None = None


@asynccontextmanager
async def answering(draft: Draft, means: Means) -> AsyncGenerator[AsyncGenerator[Numbered]]:
    """`Piece* Answer`, from the first route that has a worker; the routes passed over are named in `degraded`.

    Raises Unavailable when none has, Overloaded where the queue takes no more. Leaving early gives the answer up: its
    job is cancelled unless the draft `goes_on`, and its span ends without a status.
    """
    span = spans.answer_span(draft)
    try:
        async with aclosing(_parts(draft, means, span)) as parts:
            yield parts
    except Exception as error:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, str(error) or type(error).__name__))
        raise
    finally:
        span.end()


async def _parts(draft: Draft, means: Means, span: trace.Span) -> AsyncGenerator[Numbered]:
    _give_way(means)
    if draft.turns:
        draft.question = await _standalone(draft, means.routes[0], span)
    looked = await _under(span, draft, means.search(draft.question))
    found = looked.found
    draft.found(found, [hit for hit in found.hits if is_evidence(hit, means.limits.evidence)], span)
    if means.reusing:
        began = spans.now()
        kept = await means.reusing.find(draft, looked)
        spans.cache_span(span, draft, "reused" if isinstance(kept, Answer) else kept.reason, began)
        if isinstance(kept, Answer):
            piece, end = _again(draft, kept)
            yield piece
            _remembered(draft, means, _described(span, draft, end, spans.now()))
            yield end
            return
    job = _job(draft, span)
    passed: list[str] = []
    for route in means.routes:
        draft.label, draft.degraded = route.label, (*found.degraded, *passed)
        record = draft.record(job.metadata.session)
        _give_way(means)
        try:
            async with _sent(route, job, record) as replies, _cancelled_early(route.wire, draft) as ended:
                async for reply in _timely(replies, means.limits.silence_s):
                    if not isinstance(reply, Final):
                        if piece := draft.add(reply):
                            yield piece
                        continue
                    if reply.error_code != "deadline":
                        ended.set()
                    if reply.error_code == "engine" and not draft.text and route is not means.routes[-1]:
                        passed.append(f"{route.label}: {reply.error}")
                        break
                    began = spans.now()
                    end = await to_thread.run_sync(draft.end, reply)
                    answer = _described(span, draft, end, began)
                    _remembered(draft, means, answer)
                    yield end
                    if means.reusing:
                        await means.reusing.keep(draft, looked, answer)
                    if means.judge and not answer.error:
                        means.judge.consider(draft, looked)
                    return
        except Busy as error:
            raise Overloaded(str(error), error.retry_after_s) from error
        except QueueDown as error:
            if not draft.text:
                passed.append(str(error))
                continue
            span.record_exception(error)
            began, end = spans.now(), draft.end(str(error))
            _described(span, draft, end, began)
            yield end
            return
    raise Unavailable("; ".join(passed))


@asynccontextmanager
async def resuming(draft: Draft, route: Route, limits: Limits) -> AsyncGenerator[AsyncGenerator[Numbered]]:
    """The same of an answer that another process began, from its first piece on."""
    async with aclosing(_resumed(draft, route, limits)) as parts:
        yield parts


async def _resumed(draft: Draft, route: Route, limits: Limits) -> AsyncGenerator[Numbered]:
    try:
        async with route.wire.resume(draft.request) as replies, _cancelled_early(route.wire, draft) as ended:
            async for reply in _timely(replies, limits.silence_s):
                if isinstance(reply, Final):
                    ended.set()
                    route.resumed(draft)
                    yield await to_thread.run_sync(draft.end, reply)
                    return
                if piece := draft.add(reply):
                    yield piece
    except (QueueDown, Unknown) as error:
        yield draft.end(str(error))


async def _under(span: trace.Span, draft: Draft, work: Awaitable[Looked]) -> Looked:
    """Runs `work` with its spans below ours. Never across a yield: the caller's context must not change."""
    ours = context.set_value(SpanAttributes.SESSION_ID, spans.session(draft), trace.set_span_in_context(span))
    token = context.attach(ours)
    try:
        return await work
    finally:
        context.detach(token)


async def _standalone(draft: Draft, route: Route, span: trace.Span) -> str:
    """What a follow-up asks for; as typed where no worker is there to say it."""
    return draft.asked if await _unmanned(route) else await standalone(route.wire, draft, _metadata(draft, span))


def _job(draft: Draft, span: trace.Span) -> Job:
    # The turns were needed for the question only: an answer rests on passages, not on what was said before.
    metadata = replace(_metadata(draft, span), turns=() if draft.question != draft.asked else draft.turns)
    return Job(draft.request, draft.question, tuple(_passage(hit) for hit in draft.passages), metadata=metadata)


def _metadata(draft: Draft, span: trace.Span) -> Metadata:
    return Metadata(
        created_ms=int(time.time() * 1000),
        traceparent=spans.traceparent(span),
        session=spans.session(draft),
        turns=draft.turns,
    )


def _passage(hit: Hit) -> Passage:
    where = hit.start_line or hit.page or 0
    return Passage(
        id=f"{hit.path}:{where}",
        text=hit.text,
        path=hit.path,
        score=hit.score,
        heading=hit.heading,
        page=hit.page,
        start_line=hit.start_line,
        end_line=hit.end_line,
    )


@asynccontextmanager
async def _sent(route: Route, job: Job, record: bytes) -> AsyncGenerator[AsyncIterator[Reply]]:
    """Whether anybody works there is asked while the answer is listened for already: a call over a slow link takes
    long. Raises QueueDown where nobody does, and as `Wire.send`."""
    async with AsyncExitStack() as sent:
        async with background() as early:
            early.start_soon(_listen, route.wire, job.request_id)
            if reason := await _unmanned(route):
                raise QueueDown(reason)
            replies = await sent.enter_async_context(route.wire.send(job, record))
        yield replies


async def _listen(wire: Wire, request_id: str) -> None:
    with suppress(QueueDown):  # who sends is told
        async with wire.listening(request_id):
            await anyio.sleep_forever()


async def _unmanned(route: Route) -> str | None:
    """Why a route cannot be taken now."""
    try:
        if await route.wire.workers():
            return None
    except QueueDown as error:
        return str(error)
    return f"no worker listens at {route.label}; start one with `tandem worker`"


@asynccontextmanager
async def _cancelled_early(wire: Wire, draft: Draft) -> AsyncGenerator[anyio.Event]:
    """Nobody reads an answer that is left before `ended` is set: its engine is stopped."""
    ended = anyio.Event()
    try:
        yield ended
    finally:
        if not ended.is_set() and not draft.goes_on:
            with anyio.move_on_after(_CANCEL_S, shield=True), suppress(QueueDown):
                await wire.cancel(draft.request)


async def _timely(replies: AsyncIterator[Reply], silence_s: float) -> AsyncGenerator[Reply]:
    """`Delta* Final`: a worker that falls silent or stops without an end ends the answer with an error."""
    while True:
        try:
            with anyio.fail_after(silence_s):
                reply = await anext(replies)
        except StopAsyncIteration:
            yield Final(error="the answer stopped without its end; ask again", error_code="engine")
            return
        except TimeoutError:
            yield Final(error=f"the worker was silent for {silence_s:g} s; ask again", error_code="deadline")
            return
        yield reply


def _again(draft: Draft, kept: Answer) -> tuple[Numbered, Numbered]:
    """An answer that was given before, as if it came now."""
    piece = draft.add(Delta(kept.answer))
    assert piece
    epoch, seq = piece.place
    return piece, Numbered((epoch, seq + 1), dataclasses.replace(kept, timings=draft.timings()))


def _give_way(means: Means) -> None:
    if means.judge:
        means.judge.give_way()


def _remembered(draft: Draft, means: Means, answer: Answer) -> None:
    if means.remember:
        means.remember(draft.session, draft.question, answer)


def _described(span: trace.Span, draft: Draft, end: Numbered, began: int) -> Answer:
    """`began`: when the answer's sentences began to be held against the passages."""
    answer = end.part
    assert isinstance(answer, Answer)
    draft.check = spans.check_span(span, draft, answer, began)
    spans.describe(span, draft, answer)
    return answer
