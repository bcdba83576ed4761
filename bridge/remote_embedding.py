"""Batches for `indexer.embed.remote`, carried by the queue: sent, and waited for as long as there is a worker."""

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from opentelemetry import propagate

from bridge.settings import Settings, worded
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.embed.remote import Answered, Ask, Stumbled
from wire import Busy, Final, Job, Malformed, Metadata, QueueDown, Wire, embedding
from wire.tasks import background

DEADLINE_MS = 300_000  # of one batch
_BUSY_S = 120.0
_KEPT_S = 60.0  # vectors once read: a fast worker makes a megabyte of them a second
_LONGEST_PAUSE_S = 5.0
_REMEDY = (
    "start `tandem worker --engine vllm --task embed` (or sentence-transformers, or onnx) with the same REDIS_URL, "
    "or unset TANDEM_EMBED to embed on this machine"
)


@asynccontextmanager
async def embedding_workers(
    settings: Settings, over: Callable[[Wire], Wire] = lambda wire: wire
) -> AsyncGenerator[Ask]:
    """`over`: the queue becomes what batches are sent by. Entering asks nobody. Raises WrongSetting for an address that
    cannot be one, EmbedderUnusable without any."""
    from wire.redis import RedisWire

    if settings.redis_url is None:
        raise EmbedderUnusable("this index's vectors are made by workers: set REDIS_URL to where they take their jobs")
    key = embedding.queue(settings.redis_stream_key)
    with worded():
        wire = RedisWire(settings.redis_url, key, settings.redis_key, lease_s=settings.lease_s, kept_s=_KEPT_S)
    async with wire:
        yield Batches(over(wire), key).ask


def has_twin(name: str, settings: Settings) -> bool:
    """Whether this machine has a model's weights, or fetches them without much ado: no large one for its queries."""
    from indexer.embed import packaged, weights

    return settings.embed_model is not None or packaged.package(name) is not None or name in weights.PINNED


class Batches:
    """`where`: the queue, in words. `look_s`: how often it is asked who is there."""

    def __init__(self, wire: Wire, where: str, look_s: float = 1.0) -> None:
        self._wire, self._where, self._look_s = wire, where, look_s

    async def ask(self, texts: Sequence[str], weights: str | None, away_s: float) -> Answered:
        """See `indexer.embed.remote.Ask`."""
        try:
            prompt = embedding.encode_batch(embedding.Batch(tuple(texts), weights))
            # By the batch's own name: who repeats it after a kill finds it under way, or done.
            text, final = await self._answer(embedding.request_id(prompt), prompt, away_s)
            if final.error and final.error_code != "poison":
                # It may be of an earlier time, and its cause be gone; only a request of our own says how it is now.
                text, final = await self._answer(f"embed-{uuid.uuid4().hex}", prompt, away_s)
        except Malformed as error:
            raise Stumbled(str(error)) from error
        if final.error:
            raise self._meaning(final)
        return self._read(text, final, len(texts), weights)

    async def _answer(self, request_id: str, prompt: str, away_s: float) -> tuple[str, Final]:
        """What the deltas say together, and the final. Waits out a queue that is away or full."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        metadata = Metadata(deadline_ms=DEADLINE_MS, traceparent=carrier.get("traceparent"))
        job = Job(request_id, prompt, metadata=metadata)
        absence, busy_s = _Absence(away_s), 0.0
        while True:
            try:
                return await self._heard(job, absence)
            except QueueDown as error:
                if gone := absence.lasts(str(error)):
                    raise gone from error
                pause_s = self._look_s
            except Busy as error:
                pause_s = min(error.retry_after_s, _LONGEST_PAUSE_S)
                busy_s += pause_s
                if busy_s > min(away_s, 1) * _BUSY_S:
                    raise EmbedderAway(f"{self._where} is busy: {error}") from error
            await anyio.sleep(pause_s)

    async def _heard(self, job: Job, absence: "_Absence") -> tuple[str, Final]:
        pieces: list[str] = []
        with anyio.CancelScope() as scope:
            async with background() as tasks:
                tasks.start_soon(self._watch, absence, scope)
                async with self._wire.send(job) as replies:
                    async for reply in replies:
                        if isinstance(reply, Final):
                            return "".join(pieces), reply
                        pieces.append(reply.chunk)
        raise absence.gone or Stumbled("the answer stopped without its end")

    async def _watch(self, absence: "_Absence", scope: anyio.CancelScope) -> None:
        """Ends the wait once nobody has been there for long enough. What is queued stays: who repeats it joins it."""
        while True:
            await anyio.sleep(min(self._look_s, absence.limit_s))
            try:
                manned, reason = await self._wire.workers(), f"no worker embeds at {self._where}: {_REMEDY}"
            except QueueDown as error:
                manned, reason = 0, str(error)
            if manned:
                absence.ends()
            elif absence.lasts(reason):
                scope.cancel()
                return

    def _meaning(self, final: Final) -> Exception:
        words = str(final.error)
        match final.error_code:
            case "invalid_job":
                return EmbedderUnusable(words)
            case "engine" | "poison":
                return Stumbled(words)
            case _:
                return EmbedderAway(f"the workers at {self._where} gave no vectors: {words}")

    def _read(self, text: str, final: Final, count: int, wanted: str | None) -> Answered:
        weights = embedding.weights_of(final.model or "")
        dimensions = weights.rpartition(":")[2]
        if not dimensions.isdecimal() or wanted not in (None, weights):
            raise EmbedderUnusable(
                f"vectors of weights {wanted or 'that are named'} were expected from the worker at {self._where}, "
                f"{final.model or final.engine or 'one without a name'} answered: see that only workers with "
                "`--task embed` and the same EMBEDDING_MODEL take from it"
            )
        try:
            return Answered(weights, *embedding.read(text, count, int(dimensions)))
        except Malformed as error:
            raise Stumbled(f"a worker's vectors cannot be read: {error}") from error


class _Absence:
    """Nobody is there to embed: since when, and when that is too long. `gone` says so then."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._since: float | None = None
        self.gone: EmbedderAway | None = None

    def ends(self) -> None:
        self._since = None

    def lasts(self, reason: str) -> EmbedderAway | None:
        now = anyio.current_time()
        self._since = now if self._since is None else self._since
        if now - self._since >= self.limit_s:
            self.gone = EmbedderAway(reason)
        return self.gone
