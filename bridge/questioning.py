"""A passage becomes a question that it answers: asked of the engine that the settings name.

passage -> Job(task="question") -> one line that can be a question; none where the engine said none, or said nothing
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import anyio

from indexer.salient import Item
from indexer.sentences import holds
from wire import Busy, Final, Job, Malformed, Metadata, Passage, QueueDown, Wire

logger = logging.getLogger("tandem")

_AT_ONCE = 4
_QUESTION_S = 60.0
_QUESTION_TOKENS = 100
_STOP_S = 2.0
_ENOUGH = 3  # questions without any reply: the engine is away
_LEAST_CHARS, _MOST_CHARS = 8, 300
_QUESTION_MARK = re.compile(r"[?？؟]$")
_CITES = re.compile(r"\[\d+\]|</?passage", re.IGNORECASE)


@dataclass(slots=True)
class Said:
    """Questions by their items' ids. `refused`: replies that were none; `silent`: why there was no reply at all."""

    questions: dict[str, str] = field(default_factory=dict[str, str])
    refused: int = 0
    silent: list[str] = field(default_factory=list[str])


async def said_of(wire: Wire, items: Sequence[Item], done: Callable[[], None]) -> Said:
    """One question for each item's passage. An engine that stays silent a few times is not asked any more."""
    said, few = Said(), anyio.CapacityLimiter(_AT_ONCE)

    async def ask(item: Item) -> None:
        async with few:
            if len(said.silent) >= _ENOUGH and not said.questions:
                return
            text = await _reply(wire, item, said)
        if text is not None:
            question = fitting(text, item.passage.text)
            said.refused += question is None
            if question:
                said.questions[item.id] = question
        done()

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(ask, item)
    return said


def fitting(said: str, passage: str) -> str | None:
    """The question that an engine said; none where it is not one line that asks, or copies the passage."""
    question = said.strip().strip("\"'“”„«»「」").strip()
    asks = question.isprintable() and _QUESTION_MARK.search(question) and not _CITES.search(question)
    fits = _LEAST_CHARS <= len(question) <= _MOST_CHARS
    return question if asks and fits and not holds(passage, question) else None


async def _reply(wire: Wire, item: Item, said: Said) -> str | None:
    """What the engine says; none, and the reason noted, where it says nothing."""
    passage = Passage(text=item.passage.text, heading=item.passage.heading)
    metadata = Metadata(task="question", max_tokens=_QUESTION_TOKENS, deadline_ms=int(_QUESTION_S * 1_000))
    job, text = Job(uuid4().hex, "", (passage,), metadata=metadata), ""
    try:
        with anyio.fail_after(_QUESTION_S):
            async with wire.send(job) as replies:
                async for reply in replies:
                    if isinstance(reply, Final):
                        if reply.error is None:
                            return text
                        said.silent.append(reply.error)
                        return None
                    text += reply.chunk
        said.silent.append("its reply stopped without an end")
    except (Busy, Malformed, QueueDown) as error:
        said.silent.append(str(error))
    except TimeoutError:
        said.silent.append(f"it said nothing within {_QUESTION_S:.0f} s")
        with anyio.move_on_after(_STOP_S):
            await _stop(wire, job)
    return None


async def _stop(wire: Wire, job: Job) -> None:
    try:
        await wire.cancel(job.request_id)
    except QueueDown as error:
        logger.info("a question that took too long could not be cancelled: %s", error)
