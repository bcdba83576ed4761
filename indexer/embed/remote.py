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
from indexer.embed.prefixes import NOTHING, NOTHING_ASKED, Asked, Prefixes, of, tagged

_KIND = "remote"
_PROBE = "dimensions"
# What a signature stands for that tells of no prefixes.
_ALWAYS = (
    ("nomic-embed-text", of("nomic-embed-text")),
    ("mxbai-embed-large", of("mxbai-embed-large")),
    ("bge-", of("bge-base-en")),
    ("e5-", of("e5-base")),
    ("multilingual-e5-", of("multilingual-e5-base")),
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


class Twin(Embedder, Protocol):
    """The model's weights here, in full precision, and what it puts before a text by itself."""

    @property
    def prefixes(self) -> Prefixes: ...


async def open_remote(
    ask: Ask,
    name: str,
    twin: Twin | None = None,
    recorded: tuple[str, int] | None = None,
    asked: Asked = NOTHING_ASKED,
) -> "RemoteEmbedder":
    """`recorded` is the index's (signature, dimensions). With it or a twin nobody is asked yet.

    Raises EmbedderAway or EmbedderUnusable.
    """
    own = asked.over(of(name))
    if twin and recorded and _was_made_so(recorded[0], name, own, twin):
        return RemoteEmbedder(ask, *recorded, own, twin)
    if twin:
        return RemoteEmbedder(ask, twin.signature, twin.dimensions, twin.prefixes, twin)
    if recorded and recorded[0].startswith(f"{_KIND}:"):
        return RemoteEmbedder(ask, _tagged(recorded[0], name, own), recorded[1], own)
    if recorded:  # this machine made it alone, or could have
        return RemoteEmbedder(ask, *recorded, own if recorded[0].count(":") > 2 else NOTHING)
    try:
        answered = await ask([_PROBE], None, 0)
    except Stumbled as error:
        raise _away(error) from error
    signature = _tagged(f"{_KIND}:{name}@{answered.weights}", name, own)
    return RemoteEmbedder(ask, signature, answered.vectors.shape[1], own)


class RemoteEmbedder:
    """Open with `open_remote`."""

    def __init__(
        self, ask: Ask, signature: str, dimensions: int, prefixes: Prefixes = NOTHING, twin: Twin | None = None
    ) -> None:
        self.signature, self.dimensions, self.prefixes = signature, dimensions, prefixes
        self._ask, self._twin = ask, twin
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
            return await self._twin.query(text)
        try:
            with anyio.fail_after(QUERY_S):
                answered = await self._ask([self.prefixes.query + text], self._weights, 0)
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
            answered = await self._ask([self.prefixes.document + text for text in texts], self._weights, AWAY_S)
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


def _was_made_so(signature: str, name: str, own: Prefixes, twin: Twin) -> bool:
    """Without weights here, and as these would make it."""
    same = _weights(signature) == _weights(twin.signature) and own == twin.prefixes
    return same and signature.startswith(f"{_KIND}:") and signature == _tagged(signature, name, own)


def _tagged(signature: str, name: str, own: Prefixes) -> str:
    stem = name.rpartition("/")[2]
    return tagged(signature, own, next((always for start, always in _ALWAYS if stem.startswith(start)), NOTHING))


def _weights(signature: str) -> str:
    """<digest>:<dimensions>"""
    return ":".join(signature.rpartition("@")[2].split(":")[:2])


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
