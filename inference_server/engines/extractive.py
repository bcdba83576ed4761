"""No model: the passages' best sentences, word for word, each with its citation."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from anyio import to_thread

from inference_server.quotes import quotes
from wire import Delta, Final, Job, Reply, Said

NOTHING = "The documents do not say."


@asynccontextmanager
async def extractive(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
    """One delta a sentence, a paragraph each: `sentence [n]`, where n counts the job's passages from 1.

    A question to rewrite comes back as it is, none is made of a passage, and nothing is judged: there is no model that
    could.
    """
    async with aclosing(_replies(job, said)) as replies:
        yield replies


async def _replies(job: Job, said: Said) -> AsyncGenerator[Reply]:
    match job.metadata.task:
        case "rewrite":
            texts = [job.prompt]
        case "question" | "judge":
            texts = []
        case "answer":
            texts = await to_thread.run_sync(_texts, job)
    pieces = [f"\n\n{text}" if position else text for position, text in enumerate(texts)]
    out = len(said.text)
    for piece in pieces:  # the same job has the same sentences: who takes over leaves out what is out
        if out < len(piece):
            yield Delta(piece[out:])
        out = max(0, out - len(piece))
    yield Final(engine="extractive", finish_reason="stop")


def _texts(job: Job) -> list[str]:
    return [f"{quote.text} [{quote.n}]" for quote in quotes(job.prompt, job.context)] or [NOTHING]
