"""The questions of a daemon: each becomes an answer that is made once and read by its id."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol
from uuid import uuid4

import anyio.abc

from bridge.answer import Limits, Means, Route, answering, resuming
from bridge.answers import Answers, Ended
from bridge.checks import check_session, check_words
from bridge.conversations import Conversations
from bridge.draft import Draft
from bridge.judge import Judge
from bridge.reusing import Reusing
from bridge.service import NotFound, Numbered, Place, Reader, Unavailable
from indexer.filters import EVERYTHING, Filters
from indexer.search import Looked
from wire import QueueDown


class Look(Protocol):
    def __call__(self, query: str, *, limit: int, filters: Filters) -> Awaitable[Looked]: ...


class Questions:
    """`top_k`: the passages that a question is answered from."""

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        look: Look,
        routes: Sequence[Route],
        limits: Limits,
        top_k: int,
        reusing: Reusing | None,
        ended: Ended | None = None,
        judge: Judge | None = None,
    ) -> None:
        self._look, self._routes, self._limits, self._top_k, self._reusing = look, routes, limits, top_k, reusing
        self._judge = judge
        self._conversations = Conversations()
        self._answers = Answers(tasks, self._making, self._begun_elsewhere, ended)
        self.leave = self._answers.leave

    async def begin(self, question: str, filters: Filters = EVERYTHING, session: str | None = None) -> str:
        check_words(question, filters.within)
        if session is not None:
            check_session(session)
        return self._answers.begin(Draft(uuid4().hex, question, filters, session, self._conversations.turns(session)))

    def follow(
        self, request: str, after: Place = (0, 0), grace_s: float | None = None
    ) -> AbstractAsyncContextManager[Reader]:
        return self._answers.follow(request, after, grace_s)

    @property
    def are_open(self) -> bool:
        """Whether answers are under way here."""
        return self._answers.under_way > 0

    async def cancel(self, request: str) -> bool:
        try:
            return await self._answers.cancel(request)
        except NotFound:
            if (found := await self._elsewhere(request)) is None:
                raise
        try:
            return await found[1].wire.cancel(request)
        except QueueDown as error:
            raise Unavailable(str(error)) from error

    def _making(self, draft: Draft) -> AbstractAsyncContextManager[AsyncIterator[Numbered]]:
        find = partial(self._look, limit=self._top_k, filters=draft.filters)
        remember = self._conversations.add
        means = Means(find, self._routes, self._limits, remember, self._reusing, self._judge)
        return answering(draft, means)

    async def _begun_elsewhere(
        self, request: str
    ) -> tuple[Draft, AbstractAsyncContextManager[AsyncIterator[Numbered]]] | None:
        """An answer that a former daemon, or another one, sent on its way."""
        if (found := await self._elsewhere(request)) is None:
            return None
        draft, route = found
        return draft, resuming(draft, route, self._limits)

    async def _elsewhere(self, request: str) -> tuple[Draft, Route] | None:
        """Raises Unavailable where a queue that may have it is away."""
        away: QueueDown | None = None
        for route in self._routes:
            try:
                if record := await route.wire.record(request):
                    return Draft.of(request, record), route
            except QueueDown as error:
                away = error
        if away:
            raise Unavailable(str(away)) from away
        return None
