"""The doctor before servers: Qdrant and its GPU, Ollama, Redis, a model server, Phoenix."""

import tempfile
import uuid
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from bridge.doctor import store
from bridge.doctor.check import ANSWER_S
from bridge.settings import Settings
from tests.bridge.doctored import NAME, Server, checked, index, one, serving
from tests.conftest import free_port
from tests.fake_ollama import fake_ollama
from wire import WorkerCard
from wire.redis import RedisWire

COLLECTION = f"my_docs-{NAME}-0123456789ab"
ACL = Path(__file__).parents[2] / "compose" / "users.acl"
HERE = "http://127.0.0.1:6333 my_docs"


@pytest.fixture
def data() -> Generator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder, "data")


def qdrant(gpu: bool = False, devices: list[str] | None = None, points: int = 1, version: str = "1.15.4") -> Server:
    """What a Qdrant answers, as its source has it: `gpu_devices` is left out where no GPU was started."""
    system: dict[str, Any] = {"is_docker": True, "cores": 8, "cpu_flags": "sse,avx2"}
    if devices is not None:
        system["gpu_devices"] = [{"name": name} for name in devices]
    features = {"debug": False, "service_debug_feature": False, "recovery_mode": False, "gpu": gpu, "rocksdb": True}
    config = {
        "params": {"vectors": {"dense": {"size": 384, "distance": "Cosine"}}},
        "optimizer_config": {"indexing_threshold": 10_000},
    }
    answers: dict[str, Any] = {
        "/": {"title": "qdrant - vector search engine", "version": version},
        "/collections": {"result": {"collections": [{"name": COLLECTION}, {"name": "my_docs-ffffffff-0123456789ab"}]}},
        f"/collections/{COLLECTION}": {"result": {"status": "green", "points_count": 0, "config": config}},
        f"/collections/{COLLECTION}/points/count": {"result": {"count": points}},
        "/telemetry": {
            "result": {"id": "1", "app": {"name": "qdrant", "version": version, "features": features, "system": system}}
        },
    }
    return Server(answers, open=("/",))


# --- Qdrant


@pytest.mark.parametrize(
    ("built", "devices", "state", "found", "remedy"),
    [
        (False, None, "off", "built without GPU support", "gpu-nvidia"),
        (True, None, "warning", "GPU indexing is off, or did not start", "QDRANT__GPU__INDEXING=1"),
        (True, [], "warning", "Vulkan sees no device", "--gpus=all"),
        (True, ["llvmpipe (LLVM 15.0.7, 256 bits)"], "warning", "which is a CPU", "vulkaninfo"),
        (True, ["NVIDIA L4", "llvmpipe (LLVM 15.0.7)"], "ok", "GPU indexing is on: NVIDIA L4", None),
    ],
)
async def test_whether_a_gpu_builds_the_index_is_told_and_what_is_missing(
    data: Path, built: bool, devices: list[str] | None, state: str, found: str, remedy: str | None
) -> None:
    async with serving(qdrant(built, devices)) as server:
        check = await one(Settings(data, qdrant_url=server.url), "gpu")
    assert (check.state, found in check.found) == (state, True), check.found
    assert (remedy or "") in (check.remedy or "")
    assert (check.remedy is None) == (remedy is None)


async def test_a_collection_too_small_for_an_index_is_named_for_no_gpu_ever_works_on_it(data: Path) -> None:
    index(data).close()
    async with serving(qdrant(True, ["NVIDIA L4"])) as server:
        assert (
            f"not used for {COLLECTION}, below the indexing_threshold"
            in (await one(Settings(data, qdrant_url=server.url), "gpu")).found
        )
    async with serving(qdrant(True, ["NVIDIA L4"], points=10_000)) as server:
        assert (await one(Settings(data, qdrant_url=server.url), "gpu")).found == "GPU indexing is on: NVIDIA L4"


async def test_a_server_is_named_with_its_version_and_the_points_of_this_index(data: Path) -> None:
    index(data, place=HERE).close()
    async with serving(qdrant()) as server:
        settings = Settings(data, qdrant_url=server.url)
        first, points, moved = await checked(settings, "store")
        assert all(method == "GET" or path.endswith("/points/count") for method, path in server.asked)
    assert (first.state, first.found) == ("ok", f"qdrant 1.15.4 at {server.url}")
    assert (points.state, points.found) == ("ok", f"{COLLECTION}: 1 points")
    assert moved.state == "warning"
    assert f"the index lies in {HERE}, the settings ask for {server.url} my_docs" in moved.found


async def test_points_that_the_server_has_lost_are_said(data: Path) -> None:
    index(data).close()
    async with serving(qdrant(points=0)) as server:
        _, points, _ = await checked(Settings(data, qdrant_url=server.url), "store")
    assert (points.state, points.found) == ("warning", f"{COLLECTION}: 0 points, but the catalog has 1 chunks")


async def test_a_key_that_is_missing_or_wrong_is_said_and_is_never_shown(data: Path) -> None:
    server = qdrant()
    server.header = ("api-key", "right")
    async with serving(server):
        missing = await one(Settings(data, qdrant_url=server.url), "store")
        wrong = await one(Settings(data, qdrant_url=server.url, qdrant_api_key="wrong-key"), "store")
        right = await checked(Settings(data, qdrant_url=server.url, qdrant_api_key="right"), "store")
        hidden = await checked(Settings(data, qdrant_url=server.url.replace("//", "//me:word@")), "store")
    assert (missing.state, "wants an API key, and none is set" in missing.found) == ("failed", True)
    assert (wrong.state, "refused QDRANT_API_KEY" in wrong.found) == ("failed", True)
    assert {check.state for check in right} == {"ok"}
    assert not any(
        secret in str(check) for check in [missing, wrong, *right, *hidden] for secret in ("wrong-key", "word")
    )


async def test_a_server_that_others_can_reach_without_a_key_is_a_warning(data: Path) -> None:
    server = qdrant()
    async with serving(server):
        # Not a loopback address, and yet this machine.
        elsewhere = server.url.replace("127.0.0.1", "0.0.0.0")
        _, check, _ = await checked(Settings(data, qdrant_url=elsewhere), "store")
        assert (check.state, "is open to everyone who can reach it" in check.found) == ("warning", True)
        useless = Settings(data, qdrant_url=elsewhere, qdrant_api_key="key")
        assert "asks for no key" in (await checked(useless, "store"))[1].found
        server.header = ("api-key", "key")
        assert "unencrypted" in (await checked(useless, "store"))[1].found


@pytest.mark.parametrize("answers", [{}, {"/collections": {"result": None}}, {"/collections": [1]}, {"/": "?"}])
async def test_what_is_no_qdrant_is_said_to_be_none(data: Path, answers: dict[str, Any]) -> None:
    async with serving(Server(answers)) as server:
        check = await one(Settings(data, qdrant_url=server.url), "store")
    assert (check.state, bool(check.remedy)) == ("failed", True)


async def test_a_server_that_is_away_or_silent_or_too_old_is_said(data: Path, port: int) -> None:
    away = await one(Settings(data, qdrant_host="127.0.0.1", qdrant_port=port), "store")
    assert (away.state, f"Qdrant was expected at http://127.0.0.1:{port}" in away.found) == ("failed", True)
    server = qdrant(version="1.9.7")
    async with serving(server):
        old = await one(Settings(data, qdrant_url=server.url), "store")
        assert (old.state, old.remedy) == ("failed", "upgrade it")
        server.silent = True
        silent = await one(Settings(data, qdrant_url=server.url), "store")
        assert (silent.state, silent.found.endswith(f"no answer within {ANSWER_S:g} s")) == ("failed", True)


async def test_a_telemetry_that_is_not_for_us_leaves_the_gpu_unknown(data: Path) -> None:
    server = qdrant()
    server.answers = {path: answer for path, answer in server.answers.items() if path != "/telemetry"}
    async with serving(server):
        check = await one(Settings(data, qdrant_url=server.url), "gpu")
    assert (check.state, "does not tell whether a GPU is used" in check.found) == ("warning", True)


async def test_the_embedded_store_tells_what_it_takes(data: Path) -> None:
    (data / "store").mkdir(parents=True)
    (data / "store" / "wal").write_bytes(b"x" * 50_000)
    check = await one(Settings(data), "store")
    assert (check.state, check.found.split()[0], check.found.split()[2]) == ("ok", "embedded,", "kB")


def test_versions_are_compared_as_numbers() -> None:
    assert store._number("1.9.2") < store._number("1.10.0-dev") <= store._number("1.10.1") < store._number("2.0")


# --- Ollama


async def test_an_ollama_with_the_model_that_made_the_index_is_fine_and_another_digest_is_a_new_index(
    data: Path,
) -> None:
    async with fake_ollama() as fake:
        digest = f"{'nomic-embed-text:latest':0<64}"[:12]
        index(data, signature=f"ollama:nomic-embed-text@{digest}:768").close()
        settings = Settings(data, embed="ollama", embedding_model="nomic-embed-text", ollama_host=fake.url)
        (fine,) = await checked(settings, "ollama")
        assert (fine.state, f"{fake.url} has nomic-embed-text ({digest})" in fine.found) == ("ok", True)
        fake.digests["nomic-embed-text:latest"] = "f" * 64
        _, other = await checked(settings, "ollama")
        assert (other.state, f"ask for ollama:nomic-embed-text@{'f' * 12}" in other.found) == ("warning", True)
        (former,) = await checked(replace(settings, embed="onnx", embedding_model="all-MiniLM-L6-v2"), "ollama")
        assert (former.state, "has no more: a search finds words only" in former.found) == ("warning", True)
        assert fake.texts == []  # nothing is embedded to find out


async def test_a_model_that_is_not_pulled_is_said_with_the_command_that_pulls_it(data: Path) -> None:
    async with fake_ollama() as fake:
        bare = Settings(data, embed="ollama", embedding_model="bge-m3", ollama_host=fake.url.removeprefix("http://"))
        check = await one(bare, "ollama")
    assert (check.state, check.remedy) == ("failed", "run `ollama pull bge-m3` there")


async def test_an_ollama_that_is_away_is_said_also_where_only_the_former_index_needs_it(data: Path, port: int) -> None:
    index(data, signature="ollama:nomic-embed-text@0a109f422b47:768").close()
    check = await one(Settings(data, ollama_host=f"http://127.0.0.1:{port}"), "ollama")
    assert (check.state, f"Ollama was expected at http://127.0.0.1:{port}" in check.found) == ("failed", True)


async def test_the_version_is_told_where_the_server_tells_it(data: Path) -> None:
    answers = {
        "/api/tags": {"models": [{"model": "nomic-embed-text:latest", "digest": "0a109f422b47"}]},
        "/api/version": {"version": "0.12.3"},
    }
    async with serving(Server(answers)) as server:
        named = Settings(data, embed="ollama", embedding_model="nomic-embed-text", ollama_host=server.url)
        assert (await one(named, "ollama")).found.startswith("Ollama 0.12.3 at")


# --- Redis, a model server, Phoenix


async def test_a_redis_without_a_worker_is_a_warning_and_with_one_it_is_counted(data: Path, redis_url: str) -> None:
    settings = Settings(data, redis_url=redis_url, redis_stream_key=uuid.uuid4().hex)
    check = await one(settings, "redis")
    assert (check.state, "no worker has given a sign of life" in check.found) == ("warning", True)
    async with RedisWire(redis_url, settings.redis_stream_key, patience_s=0.05) as wire, wire.attach() as inbox:
        await inbox.take(1)
        check = await one(settings, "redis")
    assert (check.state, check.found) == ("ok", f"1 worker at {settings.redis_stream_key}")


async def test_what_the_workers_are_is_told_in_their_words_and_without_their_escape_codes(
    data: Path, redis_url: str
) -> None:
    settings = Settings(data, redis_url=redis_url, redis_stream_key=uuid.uuid4().hex)
    vllm, echo = WorkerCard("vllm", "small \x1b[2J", 16), WorkerCard("echo", None, 1)
    async with (
        RedisWire(redis_url, settings.redis_stream_key, patience_s=0.05) as wire,
        wire.attach(vllm) as first,
        wire.attach(vllm) as second,
        wire.attach(echo) as third,
    ):
        for inbox in (first, second, third):
            await inbox.take(1)
        check = await one(settings, "redis")
    assert check.found == f"3 workers at {settings.redis_stream_key}: echo, 1 at once; vllm small  [2J, 32 at once"


async def test_workers_that_embed_are_counted_apart(data: Path, redis_url: str) -> None:
    settings = Settings(data, redis_url=redis_url, redis_stream_key=uuid.uuid4().hex, embed="remote")
    key = f"{settings.redis_stream_key}:embedding_queue"
    async with RedisWire(redis_url, key, patience_s=0.05) as wire, wire.attach() as inbox:
        await inbox.take(1)
        answering, embedding = await checked(settings, "redis")
    assert (answering.state, embedding.state, embedding.found) == ("warning", "ok", f"1 worker at {key}")
    _, embedding = await checked(settings, "redis")
    assert (embedding.state, "--task embed" in (embedding.remedy or "")) == ("warning", True)


async def test_a_redis_that_is_away_or_refuses_the_password_is_said(
    data: Path, port: int, start_redis: Callable[..., object]
) -> None:
    settings = Settings(data, redis_url=f"redis://127.0.0.1:{port}", redis_key="wrong-word")
    away = await one(settings, "redis")
    assert (away.state, "cannot be reached" in away.found) == ("failed", True)
    start_redis(port, "--requirepass", "right")
    refused = await one(settings, "redis")
    assert (refused.state, "refused the password" in refused.found, "wrong-word" in str(refused)) == (
        "failed",
        True,
        False,
    )
    odd = await one(Settings(data, redis_url="redis://127.0.0.1:port"), "redis")
    assert (odd.state, "expected REDIS_URL as" in odd.found) == ("failed", True)


async def test_a_user_of_redis_who_may_not_do_what_a_bridge_must_is_said(
    data: Path, tmp_path: Path, port: int, redis_binary: str, start_redis: Callable[..., object]
) -> None:
    told = (await anyio.run_process([redis_binary, "--version"])).stdout.decode()
    if int(told.partition("v=")[2].partition(".")[0]) < 7:
        pytest.skip("users with several sets of rights need Redis 7.0")
    bridge = next(line for line in ACL.read_text().splitlines() if line.startswith("user bridge "))
    users = tmp_path / "users.acl"
    for rights, forbidden in ((bridge, None), (bridge.replace(" +xadd", "").replace(" +publish", "", 1), "XADD")):
        users.write_text(rights.replace("#SHA256_OF_bridge", ">word") + "\n")
        start_redis(port, "--aclfile", str(users))
        settings = Settings(data, redis_url=f"redis://bridge:word@127.0.0.1:{port}")
        check = await one(settings, "redis")
        if forbidden:
            assert (check.state, "does not let this user send XADD inference_queue:doctor" in check.found) == (
                "failed",
                True,
            ), check
            assert "PUBLISH result:doctor" in check.found
            assert "compose/users.acl" in (check.remedy or "")
        else:
            assert (check.state, "no worker has given a sign" in check.found) == ("warning", True), check
        port = free_port()


async def test_looking_at_the_rights_leaves_nothing_in_redis(data: Path, redis_url: str) -> None:
    key = uuid.uuid4().hex
    await one(Settings(data, redis_url=redis_url, redis_stream_key=key), "redis")
    async with Redis.from_url(redis_url) as redis:
        assert [name async for name in redis.scan_iter(f"*{key}*")] == []
        assert [name async for name in redis.scan_iter("*doctor*")] == []


async def test_a_redis_elsewhere_without_tls_or_a_password_is_a_warning_each(
    data: Path, port: int, start_redis: Callable[..., object]
) -> None:
    start_redis(port, "--bind", "0.0.0.0", "--protected-mode", "no")
    # Not a loopback address, and yet this machine.
    _, plain, open_ = await checked(Settings(data, redis_url=f"redis://0.0.0.0:{port}"), "redis")
    assert (plain.state, "unencrypted" in plain.found) == ("warning", True)
    assert (open_.state, "without a password" in open_.found) == ("warning", True)
    assert len(await checked(Settings(data, redis_url=f"redis://127.0.0.1:{port}"), "redis")) == 1


async def test_a_model_server_is_asked_for_the_model_that_is_to_answer(data: Path) -> None:
    server = Server({"/v1/models": {"data": [{"id": "qwen3:latest"}]}}, header=("authorization", "Bearer right"))
    async with serving(server):

        def settings(model: str, key: str | None) -> Settings:
            base = f"{server.url}/v1"
            return Settings(data, engine="openai", openai_base_url=base, model=model, openai_api_key=key)

        assert (await one(settings("qwen3", "right"), "engine")).state == "ok"
        assert (await one(settings("llama", "right"), "engine")).state == "warning"
        assert (await one(settings("qwen3", None), "engine")).state == "failed"
    assert (await one(settings("qwen3", "right"), "engine")).state == "failed"


async def test_a_phoenix_is_given_a_message_without_a_trace(data: Path) -> None:
    server = Server({"/v1/traces": {}}, header=("authorization", "Bearer right"))
    async with serving(server):
        right = Settings(data, phoenix_collector_endpoint=server.url, phoenix_api_key="right")
        assert (await one(right, "phoenix")).state == "ok"
        assert server.asked == [("POST", "/v1/traces")]
        refused = await one(Settings(data, phoenix_collector_endpoint=f"{server.url}/v1/traces"), "phoenix")
        assert (refused.state, "refused PHOENIX_API_KEY" in refused.found) == ("failed", True)
    assert (await one(right, "phoenix")).state == "failed"
