"""Several servers, one of them the primary: an answer outlives it, or says that it did not."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import fail_after
from redis.asyncio import Redis

from bridge.certificates import authority, certificate
from bridge.doctor import services
from bridge.doctor.recorded import Recorded
from bridge.settings import Settings
from tests.conftest import free_port, redis_server
from tests.processes import place, until
from tests.wire.sentinels import NAME, Watched, sentinel, watched
from wire import Delivery, Delta, Final, Inbox, Job, QueueDown, Reply
from wire.redis import RedisWire

WORDS = [f"word{n} " for n in range(200)]
ANSWER = "".join(WORDS)


@pytest.fixture
async def several(redis_binary: str, tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched(redis_binary, tmp_path) as several:
        yield several


@pytest.fixture(scope="module")
async def alone(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """A primary and its sentinel, and nobody else."""
    async with watched(redis_binary, tmp_path_factory.mktemp("alone"), replicas=0, sentinels=1) as alone:
        yield alone


async def work(inbox: Inbox) -> None:
    """As a worker does: whatever it is given, from where it was left."""
    while True:
        with suppress(QueueDown):
            for delivery in await inbox.take(1):
                await say(inbox, delivery)
        await anyio.sleep(0.05)


async def say(inbox: Inbox, delivery: Delivery) -> None:
    async with inbox.hold(delivery) as hold:
        for word in WORDS[len(hold.said.text.split()) :]:
            await hold.emit(Delta(word))
            await anyio.sleep(0.01)
        await hold.finish(Final())


def is_whole_or_restarted(read: list[Reply]) -> bool:
    """And has not a word twice, or out of its place."""
    *deltas, final = read
    text = "".join(reply.chunk for reply in deltas)
    assert isinstance(final, Final)
    assert text == ANSWER if not final.error else (ANSWER.startswith(text) and final.error_code == "restarted"), final
    return True


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_answer_outlives_the_primary_or_says_that_it_did_not(several: Watched, how: signal.Signals) -> None:
    """A primary that only hung comes back, and what was written to it meanwhile is nobody's."""
    options = {"patience_s": 0.05, "lease_s": 6.0}
    async with (
        RedisWire(several.url, **options) as wire,
        RedisWire(several.url, **options) as workers_end,
        workers_end.attach() as inbox,
        anyio.create_task_group() as tasks,
    ):
        with fail_after(35):
            tasks.start_soon(work, inbox)
            read: list[Reply] = []
            async with wire.send(Job("failed-over", "why?")) as replies:
                async for reply in replies:
                    read.append(reply)
                    if len(read) == 20:
                        several.servers[several.first].send_signal(how)
                    if len(read) == 40:  # the other primary's
                        several.servers[several.first].send_signal(signal.SIGCONT)
            assert is_whole_or_restarted(read)

            async def is_told() -> bool:
                return (await wire.office().figures()).where.startswith(f"127.0.0.1:{await several.other_primary()} (")

            await until(is_told)
            async with wire.send(Job("after", "why?")) as replies:
                assert is_whole_or_restarted([reply async for reply in replies])
            tasks.cancel_scope.cancel()


@pytest.mark.slow
async def test_what_the_former_primary_alone_knew_is_never_gone_on_from(several: Watched) -> None:
    options = {"patience_s": 0.05, "lease_s": 3.0}
    with fail_after(35):
        async with (
            RedisWire(several.url, **options) as wire,
            RedisWire(several.url, **options) as workers_end,
            workers_end.attach() as inbox,
            wire.send(Job("unknown", "why?")) as replies,
        ):
            (delivery,) = await inbox.take(1)
            async with inbox.hold(delivery) as hold:
                await hold.emit(Delta(WORDS[0]))
                read = [await anext(replies)]
                for port in several.replicas:
                    async with Redis(port=port) as replica:
                        await replica.replicaof("127.0.0.1", 1)
                await hold.emit(Delta(WORDS[1]))
                read.append(await anext(replies))
                several.servers[several.first].kill()
                await hold.emit(Delta(WORDS[2]))
                await anyio.sleep_forever()
            assert hold.ended == "lost"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, inbox)
                read += [reply async for reply in replies]
                tasks.cancel_scope.cancel()
    final = read.pop()
    assert (final.chunk, isinstance(final, Final) and final.error_code) == ("", "restarted")
    assert "".join(reply.chunk for reply in read) == "".join(WORDS[:2])


@pytest.mark.slow
async def test_a_primary_that_all_others_have_left_is_left_by_us_too_though_it_answers(
    redis_binary: str, tmp_path: Path
) -> None:
    """Also by the connection that hears the answers, which asks for nothing."""
    async with watched(redis_binary, tmp_path, "--min-replicas-to-write", "1") as several:
        options = {"patience_s": 0.05, "lease_s": 3.0}
        async with (
            RedisWire(several.url, **options) as wire,
            RedisWire(several.url, **options) as workers_end,
            workers_end.attach() as inbox,
            anyio.create_task_group() as tasks,
        ):
            with fail_after(35):
                tasks.start_soon(work, inbox)
                async with wire.send(Job("handed-over", "why?")) as replies:
                    read = [await anext(replies)]
                    async with Redis(port=several.first) as former:  # as if no sentinel could reach it any more
                        await former.execute_command("ACL", "SETUSER", "default", "-slaveof")
                    async with Redis(port=several.sentinels[0]) as asked:
                        await asked.execute_command("SENTINEL FAILOVER", NAME)
                    read += [reply async for reply in replies]
                assert is_whole_or_restarted(read)

                async def is_left() -> bool:
                    return not await ears(several.first)

                await until(is_left)
                tasks.cancel_scope.cancel()


async def ears(port: int) -> int:
    """Ours, not the sentinels'."""
    async with Redis(port=port) as redis:
        clients: Any = await redis.client_list()
    return sum(one["sub"] != "0" and not one["name"] for one in clients)


@pytest.mark.parametrize("how", [("REPLICAOF", "127.0.0.1", "1"), ("CONFIG", "SET", "min-replicas-to-write", "1")])
async def test_a_server_that_refuses_to_write_is_left_at_once(
    redis_binary: str, tmp_path: Path, start_redis: Callable[..., Any], port: int, how: tuple[str, ...]
) -> None:
    start_redis(port)
    async with (
        watched(redis_binary, tmp_path, replicas=0, sentinels=1) as alone,
        RedisWire(alone.url, "jobs") as wire,
        Redis(port=alone.first) as former,
        Redis(port=alone.sentinels[0]) as watching,
        Redis(port=port) as latter,
        wire.send(Job("before", "why?")),
    ):
        await watching.execute_command("SENTINEL", "REMOVE", NAME)
        await watching.execute_command("SENTINEL", "MONITOR", NAME, "127.0.0.1", str(port), "1")
        await former.execute_command(*how)
        async with wire.send(Job("after", "why?")):
            assert await latter.xlen("jobs") == 1


async def test_a_command_by_the_sentinels_address_finds_the_queue(alone: Watched) -> None:
    with place() as made:
        settings = {"REDIS_URL": alone.url}
        workers = await made.tandem("workers", "--json", settings=settings)
        dead = await made.tandem("dead", "ls", settings=settings)
    assert workers.json["where"] == f"127.0.0.1:{alone.first} (main of the sentinels {alone.hosts})"
    assert (dead.status, dead.err) == (0, dead.err)


async def test_the_doctor_speaks_to_the_primary_and_warns_as_of_any_other(alone: Watched, tmp_path: Path) -> None:
    (here,) = await services.redis(Settings(tmp_path, redis_url=alone.url), Recorded())
    assert "it answers, but no worker" in here.found
    away = f"redis+sentinel://sentinel.example.invalid:26379/{NAME}"
    checks = await services.redis(Settings(tmp_path, redis_url=away), Recorded())
    assert [check.state for check in checks] == ["failed", "warning", "warning"]
    assert "unencrypted" in checks[1].found


async def test_a_name_that_no_sentinel_knows_is_told_with_those_it_knows(alone: Watched) -> None:
    async with RedisWire(f"redis+sentinel://{alone.hosts}/other") as wire:
        with pytest.raises(QueueDown, match=r"REDIS_URL names know no 'other'.*/main"):
            await wire.workers()


async def test_sentinels_that_are_away_are_named_and_one_that_is_there_is_enough(alone: Watched, port: int) -> None:
    async with RedisWire(f"redis+sentinel://127.0.0.1:{port},{alone.hosts}/{NAME}") as wire:
        assert await wire.workers() == 0
    async with RedisWire(f"redis+sentinel://127.0.0.1:{port}/{NAME}") as wire:
        with pytest.raises(QueueDown, match=f"no sentinel answers: the one at 127.0.0.1:{port} cannot be reached"):
            await wire.workers()


async def test_a_primary_that_is_down_and_has_no_replica_is_told_as_that(redis_binary: str, tmp_path: Path) -> None:
    async with watched(redis_binary, tmp_path, replicas=0, sentinels=1) as alone:
        alone.servers[alone.first].kill()
        async with RedisWire(alone.url) as wire:

            async def is_told() -> bool:
                with pytest.raises(QueueDown) as told:
                    await wire.workers()
                return "the primary of 'main' is down" in str(told.value)

            await until(is_told)


async def test_by_tls_and_with_passwords_for_the_servers_and_for_the_sentinels(
    redis_binary: str, tmp_path: Path
) -> None:
    told = await anyio.run_process([redis_binary, "--tls-port", "x"], check=False)
    if b"Bad directive" in told.stdout + told.stderr:
        pytest.skip("this redis-server has no TLS")
    ca_key, ca = authority()
    key, cert = certificate(ca_key, ca, ["127.0.0.1"])
    for name, pem in (("ca.crt", ca), ("redis.key", key), ("redis.crt", cert), ("other.crt", authority()[1])):
        (tmp_path / name).write_bytes(pem)
    files = {"cert-file": "redis.crt", "key-file": "redis.key", "ca-cert-file": "ca.crt"}
    tls = {f"tls-{option}": str(tmp_path / name) for option, name in files.items()}
    tls |= {"tls-auth-clients": "no", "tls-replication": "yes"}
    server, watching = free_port(), free_port()
    options = [word for name, value in tls.items() for word in (f"--{name}", value)]
    options = ["--port", "0", "--tls-port", str(server), "--requirepass", "servers", *options]
    lines = ["port 0", f"tls-port {watching}", *(f"{name} {value}" for name, value in tls.items())]
    lines += ["requirepass sentinels", f"sentinel monitor {NAME} 127.0.0.1 {server} 1"]
    lines += [f"sentinel auth-pass {NAME} servers"]
    with redis_server(redis_binary, server, tmp_path, *options), sentinel(redis_binary, tmp_path, *lines):

        async def refused(secret: str, password: str, ca: str = "ca.crt", scheme: str = "rediss+sentinel") -> str:
            query = f"ssl_ca_certs={tmp_path / ca}&sentinel_password={password}"
            query = query if scheme.startswith("rediss") else f"sentinel_password={password}"
            async with RedisWire(f"{scheme}://127.0.0.1:{watching}/{NAME}?{query}", password=secret) as wire:
                try:
                    assert await wire.workers() == 0
                except QueueDown as error:
                    return str(error)
                return ""

        async def is_ready() -> bool:
            return not await refused("servers", "sentinels")

        await until(is_ready)
        assert "refused the password" in await refused("wrong", "sentinels")
        for password in ("wrong", ""):
            said = await refused("servers", password)
            assert f"sentinel at 127.0.0.1:{watching} refused us" in said
            assert "sentinel_password=" in said
        assert "certificate that is not believed" in await refused("servers", "sentinels", "other.crt")
        assert "rediss:// where it speaks TLS" in await refused("servers", "sentinels", scheme="redis+sentinel")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:secret@host:26379",
        "redis+sentinel://:secret@host:26379/",
        "redis+sentinel://:secret@host:99999999/main",
        "redis+sentinel://:secret@a:1,,b:2/main",
        "redis+sentinel://:sec/ret@host/main",
        "redis+sentinel://:secret@host/main?sentinel_pasword=secret",
        "redis+sentinel://:secret@host/main?ssl_ca_certs=x",
        "rediss+sentinel://host/main/secret",
    ],
)
async def test_an_address_of_sentinels_that_is_none_is_refused_at_once_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected REDIS_URL as redis") as told:
        RedisWire(url)
    assert "sec" not in str(told.value)


def test_addresses_as_people_write_them() -> None:
    from wire.redis.sentinel import named

    read: Any = named("rediss+sentinel://me:p%40ss@a,[::1]:7000/my%20name/3?ssl_ca_certs=/x&sentinel_username=s")
    assert (read.name, read.server) == ("my name", "rediss://me:p%40ss@a:26379/3?ssl_ca_certs=%2Fx")
    assert read.sentinels == {
        "a:26379": "rediss://s:@a:26379?ssl_ca_certs=%2Fx",
        "[::1]:7000": "rediss://s:@[::1]:7000?ssl_ca_certs=%2Fx",
    }
    assert named("redis://a:1/2") is None
