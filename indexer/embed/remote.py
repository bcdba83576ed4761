"""Workers somewhere else embed the documents, several batches in flight; this machine embeds the queries where it has
the same weights. Such an index is the one that it would have made alone, and it may go on with it alone.

    Ask          one batch there and back: who carries it is the bridge's affair
    Stumbled     it failed there: halved until the text that is to blame stands alone, and refused if others pass
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import numpy as np

from indexer.embed import Done, Embedder, EmbedderAway, TextsRefused, Vectors

_KIND = "remote"
_PROBE = "dimensions"
# (beginning of the name, before a document, before a query): what the model was trained with.
_PREFIXES = (
    ("nomic-embed-text", "search_document: ", "search_query: "),
    ("mxbai-embed-large", "", "Represent this sentence for searching relevant passages: "),
    ("bge-", "", "Represent this sentence for searching relevant passages: "),
    ("e5-", "passage: ", "query: "),
    ("multilingual-e5-", "passage: ", "query: "),
)
# All that the pipeline hands over at once is in flight; a batch is small enough that little is lost with a worker.
BATCH_TEXTS, BATCH_CHARS = 32, 60_000
IN_FLIGHT = 8
AWAY_S = 30.0  # as long as a worker may be gone until another one is there
QUERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """`weights`: <digest>:<dimensions>. `vectors`: (texts, dimensions), of length 1; by row why a text has none."""

    weights: str
    vectors: Vectors
    refused: Mapping[int, str] = field(default_factory=dict[int, str])


class Stumbled(Exception):
    """A batch was tried and failed, in words; whether its texts are to blame is open."""


class Ask(Protocol):
    async def __call__(self, texts: Sequence[str], weights: str | None, away_s: float) -> Answered:
        """`weights`: what they must be embedded with; none: whatever is there. `away_s`: how long nobody may be there.

        Raises Stumbled, EmbedderAway or EmbedderUnusable.
        """
        ...


async def open_remote(
    ask: Ask, name: str, twin: Embedder | None = None, recorded: tuple[str, int] | None = None
) -> "RemoteEmbedder":
    """`twin` has the model's weights here, in full precision; `recorded` is the index's (signature, dimensions). With
    either of them nobody is asked yet. Raises EmbedderAway or EmbedderUnusable."""
    if twin:
        fits = recorded and _weights(recorded[0]) == _weights(twin.signature)
        return RemoteEmbedder(ask, *(recorded if recorded and fits else (twin.signature, twin.dimensions)), twin)
    if recorded:
        return RemoteEmbedder(ask, *recorded)
    try:
        answered = await ask([_PROBE], None, 0)
    except Stumbled as error:
        raise _away(error) from error
    return RemoteEmbedder(ask, f"{_KIND}:{name}@{answered.weights}", answered.vectors.shape[1])


def prefixes(signature: str) -> tuple[str, str]:
    """What stands before a document and before a query. The indexes that this machine could make alone have neither."""
    kind, _, rest = signature.partition(":")
    model = rest.rpartition("@")[0].rpartition("/")[2]
    known = _PREFIXES if kind == _KIND else ()
    return next(((before, query) for start, before, query in known if model.startswith(start)), ("", ""))


class RemoteEmbedder:
    """Open with `open_remote`."""

    def __init__(self, ask: Ask, signature: str, dimensions: int, twin: Embedder | None = None) -> None:
        self.signature, self.dimensions = signature, dimensions
        self._ask, self._twin = ask, twin
        self._before, self._query = prefixes(signature)
        self._weights = _weights(signature)

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        run = _Run(np.zeros((len(texts), self.dimensions), np.float32), done)
        batches = _batches(texts, run.refused)

        async def work() -> None:
            for start, batch in batches:
                if run.failure:
                    return  # what is in flight comes to its end: it may still bring vectors
                try:
                    await self._embed(start, batch, run)
                except Exception as error:  # noqa: BLE001
                    run.failure = run.failure or error

        async with anyio.create_task_group() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.start_soon(work)
        if run.failure:
            raise run.failure  # here, not in the task group, which would wrap it
        if run.refused:
            raise TextsRefused(run.refused, run.vectors)
        return run.vectors

    async def query(self, text: str) -> Vectors:
        if self._twin:
            return await self._twin.query(self._query + text)
        try:
            with anyio.fail_after(QUERY_S):
                answered = await self._ask([self._query + text], self._weights, 0)
        except TimeoutError as error:
            raise EmbedderAway(f"the workers gave no vector within {QUERY_S:g} s") from error
        except Stumbled as error:
            raise _away(error) from error
        if answered.refused:
            raise EmbedderAway(f"the workers cannot embed this query: {answered.refused[0]}")
        return answered.vectors[0]

    async def _embed(self, start: int, texts: Sequence[str], run: "_Run") -> None:
        """All of these texts end in `run`: done or refused."""
        try:
            answered = await self._ask([self._before + text for text in texts], self._weights, AWAY_S)
        except Stumbled as error:
            await self._works()
            if len(texts) == 1:
                run.refused[start] = str(error)
                return
            half = len(texts) // 2
            await self._embed(start, texts[:half], run)
            await self._embed(start + half, texts[half:], run)
        else:
            run.take(start, answered)

    async def _works(self) -> None:
        """Returns if one word can be embedded: it is the texts. Raises EmbedderAway or EmbedderUnusable."""
        try:
            await self._ask([_PROBE], self._weights, AWAY_S)
        except Stumbled as error:
            raise _away(error) from error


@dataclass(slots=True)
class _Run:
    """One call of `documents` under way."""

    vectors: Vectors
    done: Done | None
    refused: dict[int, str] = field(default_factory=dict[int, str])
    failure: Exception | None = None

    def take(self, start: int, answered: Answered) -> None:
        rows = answered.vectors
        self.vectors[start : start + len(rows)] = rows
        self.refused |= {start + row: reason for row, reason in answered.refused.items()}
        if not self.done:
            return
        first = 0
        for end in [*sorted(answered.refused), len(rows)]:
            if first < end:
                self.done(start + first, rows[first:end])
            first = end + 1


def _batches(texts: Sequence[str], refused: dict[int, str]) -> Iterator[tuple[int, Sequence[str]]]:
    """(start, texts that stand together); what nobody could embed is refused unsent."""
    start = chars = 0
    for end, text in enumerate(texts):
        reason = _unfit(text)
        if reason or end - start == BATCH_TEXTS or chars + len(text) > BATCH_CHARS:
            if start < end:
                yield start, texts[start:end]
            start, chars = end, 0
        if reason:
            refused[end] = reason
            start = end + 1
        else:
            chars += len(text)
    if start < len(texts):
        yield start, texts[start:]


def _weights(signature: str) -> str:
    """<digest>:<dimensions>"""
    return signature.rpartition("@")[2]


def _unfit(text: str) -> str | None:
    if not text.strip():
        return "it is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half a surrogate pair"
    return None


def _away(error: Stumbled) -> EmbedderAway:
    return EmbedderAway(f"the workers embed nothing: {error}; see their logs")
