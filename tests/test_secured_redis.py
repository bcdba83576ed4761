"""The queue's server as compose/ sets it up: TLS, and a user for each role that may do what it must and nothing else.

The certificates and passwords are made by the commands in compose/README.md.
"""

import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import fail_after
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as NoConnection

from tests.conftest import free_port, redis_server
from tests.processes import environment, place, until
from wire import Busy, Delta, Final, Inbox, Job, Metadata, QueueDown, Told, WorkerCard, embedding
from wire.messages import encode_reply
from wire.redis import RedisWire
from wire.steps import Figures

COMPOSE = Path(__file__).parent.parent / "compose"
KEY = "inference_queue"
CARD = WorkerCard("echo", "small", 2)
LEASE_S = 0.3


@dataclass(frozen=True, slots=True)
class Secured:
    """`secrets`: what the commands made. `options`: what a server must be told, that these files are not in a
    container."""

    port: int
    secrets: Path

    @property
    def options(self) -> Sequence[str]:
        files = {"tls-cert-file": "redis.crt", "tls-key-file": "redis.key", "tls-ca-cert-file": "ca.crt"}
        files["aclfile"] = "users.acl"
        named = [word for name, file in files.items() for word in (f"--{name}", str(self.secrets / file))]
        return ["--include", str(COMPOSE / "redis.conf"), "--tls-port", str(self.port), *named]

    def url(self, user: str, ca: Path | None = None, host: str = "127.0.0.1") -> str:
        return f"rediss://{user}@{host}:{self.port}?ssl_ca_certs={ca or self.secrets / 'ca.crt'}"

    def password(self, user: str) -> str:
        return (self.secrets / f"{user}.password").read_text().strip()

    def wire(self, user: str, key: str = KEY, **options: Any) -> RedisWire:
        options = {"password": self.password(user), "patience_s": 0.05, "lease_s": LEASE_S} | options
        return RedisWire(self.url(user), key, **options)

    def client(self, user: str) -> Any:
        return Redis.from_url(self.url(user), password=self.password(user))

    def settings(self, user: str) -> dict[str, str]:
        return {"REDIS_URL": self.url(user), "REDIS_KEY": self.password(user), "TANDEM_LEASE_S": "1"}


@pytest.fixture(scope="module")
def secrets(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's commands make."""
    # Without TLS the option is not known; with it, this is no number.
    told = subprocess.run([redis_binary, "--tls-port", "x"], capture_output=True, text=True, check=False)
    version = subprocess.run([redis_binary, "--version"], capture_output=True, text=True, check=True).stdout
    if "Bad directive" in told.stdout + told.stderr or int(re.findall(r"v=(\d+)", version)[0]) < 7:
        pytest.skip("this redis-server has no TLS, or is older than 7.0")
    if not shutil.which("openssl"):
        pytest.skip("no openssl on PATH")
    folder = tmp_path_factory.mktemp("secured") / "compose"
    shutil.copytree(COMPOSE, folder)
    words = (folder / "README.md").read_text()
    (block,) = re.findall(r"<!-- tests/test_secured_redis.py runs this block -->\n```sh\n(.*?)```", words, re.DOTALL)
    settings = environment({"ADDRESS": "IP:127.0.0.1"})
    subprocess.run(["sh", "-euc", block], cwd=folder, env=settings, check=True, capture_output=True, timeout=60)
    return folder / "secrets"


@pytest.fixture(scope="module")
def shared(secrets: Path, redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Secured]:
    made = Secured(free_port(), secrets)
    with redis_server(redis_binary, made.port, tmp_path_factory.mktemp("server"), *made.options):
        yield made


@pytest.fixture
async def secured(shared: Secured) -> AsyncIterator[Secured]:
    """With a log of refusals that has nothing in it yet."""
    async with shared.client("admin") as admin:
        await admin.execute_command("ACL", "LOG", "RESET")
    yield shared


def job(prompt: str = "why?", **metadata: Any) -> Job:
    return Job(uuid.uuid4().hex, prompt, metadata=Metadata(**metadata))


async def refused(secured: Secured) -> list[tuple[str, str, str]]:
    async with secured.client("admin") as admin:
        return [(one["username"], one["reason"], one["object"]) for one in await admin.acl_log()]


async def serve(inbox: Inbox, text: str = "because") -> None:
    async def taken() -> Any:
        return await inbox.take(1)

    (delivery,) = await until(taken)
    async with inbox.hold(delivery) as hold:
        if not hold.ended:
            await hold.emit(Delta(text))
            await hold.finish(Final())


async def answer(bridge: RedisWire, inbox: Inbox, one: Job) -> str:
    with fail_after(30):
        async with bridge.send(one) as replies, anyio.create_task_group() as tasks:
            tasks.start_soon(serve, inbox)
            return "".join([reply.chunk async for reply in replies])


async def die_with_a_job(secured: Secured, name: str) -> None:
    """A worker that takes a job, and from then on gives no sign of life."""
    async with secured.wire("worker") as worker:
        await worker.steps.beat(name, [], Figures(CARD))

        async def taken() -> Any:
            return await worker.steps.take(name, [KEY], 1, 0)

        (one,) = await until(taken)
        request_id = one.data.decode().partition('"request_id":"')[2].partition('"')[0]
        assert (await worker.steps.start(name, one, request_id)).state == "ours"


# --- what each role needs


@pytest.mark.parametrize("key", [KEY, embedding.queue(KEY)])
async def test_a_bridge_and_a_worker_answer_over_tls_and_neither_is_refused_anything(
    secured: Secured, key: str
) -> None:
    async with (
        secured.wire("bridge", key) as bridge,
        secured.wire("worker", key) as worker,
        worker.attach(CARD) as inbox,
    ):
        first = job(client="laptop", idem="once")
        assert await answer(bridge, inbox, first) == "because"
        assert await answer(bridge, inbox, job(model="small")) == "because"
        async with bridge.send(job(client="laptop", idem="once")) as replies:
            assert "".join([reply.chunk async for reply in replies]) == "because"
        async with bridge.resume(first.request_id) as replies:
            assert [type(reply) async for reply in replies] == [Delta, Final]
        assert await bridge.workers() == 1
        queue = await bridge.office().figures()
        assert (queue.counters["finished"], [one.engine for one in queue.workers]) == (2, ["echo"])
    assert await refused(secured) == []


async def test_what_a_worker_tells_of_a_job_reaches_its_bridge_by_the_rights_that_both_have(secured: Secured) -> None:
    async with secured.wire("bridge") as bridge, secured.wire("worker") as worker, worker.attach(CARD) as inbox:
        one = job(spans=True)
        assert await answer(bridge, inbox, one) == "because"
        await inbox.tell(one.request_id, "a" * 32, b"spans")
        assert await bridge.spans(one.request_id, "a" * 32) == Told(b"spans", ended=True, whole=True)
    assert await refused(secured) == []


async def test_jobs_are_cancelled_before_and_while_a_worker_has_them(secured: Secured) -> None:
    async with secured.wire("bridge") as bridge, secured.wire("worker") as worker, worker.attach(CARD) as inbox:
        waiting, begun = job(), job()
        async with bridge.send(waiting) as replies:
            assert await bridge.cancel(waiting.request_id)
            (final,) = [reply async for reply in replies]
        assert isinstance(final, Final) and final.error_code == "cancelled"
        with fail_after(30):
            async with bridge.send(begun) as replies:
                (delivery,) = await inbox.take(1)
                async with inbox.hold(delivery) as hold:
                    await bridge.cancel(begun.request_id)
                    await anyio.sleep_forever()
                assert hold.ended == "cancelled"
                assert [reply.is_final async for reply in replies] == [True]
    assert await refused(secured) == []


async def test_a_full_queue_refuses_with_its_own_words_not_with_a_missing_right(secured: Secured) -> None:
    async with secured.wire("bridge", depth=1, quota=1) as bridge:
        one = job(client="laptop")
        async with bridge.send(one):
            with pytest.raises(Busy, match="in the queue"):
                await bridge.send(job()).__aenter__()
            await bridge.cancel(one.request_id)
        async with secured.wire("bridge", quota=1) as other, other.send(one := job(client="laptop")):
            with pytest.raises(Busy, match="of this client"):
                await other.send(job(client="laptop")).__aenter__()
            await other.cancel(one.request_id)
    assert await refused(secured) == []


async def test_a_job_outlives_its_workers_and_is_given_up_after_the_third_that_dies_of_it(secured: Secured) -> None:
    async with secured.wire("bridge") as bridge:
        async with bridge.send(one := job()) as replies:
            for name in ("first", "second", "third"):
                await die_with_a_job(secured, name)
            async with secured.wire("worker") as worker, worker.attach(CARD) as inbox:

                async def given_up() -> Any:
                    assert await inbox.take(1) == []
                    return (await bridge.office().figures()).dead

                await until(given_up)
            with fail_after(30):
                (final,) = [reply async for reply in replies]
        assert isinstance(final, Final) and final.error_code == "poison"
    async with secured.wire("admin") as admin, secured.wire("worker") as worker, worker.attach(CARD) as inbox:
        letters = admin.dead_letters()
        await letters.retry(await letters.find(one.request_id))
        async with admin.resume(one.request_id) as replies:
            await serve(inbox, "at last")
            with fail_after(30):
                assert "".join([reply.chunk async for reply in replies]) == "at last"
    assert await refused(secured) == []


async def test_what_cannot_be_read_is_put_aside_and_what_a_worker_leaves_is_taken_by_another(secured: Secured) -> None:
    async with secured.client("admin") as admin, secured.wire("admin") as office, secured.wire("bridge") as bridge:
        await admin.xadd(KEY, {"data": b'{"request_id": "torn", "prompt": 1}'})
        async with bridge.send(one := job()) as replies:
            async with secured.wire("worker") as leaving, leaving.attach(CARD) as inbox:
                (delivery,) = [*await inbox.take(1), *await inbox.take(1)]
                with anyio.CancelScope() as scope:
                    async with inbox.hold(delivery):
                        scope.cancel()
                        await anyio.sleep_forever()
            async with secured.wire("worker") as taking, taking.attach(CARD) as inbox:
                await serve(inbox)
                with fail_after(30):
                    assert "".join([reply.chunk async for reply in replies]) == "because"
        assert delivery.job.request_id == one.request_id
        letters = office.dead_letters()
        await letters.drop(await letters.find("torn"))
    assert await refused(secured) == []


async def test_an_old_worker_and_an_old_bridge_have_what_they_need_too(secured: Secured) -> None:
    """They know the stream, its group and the channel of an answer."""
    async with secured.wire("bridge") as bridge, secured.client("worker") as old:
        one = job()
        async with secured.wire("worker") as worker, worker.attach() as inbox:
            await inbox.take(1)  # the group is there
        async with bridge.send(one) as replies:
            ((_, ((entry, _),)),) = await old.xreadgroup("gpu_workers", "old", {KEY: ">"}, 1)
            for reply in (Delta("because"), Final()):
                await old.publish(f"result:{one.request_id}", encode_reply(reply))
            await old.xack(KEY, "gpu_workers", entry)
            with fail_after(30):
                assert "".join([reply.chunk async for reply in replies]) == "because"
        queue = await bridge.office().figures()
        assert (queue.depth, [one.state for one in queue.workers if one.name == "old"]) == (0, ["old"])
    assert await refused(secured) == []


# --- what each role may not


EVERYBODY = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("SHUTDOWN",),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "me", "on"),
    ("MONITOR",),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("REPLICAOF", "127.0.0.1", "1"),
    ("GET", "someone:elses"),
    ("XRANGE", "inference_queue2", "-", "+"),
    ("XADD", "inference_queue2", "*", "data", "x"),
    ("DEL", "someone:elses"),
    ("PSUBSCRIBE", "*"),
    ("SUBSCRIBE", "someone:elses"),
)
REFUSED = {
    "bridge": (
        *(("XREADGROUP", "GROUP", "gpu_workers", "me", "STREAMS", KEY, ">"), ("XREAD", "STREAMS", KEY, "0")),
        *(("XRANGE", KEY, "-", "+"), ("XRANGE", f"{KEY}:inference_dead", "-", "+")),
        *(("ZRANGE", f"{KEY}:inflight:laptop", 0, -1), ("HGETALL", f"{KEY}:held:me"), ("DEL", KEY)),
        *(("HSET", f"{KEY}:worker:me", "slots", 9), ("ZADD", f"{KEY}:workers", 1, "me")),
        *(("PSUBSCRIBE", "result:*"), ("SUBSCRIBE", f"{KEY}:ctl:cancel")),
    ),
    "worker": (
        *(("XADD", KEY, "*", "data", "x"), ("XADD", f"{KEY}:small", "*", "data", "x"), ("DEL", KEY)),
        *(("SUBSCRIBE", "result:x"), ("PSUBSCRIBE", "result:*"), ("PUBLISH", f"{KEY}:ctl:cancel", "x")),
        *(("GET", f"{KEY}:idem:laptop:once"), ("XREVRANGE", f"{KEY}:inference_dead", "+", "-")),
        ("HGETALL", f"{KEY}:job:x"),
    ),
    "admin": (),
}


@pytest.mark.parametrize("user", REFUSED)
async def test_a_role_may_not_do_what_is_not_its_work(secured: Secured, user: str) -> None:
    async with secured.client(user) as client:
        for words in (*EVERYBODY, *REFUSED[user]):
            with fail_after(30), pytest.raises(NoPermissionError):
                pytest.fail(f"{user} may {words}: {await client.execute_command(*words)}")
        for words in (("GET", "someone:elses"), ("FLUSHALL",), ("PUBLISH", "someone:elses", "x")):
            script = f"return redis.call({', '.join(map(repr, words))})"
            with pytest.raises(ResponseError, match="user executing the script"):
                pytest.fail(f"{user} may {words} in a script: {await client.eval(script, 0)}")


async def test_nobody_comes_in_without_tls_without_a_user_or_with_a_wrong_password(secured: Secured) -> None:
    once = Retry(NoBackoff(), 0)
    async with Redis(port=secured.port, socket_timeout=5, retry=once) as plain:
        with pytest.raises(NoConnection):
            await plain.ping()
    files = {"ssl": True, "ssl_ca_certs": str(secured.secrets / "ca.crt"), "port": secured.port, "host": "127.0.0.1"}
    for user, password in ((None, None), ("default", ""), ("default", "x"), ("bridge", "x"), ("nobody", "x")):
        async with Redis(**files, username=user, password=password, retry=once) as client:
            with pytest.raises(AuthenticationError):
                await client.ping()


async def test_a_wire_to_a_server_that_has_fallen_silent_is_left_all_the_same(
    secrets: Path, redis_binary: str, tmp_path: Path
) -> None:
    made = Secured(free_port(), secrets)
    with redis_server(redis_binary, made.port, tmp_path, *made.options) as server, fail_after(20):
        async with made.wire("bridge", limit_s=0.5) as wire, wire.listening("x"):
            async with anyio.create_task_group() as asking:
                for _ in range(4):
                    asking.start_soon(wire.workers)
            server.send_signal(signal.SIGSTOP)  # it says no goodbye, which TLS waits for


async def test_the_ca_that_is_named_is_the_only_one_that_is_believed(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.crt"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=other", "-out", str(other)]
    await anyio.run_process([*words, "-keyout", str(tmp_path / "other.key")])
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.secrets / "ca.crt"))
    password = secured.password("bridge")
    async with RedisWire(secured.url("bridge").partition("?")[0], password=password) as believes_the_system:
        await believes_the_system.workers()
    async with RedisWire(secured.url("bridge", other), password=password) as wire:
        with pytest.raises(QueueDown, match="not believed"):
            await wire.workers()


async def test_the_certificates_of_the_system_are_not_read_anew_for_each_connection(secured: Secured) -> None:
    """That is some 70 ms of processor time, and nothing else happens meanwhile."""
    async with secured.wire("bridge") as bridge:
        async with anyio.create_task_group() as tasks:
            before = time.process_time()
            for _ in range(32):
                tasks.start_soon(bridge.workers)
        assert time.process_time() - before < 1


def test_a_server_does_not_start_before_the_passwords_are_filled_in(
    secrets: Path, redis_binary: str, port: int
) -> None:
    template = [redis_binary, "--port", str(port), "--aclfile", str(COMPOSE / "users.acl")]
    ended = subprocess.run(template, capture_output=True, text=True, check=False, timeout=10)
    assert ended.returncode == 1 and "Aborting Redis startup because of ACL errors" in ended.stdout


# --- in words


async def test_each_reason_for_which_nothing_is_said_over_tls_is_told_in_its_own_words(
    secured: Secured, port: int, start_redis: Callable[..., object], tmp_path: Path
) -> None:
    (tmp_path / "empty.crt").write_text("no certificate\n")
    other = tmp_path / "other.crt"
    made = f"openssl req -x509 -newkey rsa:2048 -noenc -subj /CN=x -keyout {tmp_path}/key -out {other}"
    await anyio.run_process(made.split())
    start_redis(port)
    here, password = f"Redis at 127.0.0.1:{secured.port}", secured.password("bridge")
    cases = {
        secured.url("bridge", other): rf"{here} shows a certificate that is not believed .*: name its CA",
        secured.url("bridge", host="localhost"): "not believed .Hostname mismatch",
        secured.url("bridge", tmp_path / "nothing.crt"): "names a file of certificates .* that is not there",
        secured.url("bridge", tmp_path / "empty.crt"): "is the file that REDIS_URL names as ssl_ca_certs a certificate",
        secured.url("worker"): f"{here} refused the password: set REDIS_URL or REDIS_KEY right",
        f"redis://bridge@127.0.0.1:{secured.port}": "rediss:// where it speaks TLS",
        f"rediss://bridge@127.0.0.1:{port}": "does it speak TLS",
    }
    for url, words in cases.items():
        async with RedisWire(url, password=password, limit_s=1) as wire:
            with fail_after(30), pytest.raises(QueueDown, match=words) as told:
                await wire.workers()
        assert password not in str(told.value)
    # One that is not of its kind of connection is a wrong setting, told before anybody is called.
    with pytest.raises(ValueError, match=r"rediss://.*ssl_ca_certs=FILE"):
        RedisWire(f"redis://bridge@127.0.0.1:{port}?ssl_ca_certs={other}")


async def test_a_right_that_is_missing_is_told_as_that(secured: Secured) -> None:
    async with secured.wire("worker") as worker:
        for forbidden in (worker.office().figures, worker.workers):
            with pytest.raises(QueueDown, match=r"does not allow this user that: see compose/users\.acl"):
                await forbidden()


async def test_a_channel_that_is_refused_is_not_asked_for_without_a_pause(secured: Secured) -> None:
    async with secured.wire("worker") as worker:
        with pytest.raises(QueueDown, match="channels"):
            await worker.send(job()).__aenter__()
    async with secured.client("admin") as admin:
        assert sum(one["count"] for one in await admin.acl_log()) < 10


# --- over time


async def test_jobs_outlive_a_restart_of_the_server(secrets: Path, port: int, start_redis: Callable[..., Any]) -> None:
    """Redis reads its AOF in the default user's name: one without rights would lose them in silence."""
    secured = Secured(port, secrets)
    server = start_redis(port, *secured.options)
    one = job()
    async with secured.wire("bridge") as bridge, bridge.send(one):
        pass
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0
    start_redis(port, *secured.options)
    async with (
        secured.wire("bridge") as bridge,
        secured.wire("worker") as worker,
        worker.attach(CARD) as inbox,
        bridge.resume(one.request_id) as replies,
    ):
        await serve(inbox)
        with fail_after(30):
            assert "".join([reply.chunk async for reply in replies]) == "because"
    assert await refused(secured) == []


@pytest.mark.slow
async def test_a_worker_process_finishes_its_job_when_it_is_told_to_stop_and_says_one_line_about_it(
    secured: Secured,
) -> None:
    one = job("one two three four five six")
    with place() as here:
        words = ("--engine", "echo", "--tokens-per-second", "4", "--slots", "2")
        async with here.program("worker", *words, settings=secured.settings("worker")) as program:
            await program.says("takes jobs from inference_queue")
            async with secured.wire("bridge") as bridge, bridge.send(one) as replies:
                begun = await anext(replies)
                (row,) = (worker for worker in (await bridge.office().figures()).workers if worker.state != "old")
                assert (row.engine, row.state, row.in_flight) == ("echo", "ready", 1)
                assert await program.stop() == 0
                rest = [reply async for reply in replies]
            listed = await here.tandem("dead", "ls", settings=secured.settings("admin"))
            assert listed.out == "no job was given up\n"
        text = begun.chunk + "".join(reply.chunk for reply in rest)
        assert isinstance(rest[-1], Final) and rest[-1].error is None
        assert text.split() == one.prompt.split()
        assert len([line for line in program.err.splitlines() if one.request_id in line]) == 1
        gone = (await here.tandem("workers", "--json", settings=secured.settings("bridge"))).json["workers"]
        assert [worker for worker in gone if worker["engine"] == "echo" and worker["state"] != "silent"] == []
    assert await refused(secured) == []
