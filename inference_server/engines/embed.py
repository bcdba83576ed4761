"""Batches of texts become vectors: `wire.embedding` is the format, an `Embed` owns the model.

An engine says what it embeds with as `<name>@<digest>:<dimensions>`, and refuses a batch that wants other weights:
vectors of two models have nothing to do with each other, and nobody would see it.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from inference_server.engines import EngineFailed, Generate
from wire import Delta, Final, Job, Malformed, Reply, Said
from wire.embedding import Batch, Rows, decode_batch, line, lines_in, weights_of

STEP = 16
_DIGITS = 12

Embed = Callable[[Sequence[str]], Awaitable[Sequence[Rows | str] | Rows]]
"""A row a text, in their order: of any length but 0, or in words why this text has none."""


class NoWeights(Exception):
    """The model cannot be opened; the message says what was expected and what to do."""


def embedding(embed: Embed, model: str, engine: str, step: int = STEP) -> Generate:
    """`step`: how many texts are embedded at once, and go out together; who takes over goes on behind them."""

    @asynccontextmanager
    async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        async with aclosing(_replies(job, said)) as replies:
            yield replies

    async def _replies(job: Job, said: Said) -> AsyncGenerator[Reply]:
        texts, out = _wanted(job, model).texts, _out(said)
        for start in range(out, len(texts), step):
            rows = await embed(texts[start : start + step])
            yield Delta("".join(_line(row) for row in rows))
        yield Final(engine=engine, model=model, finish_reason="stop")

    return generate


def _wanted(job: Job, model: str) -> Batch:
    try:
        batch = decode_batch(job.prompt)
    except Malformed as error:
        raise EngineFailed(f"this worker embeds, and takes batches of texts only: {error}", "invalid_job") from error
    if batch.weights not in (None, weights_of(model)):
        raise EngineFailed(
            f"the index was made with weights {batch.weights}, this worker has {model}: "
            "set EMBEDDING_MODEL and TANDEM_EMBED_MODEL alike on both machines",
            "invalid_job",
        )
    return batch


def _out(said: Said) -> int:
    try:
        return lines_in(said.text)
    except Malformed as error:
        raise EngineFailed(f"what another worker began cannot be gone on with: {error}", "restarted") from error


def _line(row: Rows | str) -> str:
    try:
        return line(row)
    except ValueError as error:
        return line(f"the model gave no vector: {error}")


def digest(folder: Path) -> str:
    """Of the weights in a folder, one file or several. Reads all of them: 90 MB take 0.1 s. Raises NoWeights."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise NoWeights(f"the weights of the embedding model were expected in {folder} as *.safetensors, found none")
    sums: list[str] = []
    for path in files:
        with path.open("rb") as file:
            sums.append(hashlib.file_digest(file, "sha256").hexdigest())
    # One file's is its own, as everybody else has it.
    return (sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest())[:_DIGITS]
