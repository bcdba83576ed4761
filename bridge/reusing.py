"""Between an answer and the cache: what an answer depends on, and what of a kept one is still true."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio

from bridge.cache import Cache, Decision, Missed, Scope
from bridge.draft import Draft
from bridge.service import Answer
from indexer.search import Looked

_ENGINE_S = 5.0


@dataclass(slots=True)
class Reusing:
    """`engine` names what would answer now, its model too; `prompt` the rules that the model is given."""

    cache: Cache
    engine: Callable[[], Awaitable[str]]
    prompt: str
    top_k: int
    _named: str = ""
    _asked_at: float = float("-inf")

    async def find(self, draft: Draft, looked: Looked) -> Answer | Missed:
        """The answer as it would be told now, or why there is none."""
        decision = await self._decided(draft, looked)
        draft.cache = decision.kind if isinstance(decision, Missed) else "reused"
        if isinstance(decision, Missed):
            return decision
        return replace(
            decision.answer,
            cache_hit=True,
            freshness=draft.freshness,
            request=draft.request,
            trace_id=draft.trace_id,
            question=draft.question if draft.question != draft.asked else None,
            timings=draft.timings(),
        )

    async def keep(self, draft: Draft, looked: Looked, answer: Answer) -> None:
        """Not where other engines are there than when it was asked for: nobody knows which of them it was."""
        named = self._named
        if self._is_fit(draft) and await self.engine() == named:
            scope = Scope(draft.filters, named, self.prompt, looked.signature, self.top_k)
            began = looked.began
            await self.cache.keep(draft.question, looked.vector, draft.passages, scope, answer, asked_at=began)

    async def _decided(self, draft: Draft, looked: Looked) -> Decision:
        if not self._is_fit(draft):
            reason = "the search was not whole" if draft.degraded else "the question needs what was said before"
            return Missed(reason, "unfit")
        return await self.cache.find(draft.question, looked.vector, draft.passages, await self._scope(draft, looked))

    def _is_fit(self, draft: Draft) -> bool:
        stands_alone = not draft.turns or draft.question != draft.asked
        return stands_alone and not draft.degraded

    async def _scope(self, draft: Draft, looked: Looked) -> Scope:
        if anyio.current_time() - self._asked_at > _ENGINE_S:
            # While no worker is there to be asked, the last one's answers are as good as they were.
            self._named = await self.engine() or self._named
            self._asked_at = anyio.current_time()
        return Scope(draft.filters, self._named, self.prompt, looked.signature, self.top_k)
