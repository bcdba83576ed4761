"""What a host is told while a call is under way: hosts take silence for a hang."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from mcp.server.mcpserver import Context

from bridge.service import BadInput, Unavailable

TOLD_EVERY_S = 0.25
SILENCE_S = 10.0


class Progress:
    """Counts its own messages: progress must rise with each, and an answer's length is not known before its end."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._told = 0
        self._told_at = -math.inf
        self._words = 0
        self._within_word = False

    async def tell(self, message: str) -> None:
        self._told += 1
        self._told_at = anyio.current_time()
        await self._ctx.report_progress(self._told, None, message)

    async def count(self, chunk: str) -> None:
        first = not self._words
        words = len(chunk.split())
        # Tokens cut words: a piece may go on with the word that the last one began.
        continued = self._within_word and not chunk[:1].isspace()
        self._words += words - 1 if words and continued else words
        self._within_word = not chunk[-1:].isspace() if chunk else self._within_word
        if first or anyio.current_time() - self._told_at >= TOLD_EVERY_S:
            await self.tell(self._so_far())

    @asynccontextmanager
    async def while_it_takes(self, doing: str) -> AsyncGenerator[None]:
        """Says what is being done, at once and whenever nothing else was said for long."""
        refusal: BadInput | Unavailable | None = None
        await self.tell(doing)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._never_silent, doing)
            try:
                yield
            except (BadInput, Unavailable) as error:
                refusal = error  # A task group would wrap it.
            tasks.cancel_scope.cancel()
        if refusal:
            raise refusal

    async def _never_silent(self, doing: str) -> None:
        while True:
            await anyio.sleep(SILENCE_S)
            if anyio.current_time() - self._told_at >= SILENCE_S:
                await self.tell(f"still at work, {self._so_far()}" if self._words else f"still {doing}")

    def _so_far(self) -> str:
        return f"{self._words} word{'s' * (self._words != 1)} so far"
