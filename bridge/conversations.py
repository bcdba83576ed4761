"""What was said in each session, so that a follow-up ("and in winter?") is understood: in memory, and only lately.

follow-up + turns -> the worker's model, asked to rewrite -> a question that stands alone, or the words as typed
"""

import logging
from collections import OrderedDict, deque
from uuid import uuid4

import anyio
from msgspec.structs import replace

from bridge.draft import Draft
from bridge.service import Answer, Part
from wire import Busy, Final, Job, Metadata, QueueDown, Turn, Wire

MOST_SESSIONS = 500
EXCHANGES = 3
_ANSWER_CHARS = 1_000
_REWRITE_S = 10.0
_REWRITE_TOKENS = 200
_STOP_S = 2.0
_LONGER_CHARS = 300  # than the follow-up itself: more is an answer, not a question

logger = logging.getLogger(__name__)


class Conversations:
    def __init__(self, most: int = MOST_SESSIONS) -> None:
        self._most = most
        self._sessions: OrderedDict[str, deque[Turn]] = OrderedDict()

    def turns(self, session: str | None) -> tuple[Turn, ...]:
        return tuple(self._sessions.get(session or "", ()))

    def add(self, session: str | None, question: str, answer: Part) -> None:
        """What ended well; the oldest exchange goes, and the session that was silent longest."""
        if not session or not isinstance(answer, Answer) or answer.error or not answer.answer:
            return
        turns = self._sessions.setdefault(session, deque(maxlen=2 * EXCHANGES))
        turns.append(Turn("user", question))
        turns.append(Turn("assistant", answer.answer[:_ANSWER_CHARS]))
        self._sessions.move_to_end(session)
        while len(self._sessions) > self._most:
            self._sessions.popitem(last=False)


async def standalone(wire: Wire, draft: Draft, metadata: Metadata) -> str:
    """The draft's question in words that need none of the earlier `turns`; as typed where no model could tell."""
    asked = draft.asked
    job = Job(uuid4().hex, asked, metadata=replace(metadata, task="rewrite", max_tokens=_REWRITE_TOKENS))
    text, numbered = "", True
    try:
        with anyio.fail_after(_REWRITE_S):
            async with wire.send(job) as replies:
                async for reply in replies:
                    if isinstance(reply, Final):
                        break
                    numbered = numbered and bool(reply.seq)  # an old worker would have answered instead
                    text += reply.chunk
                else:
                    return asked
            if reply.error:
                return asked
    except (Busy, QueueDown, TimeoutError) as error:
        logger.info("a follow-up is taken as it was typed: %s", str(error) or "no model rewrote it in time")
        await _stop(wire, job)
        return asked
    except anyio.get_cancelled_exc_class():
        await _stop(wire, job)
        raise
    text = text.strip()
    fits = 0 < len(text) <= len(asked) + _LONGER_CHARS and "\n" not in text
    return text if numbered and fits else asked


async def _stop(wire: Wire, job: Job) -> None:
    with anyio.move_on_after(_STOP_S, shield=True):
        try:
            await wire.cancel(job.request_id)
        except QueueDown:
            return
