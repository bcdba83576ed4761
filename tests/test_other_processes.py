"""Parts in other processes: a worker behind Redis, a model server, Ollama; and what is said while one is away."""

import json
import shutil
import signal
import uuid
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis

from tests.conftest import free_port
from tests.fake_ollama import DIMENSIONS, PROBE, FakeOllama, fake_ollama
from tests.processes import Ended, Place, place, until

pytestmark = pytest.mark.slow


# --- a worker in another process


async def test_a_worker_in_another_process_answers_through_redis(redis_url: str) -> None:
    key = uuid.uuid4().hex
    wired = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": key}
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        async with here.daemon(here.docs, settings=wired) as daemon:
            await daemon.in_step(1)
            first = await daemon.answer("How long does the kiln cool?")
            assert first["engine"] == "extractive"
            assert f"no worker listens at redis {key}; start one with `tandem worker`" in first["degraded"][0]
            async with (
                here.program("worker", "--engine", "extractive", settings=wired) as worker,
                Redis.from_url(redis_url) as redis,  # pyright: ignore[reportUnknownMemberType]
            ):

                async def listens() -> bool:
                    return (await daemon.status())["workers"] == 1

                await until(listens)
                second = await daemon.answer("How long does the kiln cool?")
                assert "The kiln cools for twelve hours. [1]" in second["answer"]
                assert (second["engine"], second["degraded"]) == ("extractive", [])
                (group,) = await redis.xinfo_groups(key)
                # It was this job that came through the stream, and it is acknowledged.
                assert (group["name"], group["pending"], group["entries-read"]) == (b"gpu_workers", 0, 1)
                assert await worker.stop() == 0
                assert "finishing what is in flight" in worker.err


async def test_a_worker_waits_for_a_redis_that_comes_later(start_redis: Callable[[int], object], port: int) -> None:
    with place() as here:
        async with here.program(
            "worker", "--engine", "echo", settings={"REDIS_URL": f"redis://127.0.0.1:{port}"}
        ) as worker:
            down = await worker.says("the worker waits for it")
            assert f"Redis at 127.0.0.1:{port} cannot be reached: start it, or set REDIS_URL right" in down
            start_redis(port)
            await worker.says("the queue is back after")
            assert worker.err.count("the worker waits for it") == 1


# --- parts that are away


@pytest.fixture(scope="module")
async def indexed() -> AsyncGenerator[Place]:
    """An index made with the model of the default install; no daemon runs."""
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        assert (await here.tandem("index", here.docs)).status == 0
        yield here


@pytest.fixture(scope="module")
async def away(indexed: Place) -> dict[str, Ended]:
    """What `ask` says while the engine that was set is not there."""
    nobody = f"127.0.0.1:{free_port()}"
    redis = {"TANDEM_ENGINE": "redis", "REDIS_URL": f"redis://{nobody}"}
    settings = {
        "redis": redis,
        "refuse": redis | {"TANDEM_NO_WORKER": "refuse"},
        "openai": {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": f"http://{nobody}/v1", "TANDEM_MODEL": "llama3.1"},
    }
    said: dict[str, Ended] = {}

    async def run(name: str) -> None:
        data = shutil.copytree(indexed.data, indexed.folder / name)
        said[name] = await indexed.tandem(
            "ask", "How long does the kiln cool?", "--data", data, settings=settings[name]
        )

    async with anyio.create_task_group() as tasks:
        for name in settings:
            tasks.start_soon(run, name)
    return said


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("redis", "note: Redis at 127.0.0.1:"),
        ("openai", "note: openai llama3.1: no model server answers at http://127.0.0.1:"),
    ],
)
async def test_while_the_engine_is_away_the_extractive_one_answers_and_says_so(
    away: dict[str, Ended], name: str, told: str
) -> None:
    ended = away[name]
    assert ended.status == 0
    assert "The kiln cools for twelve hours. [1]" in ended.out
    assert told in ended.err
    assert "start it" in ended.err
    assert "answered by extractive" in ended.err


async def test_who_refuses_a_substitute_gets_an_error_instead(away: dict[str, Ended]) -> None:
    ended = away["refuse"]
    assert (ended.status, ended.out) == (1, "")
    assert "cannot be reached: start it, or set REDIS_URL right" in ended.err


# --- an embedder of another process


@pytest.fixture(scope="module")
async def ollama() -> AsyncGenerator[FakeOllama]:
    async with fake_ollama() as fake:
        yield fake


def by_ollama(url: str) -> dict[str, str]:
    return {"TANDEM_EMBED": "ollama", "OLLAMA_HOST": url}


async def test_an_index_by_ollama_has_its_dimensions_and_prefixes_and_is_waited_for(ollama: FakeOllama) -> None:
    settings = by_ollama(ollama.url)
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        ollama.hold()
        async with here.program("index", "--json", here.docs, settings=settings) as first:
            await ollama.has_documents()
            # Stopped by Ctrl-C in the middle, it loses nothing and says nothing about it.
            assert (await first.stop(signal.SIGINT), first.err) == (130, "")
        ollama.hold()
        async with here.program("index", "--json", here.docs, settings=settings) as second:
            await ollama.has_documents()
            async with here.program("search", "--json", "kiln cools", settings=settings) as search:
                waiting = await search.says("waiting:")
                assert f"in use by process {second.process.pid} (`tandem index`" in waiting
                assert "let it end, or use another folder with --data" in waiting
                ollama.go_on.set()
                assert await search.process.wait() == 0
            assert await second.process.wait() == 0
        assert json.loads(second.out)["added"] == 1
        (hit,) = json.loads(search.out)["hits"]
        assert hit["dense_score"] > 0.5
        status = (await here.tandem("status", "--json", settings=settings)).json
        assert status["embedding"].startswith("ollama:nomic-embed-text@")
        assert status["embedding"].endswith(f":{DIMENSIONS}")
    documents = [text for text in ollama.texts if text.startswith("search_document: ") and text != PROBE]
    assert all("twelve hours" in text for text in documents)
    assert "search_query: kiln cools" in ollama.texts


async def test_an_ollama_that_is_not_there_or_has_not_the_model_is_told_with_what_to_do(ollama: FakeOllama) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with place() as here:
        away = await here.tandem("index", here.docs, settings=by_ollama(nobody))
        assert away.status == 1
        assert f"Ollama at {nobody} cannot be reached" in away.err
        assert "start it with `ollama serve`, set OLLAMA_HOST, or unset TANDEM_EMBED" in away.err
        missing = await here.tandem("index", here.docs, settings=by_ollama(ollama.url) | {"EMBEDDING_MODEL": "bge-m3"})
        assert missing.status == 1
        assert f"Ollama at {ollama.url} has no model bge-m3; run `ollama pull bge-m3` there" in missing.err


async def test_another_model_is_built_by_the_next_run_and_nothing_is_embedded_twice(ollama: FakeOllama) -> None:
    before = len(ollama.texts)
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        assert (await here.tandem("index", "--json", here.docs)).json["embedded_chunks"] == 1
        by_other = by_ollama(ollama.url)
        # Until the other index is built the former model answers, whatever the settings say.
        found = (await here.tandem("search", "--json", "kiln", settings=by_other)).json
        assert (found["degraded"], Path(found["hits"][0]["path"]).name) == ([], "kiln.md")
        growing = (await here.tandem("status", "--json", settings=by_other)).json
        assert growing["embedding"].startswith("onnx-int8:all-MiniLM-L6-v2@")
        assert growing["growing"]["embedding"].startswith("ollama:nomic-embed-text@")
        assert growing["growing"]["chunks_left"] == 1
        assert (await here.tandem("index", "--json", settings=by_other)).json["embedded_chunks"] == 1
        after = (await here.tandem("status", "--json", settings=by_other)).json
        assert (after["embedding"].split("@")[0], after["growing"]) == ("ollama:nomic-embed-text", None)
        hit = (await here.tandem("search", "--json", "kiln cools", settings=by_other)).json["hits"][0]
        assert hit["dense_score"] > 0.5
    documents = [text for text in ollama.texts[before:] if text.startswith("search_document: ") and text != PROBE]
    assert len(documents) == 1


async def test_a_model_that_is_not_there_leaves_the_index_answering_and_says_so(indexed: Place) -> None:
    by_nobody = by_ollama(f"http://127.0.0.1:{free_port()}")
    found = await indexed.tandem("search", "--json", "kiln", settings=by_nobody)
    assert [Path(hit["path"]).name for hit in found.json["hits"]] == ["kiln.md"]
    status = (await indexed.tandem("status", "--json", settings=by_nobody)).json
    assert status["embedding"].startswith("onnx-int8:")
    assert any("cannot be reached" in warning for warning in status["warnings"])
