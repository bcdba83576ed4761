"""No model: the passages' best sentences, word for word, each with its citation."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from anyio import to_thread

from inference_server.quotes import quotes
from wire import Delta, Final, Job, Reply

NOTHING = "The documents do not say."


@asynccontextmanager
async def extractive(job: Job) -> AsyncGenerator[AsyncIterator[Reply]]:
    """One delta a sentence, a paragraph each: `sentence [n]`, where n counts the job's passages from 1."""
    async with aclosing(_replies(job)) as replies:
        yield replies


async def _replies(job: Job) -> AsyncGenerator[Reply]:
    found = await to_thread.run_sync(quotes, job.prompt, job.context)
    texts = [f"{quote.text} [{quote.n}]" for quote in found] or [NOTHING]
    for position, text in enumerate(texts):
        yield Delta(f"\n\n{text}" if position else text)
    yield Final(engine="extractive", finish_reason="stop")
