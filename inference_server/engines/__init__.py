"""What owns a model and generates: an engine is one function, `Generate`.

    async with generate(job, said) as replies:  # entering may already start the work; leaving stops it
        async for reply in replies: ...         # Delta* Final

Deltas come as soon as there is text; the worker numbers them. The final says `engine`, and `model` where there
is one. What the person who asked should read is raised as `EngineFailed`; an engine that died under the job raises
`EngineLost`, and the job goes back to the queue; anything else is a crash, which costs that job only. `said` is what
another worker had said before it was lost: the engine goes on from there, or fails with `restarted` where it cannot.
Jobs run beside each other in one event loop: an engine that computes does so in a thread.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import anyio

from wire import ErrorCode, Job, Reply, Said

Generate = Callable[[Job, Said], AbstractAsyncContextManager[AsyncIterator[Reply]]]


class EngineFailed(Exception):
    """The engine cannot answer this job; the message says why and what to do, and holds no secret."""

    def __init__(self, message: str, code: ErrorCode = "engine") -> None:
        super().__init__(message)
        self.code: ErrorCode = code


class EngineLost(Exception):
    """The engine died under this job, by no fault of the job that we know of: it is handed back to the queue, for
    whoever takes next. This worker takes nothing until `back`, when the engine has been started again."""

    def __init__(self, message: str, back: anyio.Event) -> None:
        super().__init__(message)
        self.back = back


class EngineUnusable(Exception):
    """The engine cannot be started, or not any more; the message says why and what to do."""
