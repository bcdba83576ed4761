"""Answers under way, and those that ended lately: each is made once, and read by whoever knows its id, at any pace.

    begin    a task of its own makes the answer, whether or not anybody reads
    follow   its parts from a place on; who comes back reads on where he was
    cancel   stops it; so does nobody reading it for a while

A reader has a place and no buffer: one that stalls costs nothing and holds nobody up.
"""

import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio
import anyio.abc
from anyio import to_thread

from bridge.draft import CANCELLED, RESTARTED, Draft
from bridge.service import Answer, BadInput, NotFound, Numbered, Place, Reader, Unavailable

GRACE_S = 30.0  # for a browser that is loaded anew, or a train in a tunnel
KEPT_S = 600.0  # an answer, after its end; a queue keeps its log as long
MOST_KEPT = 1000
_CANCEL_S = 3.0
INTERNAL = "Tandem failed in the middle of this answer; its log says how"

logger = logging.getLogger(__name__)

Making = Callable[[Draft], AbstractAsyncContextManager[AsyncIterator[Numbered]]]
"""How an answer's parts come to be: `Piece* Answer`, or what refuses the question."""

Outcome = Literal["answered", "failed", "cancelled", "refused"]
Ended = Callable[[Draft, Answer | None, Outcome], None]
"""Hears of each answer that came to an end here; without one where the question was refused."""

Finding = Callable[[str], Awaitable[tuple[Draft, AbstractAsyncContextManager[AsyncIterator[Numbered]]] | None]]
"""An answer that another process began, by its id."""


@dataclass(slots=True, eq=False)
class _Kept:
    """`parts` end with an Answer, or the answer is refused."""

    draft: Draft
    parts: list[Numbered] = field(default_factory=list[Numbered])
    refused: Exception | None = None
    ended_at: float | None = None
    ended: anyio.Event = field(default_factory=anyio.Event)
    left: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    news: anyio.Event = field(default_factory=anyio.Event)
    readers: int = 0
    is_read: bool = False
    unread_until: float = 0.0  # from when on it is given up, if nobody reads

    def tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()


class Answers:
    """`grace_s`: how long an answer goes on unread once a reader has left it; `unread_s`: and before the first."""

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        make: Making,
        find: Finding | None = None,
        ended: Ended | None = None,
        *,
        grace_s: float = GRACE_S,
        unread_s: float = GRACE_S,
        most: int = MOST_KEPT,
    ) -> None:
        self._tasks, self._make, self._find, self._ended = tasks, make, find, ended
        self._grace_s, self._unread_s, self._most = grace_s, unread_s, most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def begin(self, draft: Draft) -> str:
        """Its id. Nobody reads yet: that may last as long as any other absence."""
        self._begin(draft, self._make(draft))
        return draft.request

    @asynccontextmanager
    async def follow(self, request: str, after: Place = (0, 0), grace_s: float | None = None) -> AsyncGenerator[Reader]:
        """See `Service.follow`."""
        kept = self._kept.get(request)
        if kept and kept.ended_at is not None and anyio.current_time() - kept.ended_at > KEPT_S:
            del self._kept[request]
            kept = None
        kept = kept or await self._found(request)
        kept.readers += 1
        if not kept.is_read:
            kept.is_read, kept.unread_until = True, 0.0
        try:
            yield _Reader(kept, after)
        finally:
            kept.readers -= 1
            away_s = self._grace_s if grace_s is None else grace_s
            kept.unread_until = max(kept.unread_until, anyio.current_time() + away_s)
            kept.left.set()

    async def cancel(self, request: str) -> bool:
        """Whether there was anything to stop; returns once that has. Its readers get an end. Raises NotFound."""
        kept = self._kept.get(request)
        if kept is None:
            raise NotFound(_unknown(request))
        if kept.ended_at is not None:
            return False
        kept.scope.cancel()
        with anyio.move_on_after(_CANCEL_S):
            await kept.ended.wait()
        return True

    @property
    def under_way(self) -> int:
        return sum(kept.ended_at is None for kept in self._kept.values())

    def leave(self) -> None:
        """This process ends, the answers need not: a worker elsewhere goes on, and the next process reads on."""
        for kept in self._kept.values():
            kept.draft.goes_on = not kept.scope.cancel_called

    def _begin(self, draft: Draft, making: AbstractAsyncContextManager[AsyncIterator[Numbered]]) -> _Kept:
        self._forget_old()
        kept = self._kept[draft.request] = _Kept(draft, unread_until=anyio.current_time() + self._unread_s)
        self._tasks.start_soon(self._run, kept, making)
        self._tasks.start_soon(self._give_up_unread, kept)
        return kept

    async def _run(self, kept: _Kept, making: AbstractAsyncContextManager[AsyncIterator[Numbered]]) -> None:
        try:
            with kept.scope:
                async with making as parts:
                    async for part in parts:
                        kept.parts.append(part)
                        kept.tell()
            if kept.scope.cancelled_caught and not _is_whole(kept):
                kept.parts.append(await to_thread.run_sync(kept.draft.end, CANCELLED))
        except (BadInput, Unavailable) as error:
            kept.refused = error
        except Exception as error:
            logger.exception("an answer failed in the middle")
            kept.refused = error
        finally:
            kept.ended_at = anyio.current_time()
            if self._ended and (outcome := _outcome(kept)):
                self._ended(kept.draft, _end(kept), outcome)
            kept.ended.set()
            kept.left.set()
            kept.tell()

    async def _give_up_unread(self, kept: _Kept) -> None:
        while kept.ended_at is None:
            kept.left = anyio.Event()
            if kept.readers:
                await kept.left.wait()
            elif (rest := kept.unread_until - anyio.current_time()) > 0:
                with anyio.move_on_after(rest):
                    await kept.left.wait()
            else:
                logger.info("answer %s: nobody reads it any more, it is cancelled", kept.draft.request)
                kept.scope.cancel()
                return

    async def _found(self, request: str) -> _Kept:
        found = await self._find(request) if self._find else None
        # Another reader may have found it meanwhile.
        if kept := self._kept.get(request):
            return kept
        if found is None:
            raise NotFound(_unknown(request))
        return self._begin(*found)

    def _forget_old(self) -> None:
        """Those that ended long ago; where there are very many, those that ended first."""
        now = anyio.current_time()
        ended = sorted((kept.ended_at, request) for request, kept in self._kept.items() if kept.ended_at is not None)
        many = len(ended) - self._most
        for n, (ended_at, request) in enumerate(ended):
            if n < many or now - ended_at > KEPT_S:
                del self._kept[request]


class _Reader:
    def __init__(self, kept: _Kept, after: Place) -> None:
        self._kept, self._after = kept, after
        self._n = 0
        self._there, self._over = after == (0, 0), False

    async def read(self) -> Sequence[Numbered]:
        while not self._over:
            new = self._kept.parts[self._n :]
            self._n += len(new)
            if new := new if self._there else self._beyond(new):
                return new
            if self._kept.ended_at is not None and self._n == len(self._kept.parts):
                self._over = True
                return self._last_words()
            await self._kept.news.wait()
        return ()

    def _beyond(self, parts: Sequence[Numbered]) -> Sequence[Numbered]:
        """Those after the place that was read up to."""
        for n, part in enumerate(parts):
            if part.place == self._after:
                self._there = True
                return parts[n + 1 :]
            if part.place[1] >= self._after[1]:  # of another text than the one that was read so far
                self._over = True
                return [Numbered(part.place, self._kept.draft.end(RESTARTED).part)]
        return ()

    def _last_words(self) -> Sequence[Numbered]:
        kept = self._kept
        refused = kept.refused
        if refused is None:
            if _is_whole(kept):
                return () if self._there else [kept.draft.end(RESTARTED)]  # a place that this text never had
            raise Unavailable("the daemon ends in the middle of this answer: read on from here in a moment")
        if not kept.parts:
            raise refused
        return [kept.draft.end(str(refused) if isinstance(refused, Unavailable) else INTERNAL)]


def _is_whole(kept: _Kept) -> bool:
    return _end(kept) is not None


def _end(kept: _Kept) -> Answer | None:
    last = kept.parts[-1].part if kept.parts else None
    return last if isinstance(last, Answer) else None


def _outcome(kept: _Kept) -> Outcome | None:
    """None where the process ends and the answer goes on without it."""
    end = _end(kept)
    if end and not end.error:
        return "answered"
    if kept.scope.cancel_called:
        return "cancelled"
    if isinstance(kept.refused, BadInput | Unavailable) and not kept.parts:
        return "refused"
    return "failed" if end or kept.refused else None


def _unknown(request: str) -> str:
    return f"no answer {request[:64]!r} is under way or kept: ask again"
