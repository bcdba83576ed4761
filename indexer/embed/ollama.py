"""Ollama's /api/embed: a model of any size on this machine's GPU, or on another's.

    400                                             a text is bad: the batch is halved until it is alone, and refused
    429, 503                                        its queue is full: waited out
    nobody listens                                  waited for, then EmbedderAway
    broken off, hung, 5xx, vectors that are none    asked again; what fails alone while others pass is refused
    404, 401, a model with another digest           EmbedderUnusable

Vectors are handed out only after the digest was seen to be the index's still: none of another model gets in.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import anyio
import httpx
import numpy as np
import ollama

from indexer.embed import Done, EmbedderAway, EmbedderUnusable, TextsRefused, Vectors
from indexer.embed.prefixes import NOTHING, NOTHING_ASKED, Asked, of, tagged

# Ollama does not add prefixes. What a signature stands for that tells of none:
_ALWAYS = {name: of(name) for name in ("nomic-embed-text", "mxbai-embed-large")}
_BATCH, _IN_FLIGHT = 32, 3
_CONNECT_S = 3
_TRIES, _TRIES_ALONE = 2, 5  # a batch is soon halved; one text is refused only when there is no doubt

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what. `away_s` and `full_s` hold for documents: a query waits for neither."""

    away_s: float = 30  # nobody listens, or not even one word is embedded
    full_s: float = 120  # its queue is full
    cold_s: float = 120  # an answer, while the model may still be loading
    warm_s: float = 20  # any other answer; or ten times the slowest one, if that is more
    query_s: float = 10  # a query, all in all; also how long a start waits for a full queue
    first_pause_s: float = 0.2
    longest_pause_s: float = 8


@asynccontextmanager
async def open_ollama(
    host: str,
    model: str,
    recorded: tuple[str, int] | None = None,
    patience: Patience | None = None,
    batch: int = _BATCH,
    in_flight: int = _IN_FLIGHT,
    asked: Asked = NOTHING_ASKED,
) -> AsyncGenerator["OllamaEmbedder"]:
    """`recorded` is the index's (signature, dimensions): with it, an Ollama that is away now is no error yet.

    Raises EmbedderAway (nothing recorded and no answer) or EmbedderUnusable (the model is not pulled).
    """
    client = ollama.AsyncClient(host, timeout=httpx.Timeout(None, connect=_CONNECT_S))
    embedder = OllamaEmbedder(_Ollama(client, host, model, patience or Patience()), batch, in_flight, asked)
    try:
        await embedder.open(recorded)
        yield embedder
    finally:
        await client.close()


class OllamaEmbedder:
    """Texts in batches, several of them in flight; each is asked for until it has its one answer."""

    def __init__(self, server: "_Ollama", batch: int, in_flight: int, asked: Asked = NOTHING_ASKED) -> None:
        self._server, self._batch, self._in_flight = server, batch, in_flight
        self._met = False
        self.prefixes = asked.over(of(server.model))
        self._always = _ALWAYS.get(server.model.split(":")[0].split("/")[-1], NOTHING)
        self._probe = [f"{self.prefixes.document}dimensions"]
        self.signature = ""
        self.dimensions = 0

    async def open(self, recorded: tuple[str, int] | None) -> None:
        try:
            self.signature, self.dimensions = await self._present(recorded)
            self._met = True
        except EmbedderAway:
            if recorded is None:
                raise
            self.signature, self.dimensions = tagged(recorded[0], self.prefixes, self._always), recorded[1]

    async def meet(self) -> None:
        """Makes sure that this is the index's model. Raises EmbedderAway or EmbedderUnusable."""
        self._same(*await self._present((self.signature, self.dimensions)))

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        if not self._met:
            await self.meet()
        run = _Run(np.zeros((len(texts), self.dimensions), np.float32), done)
        batches = _batches(texts, self._batch, run.refused)

        async def work() -> None:
            for start, batch in batches:
                if run.failure:
                    return  # what is in flight comes to its end: it may still bring vectors
                try:
                    await self._embed(start, batch, run)
                except Exception as error:  # noqa: BLE001
                    run.failure = run.failure or error

        async with anyio.create_task_group() as tasks:
            for _ in range(self._in_flight):
                tasks.start_soon(work)
        if run.failure:
            raise run.failure  # here, not in the task group, which would wrap it
        if run.refused:
            raise TextsRefused(run.refused, run.vectors)
        return run.vectors

    async def query(self, text: str) -> Vectors:
        server = self._server
        try:
            with anyio.fail_after(server.patience.query_s):
                if not self._met:
                    await self.meet()
                ask = partial(server.embed, [self.prefixes.query + text], self.dimensions)
                (vector,) = await server.surely(ask, server.soon)
                self._same_digest(await server.surely(server.digest, server.soon))
                return vector
        except TimeoutError as error:
            raise EmbedderAway(f"{server.name} gave no vector within {server.patience.query_s:g} s") from error

    async def _embed(self, start: int, texts: Sequence[str], run: "_Run") -> None:
        """All of these texts end in `run`: done or refused."""
        server, alone = self._server, len(texts) == 1
        prefixed = [self.prefixes.document + text for text in texts]
        waits = replace(server.late, tries=_TRIES_ALONE if alone else _TRIES)
        try:
            rows = await server.patiently(partial(server.embed, prefixed, self.dimensions), waits)
        except _Bad as bad:
            # A model that embeds nothing refuses every text, and that is no fault of the texts.
            if alone and not run.works:
                await self._works()
                run.works = True
            reason = str(bad)
        except _Broken as broken:
            await self._works()
            reason = str(broken)
        else:
            self._same_digest(await server.surely(server.digest, server.late))
            run.take(start, rows)
            return
        if alone:
            run.refused[start] = reason
            return
        half = len(texts) // 2
        await self._embed(start, texts[:half], run)
        await self._embed(start + half, texts[half:], run)

    async def _works(self) -> None:
        """Returns if the index's model can embed one word. Raises EmbedderAway or EmbedderUnusable."""
        server = self._server
        self._same_digest(await server.surely(server.digest, server.late))
        await server.surely(partial(server.embed, self._probe, self.dimensions), server.late)

    async def _present(self, known: tuple[str, int] | None) -> tuple[str, int]:
        """The (signature, dimensions) of the model that is there; where it is the known one, without embedding."""
        server = self._server
        digest = await server.surely(server.digest, server.soon)
        if known and known[0] == self._signature(digest, known[1]):
            return known
        dimensions = (await server.surely(partial(server.embed, self._probe), server.soon)).shape[1]
        return self._signature(digest, dimensions), dimensions

    def _signature(self, digest: str, dimensions: int) -> str:
        signature = f"ollama:{self._server.model}@{digest[:12]}:{dimensions}"
        return tagged(signature, self.prefixes, self._always)

    def _same_digest(self, digest: str) -> None:
        self._same(self._signature(digest, self.dimensions), self.dimensions)

    def _same(self, signature: str, dimensions: int) -> None:
        self._met = (signature, dimensions) == (self.signature, self.dimensions)
        if not self._met:
            raise EmbedderUnusable(
                f"this index was made with {self.signature}, but {self._server.name} now has {signature}; "
                "nothing was changed. Pull the former model again, or index into another --data folder"
            )


@dataclass(slots=True)
class _Run:
    """One call of `documents` under way."""

    vectors: Vectors
    done: Done | None
    refused: dict[int, str] = field(default_factory=dict[int, str])
    works: bool = False  # something was embedded
    failure: Exception | None = None

    def take(self, start: int, rows: Vectors) -> None:
        self.vectors[start : start + len(rows)] = rows
        self.works = True
        if self.done:
            self.done(start, rows)


class _Trouble(Exception):
    """One request failed; its text says how. `lasting`: what is said of the server when that does not end."""

    lasting = ""


class _Full(_Trouble):
    lasting = "is busy: {}"


class _Gone(_Trouble):
    """Nobody listens."""

    lasting = (
        "cannot be reached ({}); start it with `ollama serve`, set OLLAMA_HOST, "
        "or unset TANDEM_EMBED to embed in this process"
    )


class _Broken(_Trouble):
    """Asked, and no proper answer came."""

    lasting = "gave no proper answer: {}; see its log, or restart it"


class _Bad(_Trouble):
    """A text of these will never be embedded."""

    lasting = "refused: {}"


@dataclass(frozen=True, slots=True)
class _Waits:
    """`tries`: how often a broken answer is asked for again before _Broken is raised; None: for `away_s`."""

    full_s: float
    away_s: float
    tries: int | None


class _Ollama:
    """One model of one server: single requests, and their repetition."""

    def __init__(self, client: ollama.AsyncClient, host: str, model: str, patience: Patience) -> None:
        self._client, self.model, self.patience = client, model, patience
        self.name = f"Ollama at {host}"
        self.late = _Waits(patience.full_s, patience.away_s, None)
        self.soon = _Waits(patience.query_s, 0, _TRIES)
        self._cold, self._slowest_s = True, 0.0

    async def embed(self, texts: Sequence[str], dimensions: int | None = None) -> Vectors:
        """One request: (texts, dimensions), each of length 1. Raises _Trouble or EmbedderUnusable."""
        began = anyio.current_time()
        limit_s = self.patience.cold_s if self._cold else max(self.patience.warm_s, 10 * self._slowest_s)
        try:
            # truncate=True would cut a long text in silence.
            reply = await self._within(limit_s, self._client.embed(self.model, texts, truncate=False))
        except TimeoutError as error:
            self._cold = True  # it may have been unloaded, and a large one takes its time to come back
            raise _Broken(f"no answer within {limit_s:g} s") from error
        took_s = anyio.current_time() - began - (reply.load_duration or 0) / 1e9
        self._cold, self._slowest_s = False, max(self._slowest_s, took_s)
        return _proper(reply.embeddings, len(texts), dimensions)

    async def digest(self) -> str:
        """One request. Raises _Trouble or EmbedderUnusable."""
        try:
            held = (await self._within(self.patience.query_s, self._client.list())).models
        except TimeoutError as error:
            raise _Broken("it lists no models") from error
        wanted = {self.model, f"{self.model}:latest"}
        digest = next((one.digest for one in held if one.model in wanted), None)
        if not digest:
            raise self._not_pulled()
        return digest

    async def surely(self, ask: Callable[[], Awaitable[_T]], waits: _Waits) -> _T:
        """As `patiently`, where nothing is wrong with the text. Raises EmbedderAway or EmbedderUnusable."""
        try:
            return await self.patiently(ask, waits)
        except _Bad as error:
            raise EmbedderUnusable(f"{self.name} refused to embed with {self.model}: {error}") from error
        except _Broken as error:
            raise self._away(error) from error

    async def patiently(self, ask: Callable[[], Awaitable[_T]], waits: _Waits) -> _T:
        """Raises _Bad, _Broken, EmbedderAway or EmbedderUnusable."""
        full_s, away_s, broken, began = 0.0, 0.0, 0, anyio.current_time()
        for pause_s in _pauses(self.patience.first_pause_s, self.patience.longest_pause_s):
            try:
                return await ask()
            except _Bad:
                raise
            except _Trouble as trouble:
                spent_s = anyio.current_time() - began + pause_s
                if isinstance(trouble, _Full):
                    full_s += spent_s
                elif isinstance(trouble, _Broken) and waits.tries is not None:
                    broken += 1
                    if broken == waits.tries:
                        raise
                else:
                    away_s += spent_s
                if full_s > waits.full_s or away_s > waits.away_s:
                    raise self._away(trouble) from trouble
            await anyio.sleep(pause_s)
            began = anyio.current_time()
        raise AssertionError("the pauses never end")

    async def _within(self, limit_s: float, asked: Awaitable[_T]) -> _T:
        try:
            with anyio.fail_after(limit_s):
                return await asked
        except ollama.ResponseError as error:
            raise self._meaning(error) from error
        except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Gone(type(error).__name__) from error
        except httpx.HTTPError as error:
            raise _Broken(f"the connection broke off ({type(error).__name__})") from error
        except (ValueError, TypeError) as error:  # no JSON, or JSON of another shape: {"error": …} under 200
            raise _Broken(f"no answer of Ollama: {' '.join(str(error).split())[:200]}") from error

    def _meaning(self, error: ollama.ResponseError) -> Exception:
        status, words = error.status_code, error.error
        if status in (400, 413, 422):
            return _Bad(f"Ollama refused it: {words}")
        if status in (429, 503):
            return _Full(words)
        if status == 404 and "model" in words:
            return self._not_pulled()
        if status == 501 or (status < 500 and status not in (408, 499)):
            return EmbedderUnusable(f"{self.name} refused to embed with {self.model}: {words} (status {status})")
        return _Broken(f"{words} (status {status})")

    def _not_pulled(self) -> EmbedderUnusable:
        return EmbedderUnusable(f"{self.name} has no model {self.model}; run `ollama pull {self.model}` there")

    def _away(self, trouble: _Trouble) -> EmbedderAway:
        return EmbedderAway(f"{self.name} {trouble.lasting.format(trouble)}")


def _batches(texts: Sequence[str], size: int, refused: dict[int, str]) -> Iterator[tuple[int, Sequence[str]]]:
    """(start, texts that stand together); what nobody could embed is refused unsent."""
    start = 0
    for end, text in enumerate(texts):
        if reason := _unfit(text):
            refused[end] = reason
        if reason or end - start == size:
            if start < end:
                yield start, texts[start:end]
            start = end + bool(reason)
    if start < len(texts):
        yield start, texts[start:]


def _unfit(text: str) -> str | None:
    if not text.strip():
        return "it is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it holds half a surrogate pair"
    return None


def _proper(embeddings: Sequence[Sequence[float]], count: int, dimensions: int | None) -> Vectors:
    vectors = np.zeros(0)
    lengths = {len(vector) for vector in embeddings}
    if len(lengths) == 1:
        vectors = np.array(embeddings, np.float64)
    if len(vectors) != count or (dimensions is not None and lengths != {dimensions}):
        wanted = f"{count} vectors of {dimensions or 'equal'} dimensions"
        raise _Broken(f"{wanted} were expected, {len(embeddings)} of {sorted(lengths)} came")
    norms: Any = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or not norms.all():
        raise _Broken("a vector was expected to be of numbers and to have a direction; this one is not")
    return (vectors / norms).astype(np.float32)


def _pauses(first_s: float, longest_s: float) -> Iterator[float]:
    """Growing, and each of its own length: those who wait together do not come back together."""
    pause_s = first_s
    while True:
        yield pause_s * random.uniform(0.5, 1)  # noqa: S311
        pause_s = min(2 * pause_s, longest_s)
