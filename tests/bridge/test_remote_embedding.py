"""Batches through a real queue: what is asked of the workers, what becomes of their answers, who is waited for."""

import tempfile
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import numpy as np
import pytest
from anyio import fail_after
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from redis.asyncio import Redis

from bridge.remote_embedding import Batches, embedding_workers, has_twin
from bridge.settings import Settings
from bridge.tandem import opened
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.embed.remote import Stumbled
from inference_server.engines import Generate
from inference_server.engines.echo import echo
from inference_server.engines.embed import Embed, embedding
from inference_server.worker import work
from observability.traces import Off
from tests.indexer.embedders import WordEmbedder
from tests.processes import until
from wire import Job, Reply, Said, Wire
from wire import embedding as embedding_wire
from wire.memory import MemoryWire
from wire.redis import RedisWire

MODEL, WEIGHTS = "words@d1g5:64", "d1g5:64"
TEXTS = [f"lantern{n} hangs in barn{n % 7}" for n in range(40)]


@asynccontextmanager
async def worker(wire: Wire, generate: Generate) -> AsyncGenerator[None]:
    """At work on the wire, until it is left; what it has then is handed back."""
    stopped = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: work(wire, generate, slots=4, stopped=stopped, grace_s=0))
        try:
            await until(wire.workers)
            yield
        finally:
            stopped.set()


def words(embedder: WordEmbedder) -> Generate:
    return embedding(embedder.documents, MODEL, "words")


async def test_vectors_come_back_as_the_index_would_keep_them(wire: Wire) -> None:
    async with worker(wire, words(WordEmbedder())):
        with fail_after(30):
            answered = await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 30)
    own = await WordEmbedder().documents(TEXTS)
    assert (answered.vectors == own.astype(np.float16).astype(np.float32)).all()
    assert (answered.weights, answered.refused) == (WEIGHTS, {})


async def test_a_batch_that_is_asked_for_again_is_embedded_once(wire: Wire) -> None:
    embedder = WordEmbedder()
    async with worker(wire, words(embedder)):
        with fail_after(30):
            first = await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 30)
            again = await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 30)
    assert (first.vectors == again.vectors).all()
    assert embedder.embedded == TEXTS


async def test_a_batch_says_in_whose_trace_it_is_asked_for(wire: Wire) -> None:
    embed, traceparents = words(WordEmbedder()), list[str | None]()

    def noting(job: Job, said: Said) -> AbstractAsyncContextManager[AsyncIterator[Reply]]:
        traceparents.append(job.metadata.traceparent)
        return embed(job, said)

    async with worker(wire, noting):
        with fail_after(30):
            await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 30)
            asking = NonRecordingSpan(SpanContext(0xA, 0xB, is_remote=False, trace_flags=TraceFlags(1)))
            with use_span(asking):
                await Batches(wire, "the queue").ask(TEXTS[:3], WEIGHTS, 30)
    assert traceparents == [None, f"00-{0xA:032x}-{0xB:016x}-01"]


async def test_an_error_of_an_earlier_time_is_not_believed(wire: Wire) -> None:
    batches = Batches(wire, "the queue")
    async with worker(wire, embedding(_crashing(lambda _: True), MODEL, "words")):
        with fail_after(30), pytest.raises(Stumbled, match="ZeroDivisionError"):
            await batches.ask(TEXTS, WEIGHTS, 30)
    async with worker(wire, words(WordEmbedder())):
        with fail_after(30):
            assert (await batches.ask(TEXTS, WEIGHTS, 30)).vectors.any(axis=1).all()


async def test_a_worker_with_other_weights_is_not_listened_to(wire: Wire) -> None:
    async with worker(wire, words(WordEmbedder())):
        with fail_after(30), pytest.raises(EmbedderUnusable, match=r"0ther:64.*words@d1g5:64.*EMBEDDING_MODEL"):
            await Batches(wire, "the queue").ask(TEXTS, "0ther:64", 30)


async def test_a_worker_that_does_not_embed_is_told_from_one_that_does(wire: Wire) -> None:
    async with worker(wire, echo()):
        with fail_after(30), pytest.raises(EmbedderUnusable, match=r"the queue.*echo answered.*--task embed"):
            await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 30)


async def test_a_worker_that_does_not_look_at_the_weights_is_found_out(wire: Wire) -> None:
    honest = embedding(WordEmbedder().documents, MODEL, "words")

    @asynccontextmanager
    async def careless(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        batch = embedding_wire.decode_batch(job.prompt)
        job = Job(job.request_id, embedding_wire.encode_batch(embedding_wire.Batch(batch.texts)))
        async with honest(job, said) as replies:
            yield replies

    async with worker(wire, careless):
        with fail_after(30), pytest.raises(EmbedderUnusable, match=r"0ther:64.*words@d1g5:64 answered"):
            await Batches(wire, "the queue").ask(TEXTS, "0ther:64", 30)


async def test_workers_that_come_and_go_are_waited_for_and_only_a_long_absence_ends_the_wait(
    wire: Wire,
) -> None:
    class Restless:
        """Every other look finds a worker; none ever answers."""

        def __init__(self) -> None:
            self.looks = 0
            self.send = wire.send

        async def workers(self) -> int:
            self.looks += 1
            return self.looks % 2 if self.looks < 40 else 0

    restless = Restless()
    with fail_after(30), pytest.raises(EmbedderAway, match="no worker"):
        await Batches(cast("Wire", restless), "the queue", look_s=0.01).ask(TEXTS, WEIGHTS, 1)
    assert restless.looks > 40


async def test_with_nobody_there_it_is_said_what_to_start(wire: Wire) -> None:
    with fail_after(30), pytest.raises(EmbedderAway, match=r"no worker embeds at the queue: .*--task embed.*REDIS_URL"):
        await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 0)


async def test_a_worker_that_comes_in_time_finds_the_batch_waiting(wire: MemoryWire | RedisWire) -> None:
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with fail_after(30):
                assert (await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 8)).vectors.any()
            tasks.cancel_scope.cancel()

        tasks.start_soon(ask)
        assert await until(lambda: _queued(wire))
        async with worker(wire, words(WordEmbedder())):
            await anyio.sleep_forever()


async def test_a_worker_that_goes_away_in_the_middle_is_followed_by_another(wire: Wire) -> None:
    reached, first, second = anyio.Event(), WordEmbedder(), WordEmbedder()

    async def half(texts: Sequence[str]) -> np.ndarray:
        if first.embedded:
            reached.set()
            await anyio.sleep_forever()
        return await first.documents(texts)

    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with fail_after(30):
                answered = await Batches(wire, "the queue").ask(TEXTS, WEIGHTS, 30)
            own = await WordEmbedder().documents(TEXTS)
            assert np.allclose(answered.vectors, own, atol=1e-3)
            tasks.cancel_scope.cancel()

        tasks.start_soon(ask)
        async with worker(wire, embedding(half, MODEL, "words")):
            await reached.wait()
        async with worker(wire, words(second)):
            await anyio.sleep_forever()
    assert [*first.embedded, *second.embedded] == TEXTS


async def test_a_queue_that_cannot_be_reached_is_told_by_its_address(tmp_path: Path, port: int) -> None:
    settings = Settings(tmp_path, redis_url=f"redis://127.0.0.1:{port}")
    async with embedding_workers(settings) as ask:
        with fail_after(30), pytest.raises(EmbedderAway, match=rf"127\.0\.0\.1:{port} cannot be reached"):
            await ask(TEXTS, WEIGHTS, 0)


async def test_the_queue_is_the_promised_one_and_keeps_no_vectors_for_long(tmp_path: Path, redis_url: str) -> None:
    key = f"test-{uuid.uuid4().hex}"
    settings = Settings(tmp_path, redis_url=redis_url, redis_stream_key=key)
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(RedisWire(redis_url, f"{key}:embedding_queue", patience_s=0.05))
        await stack.enter_async_context(worker(wire, words(WordEmbedder())))
        ask = await stack.enter_async_context(embedding_workers(settings))
        with fail_after(30):
            assert (await ask(TEXTS, WEIGHTS, 0)).vectors.any()
        redis = await stack.enter_async_context(Redis.from_url(redis_url))
        kept = [await redis.pttl(name) for name in await redis.keys(f"{key}:*:embed-*")]
        assert len(kept) == 2
        assert all(0 < left_ms <= 60_000 for left_ms in kept), "vectors fill a Redis"


async def test_an_index_of_a_model_that_only_workers_have_is_searched_without_them_and_left_behind(
    redis_url: str,
) -> None:
    key = f"test-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        notes, data = Path(folder, "notes"), Path(folder, "data")
        notes.mkdir()
        for n, text in enumerate(TEXTS[:5]):
            (notes / f"{n}.txt").write_text(text)
        settings = Settings(
            data,
            redis_url=redis_url,
            redis_stream_key=key,
            embed="remote",
            embedding_model="someone/words",
            engine="extractive",
        )
        wire = RedisWire(redis_url, f"{key}:embedding_queue", patience_s=0.05)
        async with wire, worker(wire, words(WordEmbedder())), opened(settings, Off()) as tandem:
            assert (await tandem.index([str(notes)])).embedded_chunks == 5
            assert (await tandem.search("lantern3")).degraded == ()
        async with opened(settings, Off()) as tandem:
            assert (await tandem.status()).embedding == "remote:someone/words@d1g5:64"
            assert (await tandem.index([])).unchanged == 5
            found = await tandem.search("lantern3")
            assert Path(found.hits[0].path).name == "3.txt"
            assert any("--task embed" in words for words in found.degraded)
        async with opened(replace(settings, embed="onnx", embedding_model="all-MiniLM-L6-v2"), Off()) as tandem:
            assert tandem.indexer.index.embedder.signature == "remote:someone/words@d1g5:64"
            assert await tandem.grown() == 5


async def test_no_address_is_a_setting_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EmbedderUnusable, match="set REDIS_URL"):
        async with embedding_workers(Settings(tmp_path)):
            pass


def test_only_weights_that_are_at_hand_embed_queries_here(tmp_path: Path) -> None:
    assert has_twin("all-MiniLM-L6-v2", Settings(tmp_path))
    assert not has_twin("someone/large-model-8b", Settings(tmp_path))
    assert has_twin("someone/large-model-8b", Settings(tmp_path, embed_model=tmp_path))


async def _queued(wire: MemoryWire | RedisWire) -> bool:
    request_id = embedding_wire.request_id(embedding_wire.encode_batch(embedding_wire.Batch(tuple(TEXTS), WEIGHTS)))
    return (await wire.steps.read(request_id, (0, 0))).known


def _crashing(when: Callable[[Sequence[str]], bool]) -> Embed:
    async def embed(texts: Sequence[str]) -> np.ndarray:
        if when(texts):
            raise ZeroDivisionError
        return await WordEmbedder().documents(texts)

    return embed
