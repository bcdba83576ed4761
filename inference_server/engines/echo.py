"""The job's prompt back, word by word: a test knows the exact text, and a benchmark the exact rate."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio

from inference_server.engines import Generate
from wire import Delta, Final, Job, Reply, Said, Usage

# Every character is in exactly one word: the joined words are the prompt.
_WORD = re.compile(r"\S+\s*|\s+")


def echo(tokens_per_second: float = 0.0) -> Generate:
    """A word is a token. The rate is each job's own; 0 is as fast as possible."""

    @asynccontextmanager
    async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async with aclosing(_replies(job, said, tokens_per_second)) as replies:
            yield replies

    return generate


async def _replies(job: Job, said: Said, tokens_per_second: float) -> AsyncGenerator[Reply]:
    all_words = _WORD.findall(job.prompt)
    words = all_words[: job.metadata.max_tokens]
    start = anyio.current_time()
    for position, word in enumerate(words[len(_WORD.findall(said.text)) :]):
        if tokens_per_second:
            # From the start, not from the last word: delays do not add up.
            await anyio.sleep_until(start + position / tokens_per_second)
        else:
            await anyio.lowlevel.checkpoint()
        yield Delta(word)
    yield Final(
        engine="echo",
        finish_reason="stop" if len(words) == len(all_words) else "length",
        usage=Usage(completion_tokens=len(words)),
    )
