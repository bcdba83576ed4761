"""Tandem's own answers as tools: ask, and what can be done with an answer."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from opentelemetry import trace
from pydantic import RootModel

from bridge.citing import answer_text, unfinished_text
from bridge.offers.arguments import (
    After,
    AnswerId,
    Comment,
    Question,
    Session,
    Since,
    TraceId,
    Types,
    Up,
    Within,
    filtered,
)
from bridge.offers.links import linked
from bridge.offers.progress import Progress
from bridge.offers.results import ACTS, READ_ONLY, offered, result, spoken
from bridge.offers.traced import ended, tool_span
from bridge.service import Answer, BadInput, Place, Service, Unavailable
from indexer.filters import Filters
from indexer.hits import Freshness

ASK = """Have Tandem's own engine answer from the user's files. Use this where the user wants Tandem's answer; to read \
the evidence yourself, `search` is faster and gives more.

Returns the answer with markers [n], the words behind each marker, and whether every sentence is supported by what it \
cites. After 40 seconds it returns what there is, and `get_answer` gives the rest."""

GET_ANSWER = "The rest of an answer that `ask` returned before its end. Call it until the answer has ended."

CANCEL_ANSWER = "Stop an answer that `ask` returned before its end and that nobody needs any more."

RATE = """Note what the user thinks of an answer that `ask` gave. Only where the user says that it was good or bad, \
never on a judgement of your own; the last rating counts."""

# How long an answer that a model holds the id of goes on without being read.
HANDLE_S = 600.0
CANCEL_S = 2.0

_PLACE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Told(Answer):
    """`answer` is the text after the place that was asked for. Until `ended`, get_answer(request, after) gives the
    rest, and with it what else there is."""

    ended: bool = True
    after: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Rated:
    trace_id: str
    rating: Literal["up", "down"]


class AskOutput(RootModel[Told]):
    pass


class CancelOutput(RootModel[Cancelled]):
    pass


class RateOutput(RootModel[Rated]):
    pass


def tools(service: Service, in_time_s: float) -> list[Tool]:
    """`in_time_s`: how long a call waits for the end of an answer."""

    async def ask(
        ctx: Context,
        question: Question,
        within: Within = None,
        types: Types = None,
        since: Since = None,
        session: Session = None,
    ) -> Annotated[CallToolResult, AskOutput]:
        arguments = {"question": question, **filtered(within, types, since), "session": session}
        with spoken(), tool_span(ctx, "ask", arguments) as span:
            request = await service.begin(question, Filters.asked(within, types, since), session)
            return _told(span, await _read(service, request, (0, 0), in_time_s, Progress(ctx)))

    async def get_answer(
        ctx: Context,
        id: AnswerId,  # noqa: A002 (the name that clients know)
        after: After = "",
    ) -> Annotated[CallToolResult, AskOutput]:
        with spoken(), tool_span(ctx, "get_answer", {"id": id, "after": after}) as span:
            return _told(span, await _read(service, id, _place(after), in_time_s, Progress(ctx)))

    async def cancel_answer(ctx: Context, id: AnswerId) -> Annotated[CallToolResult, CancelOutput]:  # noqa: A002
        with spoken(), tool_span(ctx, "cancel_answer", {"id": id}) as span:
            cancelled = await service.cancel(id)
            text = "The answer is stopped." if cancelled else "The answer had ended already; `get_answer` still has it."
            ended(span, text)
            return result(text, Cancelled(cancelled))

    # Without a span: the comment leaves as an annotation alone, which TANDEM_TRACE_HIDE reaches.
    async def rate(trace_id: TraceId, up: Up, comment: Comment = None) -> Annotated[CallToolResult, RateOutput]:
        with spoken():
            await service.rate(trace_id, up, comment)
            rating = "up" if up else "down"
            return result(f"Noted beside the answer's trace: thumbs {rating}.", Rated(trace_id, rating))

    return [
        offered(ask, "Ask your files", ASK, READ_ONLY),
        offered(get_answer, "The rest of an answer", GET_ANSWER, READ_ONLY),
        offered(cancel_answer, "Stop an answer", CANCEL_ANSWER, ACTS),
        offered(rate, "Rate an answer", RATE, ACTS),
    ]


def _told(span: trace.Span, told: Told) -> CallToolResult:
    if told.error and not told.answer:
        raise ToolError(told.error)
    text = answer_text(told) if told.ended else unfinished_text(told.answer, told.request, told.after)
    ended(span, text, told.error)
    # `read` gives the passages: the quotes out of them are enough here.
    cited = tuple(replace(one, passage="") for one in told.citations)
    return result(text, replace(told, citations=cited), linked(told.citations))


async def _read(service: Service, request: str, after: Place, in_time_s: float, progress: Progress) -> Told:
    """What comes in time. Who breaks the call off gives the answer up; who is given an id may come back."""
    async with progress.while_it_takes("searching"):
        try:
            return await _heard(service, request, after, in_time_s, progress)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(CANCEL_S, shield=True), suppress(BadInput, Unavailable):
                await service.cancel(request)
            raise


async def _heard(service: Service, request: str, after: Place, in_time_s: float, progress: Progress) -> Told:
    text = ""
    with anyio.move_on_after(in_time_s):
        async with service.follow(request, after, HANDLE_S) as reader:
            while some := await reader.read():
                for one in some:
                    after = one.place
                    if isinstance(one.part, Answer):
                        fields: dict[str, Any] = {name: getattr(one.part, name) for name in Answer.__slots__}
                        fields.update(answer=text, request=request, after=_written(after))
                        return Told(**fields)
                    text += one.part.chunk
                    await progress.count(one.part.chunk)
        raise BadInput(f"the answer ends at {_written(after)}, where `after` stands: there is no more of it")
    return Told(text, (), Freshness(None), "", request=request, ended=False, after=_written(after))


def _written(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def _place(after: str) -> Place:
    found = _PLACE.fullmatch(after or "0-0")
    if not found:
        raise BadInput(
            f"`after` was expected to be what the last result named, like 1-20, or empty; it is {after[:80]!r}"
        )
    return int(found[1]), int(found[2])
