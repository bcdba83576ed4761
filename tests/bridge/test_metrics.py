"""`GET /metrics`: what the index holds and how the queue fares, as Prometheus reads it."""

import re
import subprocess
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import httpx
import pytest

from bridge import metrics
from bridge.settings import Settings
from tests.bridge.fake_service import FakeService, serving
from tests.processes import place_with_examples, until
from wire import Delta, Final, Inbox, Job, WorkerCard
from wire.redis import RedisWire

INDEX = metrics.Index(12, 340, 3, 1)
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? (-?[0-9.e+-]+)")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"(?:,|$)')
PARTS = ("_bucket", "_sum", "_count")
StartRedis = Callable[..., "subprocess.Popen[bytes]"]


def samples(page: bytes, queue: str = "") -> dict[str, float]:
    """By name, or name and label, those of one queue and those of none; every line is a sample, or HELP and TYPE of the
    samples after it."""
    found: dict[str, float] = {}
    typed: list[str] = []
    of_family: list[str] = []
    for line in page.decode().split("\n")[:-1]:
        if line.startswith("# "):
            _, what, name, said = line.split(" ", 3)
            assert what in ("HELP", "TYPE") and name.startswith("tandem_")
            if what == "TYPE":
                assert name not in typed and (said == "counter") == name.endswith("_total")
                typed.append(name)
                of_family = [f"{name}{part}" for part in PARTS] if said == "histogram" else [name]
            continue
        parts = SAMPLE.fullmatch(line)
        assert parts, line
        assert parts[1] in of_family, "a family's samples stand together"
        assert not LABEL.sub("", parts[2] or "")
        labels = dict(LABEL.findall(parts[2] or ""))
        of = labels.pop("queue", "")
        assert bool(of) == parts[1].startswith("tandem_queue")
        if of in ("", queue):
            found[" ".join((parts[1], *labels.values()))] = float(parts[3])
    assert page.endswith(b"\n")
    return found


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


async def serve(inbox: Inbox) -> None:
    (delivery,) = await inbox.take(1)
    async with inbox.hold(delivery) as hold:
        await hold.emit(Delta("ok"))
        await hold.finish(Final())


async def test_without_a_queue_the_index_alone_is_told() -> None:
    assert samples(await metrics.page(INDEX, {})) == {
        "tandem_index_documents": 12,
        "tandem_index_chunks": 340,
        "tandem_index_pending": 3,
        "tandem_index_failed": 1,
    }


async def test_the_queue_the_workers_and_what_became_of_the_jobs_are_told(redis_url: str, key: str) -> None:
    async with (
        RedisWire(redis_url, key, patience_s=0.05, lease_s=1.5) as wire,
        wire.attach(WorkerCard("echo", "small", 4)) as inbox,
    ):
        before = samples(await metrics.page(INDEX, {key: wire.office()}), key)
        assert (before["tandem_queue_up"], before[f"tandem_queue_depth {key}"]) == (1, 0)
        # Nobody knows them yet, and nought would be the best of figures.
        assert "tandem_queue_first_token_seconds" not in before and f"tandem_queue_wait_seconds {key}" not in before
        async with wire.send(Job("a", "why?")):
            await serve(inbox)
        async with wire.send(Job("b", "why?")), wire.send(Job("c", "why?")):
            await inbox.take(1)

            async def told() -> dict[str, float] | None:
                now = samples(await metrics.page(INDEX, {key: wire.office()}), key)
                return now if "tandem_queue_first_token_seconds" in now else None

            now = await until(told)
            await wire.cancel("c")
            after = samples(await metrics.page(INDEX, {key: wire.office()}), key)
    assert (now[f"tandem_queue_depth {key}"], now[f"tandem_queue_waiting {key}"]) == (2, 1)
    assert (now["tandem_queue_in_flight"], now["tandem_queue_slots"]) == (1, 4)
    assert [now[f"tandem_queue_workers {state}"] for state in ("ready", "draining", "silent", "old")] == [1, 0, 0, 0]
    assert now[f"tandem_queue_wait_seconds {key}"] > 0 and now["tandem_queue_job_seconds"] > 0
    assert now["tandem_queue_tokens_per_second"] >= 0
    counted = {
        name: now[f"tandem_queue_{name}_total"] for name in ("admitted", "finished", "refused", "reclaimed", "dead")
    }
    assert counted == {"admitted": 3, "finished": 1, "refused": 0, "reclaimed": 0, "dead": 0}
    assert (after["tandem_queue_cancelled_total"], after[f"tandem_queue_depth {key}"]) == (1, 1)


async def test_a_label_of_a_hostile_worker_stays_a_label(redis_url: str, key: str) -> None:
    model = 'a"} 1\ntandem_queue_up 0\\'
    async with (
        RedisWire(redis_url, key, patience_s=0.05) as wire,
        wire.attach(WorkerCard("echo", model, 1)) as inbox,
    ):
        await inbox.take(1)
        async with wire.send(Job("a", "why?")):
            told = samples(await metrics.page(INDEX, {key: wire.office()}), key)
    assert told["tandem_queue_up"] == 1
    assert rf"tandem_queue_depth {key}:a\"}} 1\ntandem_queue_up 0\\" in told


async def test_a_queue_that_is_away_or_hangs_is_a_figure_and_no_wait(port: int, key: str) -> None:
    async def told(port: int) -> dict[str, float]:
        async with RedisWire(f"redis://127.0.0.1:{port}", key) as wire:
            with anyio.fail_after(30):
                return samples(await metrics.page(INDEX, {key: wire.office()}), key)

    away = await told(port)
    assert (away["tandem_queue_up"], away["tandem_index_documents"]) == (0, 12)
    assert not any(name.startswith("tandem_queue_depth") for name in away)
    async with await anyio.create_tcp_listener(
        local_host="127.0.0.1", local_port=port
    ):  # it takes calls, and never answers
        assert await told(port) == away


@asynccontextmanager
async def gateway(**options: object) -> AsyncGenerator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    async def page() -> bytes:
        return await metrics.page(INDEX, {})

    with TemporaryDirectory(dir="/tmp") as folder:
        async with serving(FakeService(), Path(folder), metrics=page, **options) as (url, path):
            local = httpx.AsyncHTTPTransport(uds=path)
            async with (
                httpx.AsyncClient(base_url=url) as tcp,
                httpx.AsyncClient(base_url="http://tandem", transport=local) as unix,
            ):
                yield tcp, unix


async def test_the_page_has_the_guards_of_all_others(key: str) -> None:
    async with gateway() as (tcp, _):
        assert (await tcp.get("/metrics", headers={"Host": "evil.example"})).status_code == 421
    async with gateway(token="correct horse") as (tcp, unix):
        assert (await tcp.get("/metrics")).status_code == 401
        assert (await tcp.get("/metrics", headers={"Origin": "https://evil.example"})).status_code == 403
        asked = await tcp.get("/metrics", headers={"Authorization": "Bearer correct horse"})
        assert asked.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert samples(asked.content) == samples((await unix.get("/metrics")).content)


async def test_the_queue_of_texts_to_embed_is_told_beside_that_of_questions_where_workers_embed(
    redis_url: str, key: str
) -> None:
    settings = Settings(Path(), redis_url=redis_url, redis_stream_key=key, engine="redis", embed="remote")
    texts = f"{key}:embedding_queue"
    async with (
        RedisWire(redis_url, texts, patience_s=0.05) as wire,
        wire.attach(WorkerCard("onnx", None, 3)) as inbox,
        wire.send(Job("a", "texts")),
    ):
        await inbox.take(1)
        async with metrics.offices(settings) as offices:
            page = await metrics.page(INDEX, offices)
    answers, embeds = samples(page, key), samples(page, texts)
    assert (answers["tandem_queue_up"], embeds["tandem_queue_up"]) == (1, 1)
    assert (answers[f"tandem_queue_depth {key}"], embeds[f"tandem_queue_depth {texts}"]) == (0, 1)
    assert (answers["tandem_queue_slots"], embeds["tandem_queue_slots"]) == (0, 3)
    assert (answers["tandem_queue_admitted_total"], embeds["tandem_queue_admitted_total"]) == (0, 1)


@pytest.mark.parametrize(
    ("engine", "embed", "told"),
    [
        ("extractive", "onnx", []),
        ("redis", "onnx", ["inference_queue"]),
        ("extractive", "remote", ["embedding_queue"]),
        ("redis", "remote", ["inference_queue", "embedding_queue"]),
    ],
)
async def test_only_queues_that_the_index_uses_are_told(engine: str, embed: str, told: list[str]) -> None:
    settings = Settings(Path(), redis_url="redis://127.0.0.1:1", engine=engine, embed=embed)
    async with metrics.offices(settings) as offices:
        assert list(offices) == told


@pytest.mark.slow
async def test_a_daemon_tells_of_its_index_and_of_a_queue_that_comes_and_goes(
    port: int, start_redis: StartRedis, key: str
) -> None:
    settings = {"REDIS_URL": f"redis://127.0.0.1:{port}", "REDIS_STREAM_KEY": key}
    with place_with_examples() as here:
        async with here.daemon(here.docs, settings=settings) as daemon:
            await daemon.in_step(12)

            async def up() -> dict[str, float] | None:
                with anyio.fail_after(30):
                    response = await daemon.http.get("/metrics")
                told = samples(response.raise_for_status().content, key)
                return told if told["tandem_queue_up"] else None

            away = samples((await daemon.http.get("/metrics")).raise_for_status().content, key)
            assert (away["tandem_queue_up"], away["tandem_index_documents"]) == (0, 12)
            assert away["tandem_index_chunks"] >= 12
            start_redis(port)
            told = await until(up)
            assert told[f"tandem_queue_depth {key}"] == 0
