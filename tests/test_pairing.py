"""Two machines are paired: `tandem queue` with a real redis-server, and codes between data folders.

`tests/two_machines` has the same over a network; here it is what is let in, what is refused, and in which words.
"""

import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio import fail_after
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from bridge import certificates, paired, pairing_code, queue_server
from bridge.pairing_code import Code
from bridge.service import Unavailable
from bridge.services import Service, kept
from bridge.services.settings_file import merged
from bridge.services.systemd import unit
from tests.conftest import free_port
from tests.processes import Place, Program, environment, place, until
from tests.test_secured_redis import EVERYBODY, REFUSED
from wire import QueueDown
from wire.redis import RedisWire
from wire.redis.pairing import NotPaired, Offer, Registry, hashed, registry
from wire.redis.redeeming import Told, redeem

KEY = "inference_queue"
SECRET = "a-machine's-own"


@dataclass(frozen=True, slots=True)
class Box:
    """A queue under way, and the data folder of its machine."""

    here: Place
    port: int

    @property
    def ca(self) -> Path:
        return self.here.data / "queue" / "ca.crt"

    def client(self, role: str = "pair") -> Any:
        entry = paired.read(self.here.data, role)
        assert entry
        return Redis.from_url(entry.url, password=entry.key, decode_responses=True)

    @asynccontextmanager
    async def registry(self) -> AsyncIterator[Registry]:
        entry = paired.read(self.here.data, "pair")
        assert entry
        async with registry(entry.url, entry.key, KEY) as known:
            yield known

    @asynccontextmanager
    async def offered(
        self, role: str = "bridge", is_used: bool = True
    ) -> AsyncIterator[tuple[Offer, list[str | None]]]:
        """A code's offer, and whom it let in, once this is left."""
        became: list[str | None] = []

        async def wait(offer: Offer) -> None:
            became.append(await offer.taken(60))

        with fail_after(60):
            async with self.registry() as known, known.offer(role) as offer, anyio.create_task_group() as tasks:
                tasks.start_soon(wait, offer)
                yield offer, became
                if not is_used:
                    tasks.cancel_scope.cancel()

    async def redeemed(self, offer: Offer, name: str, secret: str = SECRET) -> str:
        user, _ = await redeem(Told(offer.id, offer.secret, KEY), ["127.0.0.1"], self.url_of, name, secret)
        return user

    def url_of(self, user: str, address: str) -> str:
        return paired.url(user, address, self.port, self.ca)

    async def pair(self, name: str, role: str = "bridge", secret: str = SECRET) -> str:
        async with self.offered(role) as (offer, _):
            return await self.redeemed(offer, name, secret)

    async def users(self) -> set[str]:
        async with self.client() as client:
            return {line.split()[1] for line in await client.execute_command("ACL", "LIST")}


@contextmanager
def a_queue(here: Place, *words: str) -> Generator[subprocess.Popen[str]]:
    """`tandem queue`, once it lets in."""
    command = here.command("queue", *words)
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, cwd=here.folder) as process:
        assert process.stderr
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "Ready to accept connections" in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def able() -> None:
    try:
        queue_server.redis_server()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def box(able: None) -> Generator[Box]:
    with place() as here:
        port = free_port()
        with a_queue(here, "--address", "127.0.0.1", "--port", str(port)):
            yield Box(here, port)


async def printed(pair: Program) -> str:
    """The code of a `tandem pair` under way."""

    async def whole() -> str | None:
        return pair.out.strip() if pair.out.endswith("\n") else None

    return await until(whole)


# --- from nothing to an answer


@pytest.mark.slow
async def test_two_machines_answer_within_a_minute_and_no_secret_is_seen_anywhere(able: None) -> None:
    began = time.monotonic()
    port, seen, said = free_port(), set[str](), list[str]()
    with place() as box, place() as gpu, place() as laptop:
        laptop.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        async with (
            box.program("queue", "--address", "127.0.0.1", "--port", str(port)) as queue,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(watch_words, seen)
            await queue.says("Ready to accept")
            async with box.program("pair", "--role", "worker") as pair:
                joined = await gpu.tandem("pair", "-", "--name", "gpu", stdin=(await printed(pair)).encode())
                assert joined.status == await pair.process.wait() == 0
            async with gpu.program("worker", "--engine", "echo") as worker:
                await worker.says("takes jobs from")
                async with box.program("pair") as pair:
                    word = await printed(pair)
                    joined = await laptop.tandem("pair", "-", "--name", "anna", stdin=word.encode())
                    assert joined.out == f"this machine is bridge-anna at the queue at 127.0.0.1:{port}\n"
                    assert await pair.process.wait() == 0
                    assert "bridge-anna is paired" in pair.err
                no_worker = await laptop.tandem("worker", "--engine", "echo")
                assert (no_worker.status, "a worker needs a code of its own" in no_worker.err) == (1, True)
                async with laptop.daemon(laptop.docs) as daemon:
                    await daemon.in_step(1)
                    answer = await daemon.answer("how long does it cool?")
                    told = await laptop.tandem("status")
                assert answer["engine"] == "echo"
                # What else runs here has its share of the machine.
                assert time.monotonic() - began < 60 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
                listed = await box.tandem("workers")
                assert "echo" in listed.out
                said += [worker.err, joined.err, told.out, told.err, listed.out, daemon.program.err]
            assert f"paired     as bridge-anna with the queue at 127.0.0.1:{port}" in told.out
            await until(partial(has, seen, str(box.data)))
            tasks.cancel_scope.cancel()
            said += [queue.out, queue.err, pair.err]
        keys = {entry.key for data in (box.data, gpu.data, laptop.data) for entry in entries(data)}
        keys |= {word, pairing_code.read(word).secret}
        assert len(keys) == 7
        logs = [file.read_text(errors="replace") for file in laptop.data.glob("*.log")]
        for secret in keys:
            assert not [text for text in (*said, *seen, *logs) if secret in text]
        for data in (box.data, gpu.data, laptop.data):
            written = {file for file in data.rglob("*") if file.suffix != ".sock"}
            assert {stat.S_IMODE(file.stat().st_mode) for file in written if file.is_file()} <= {0o600}
            assert {stat.S_IMODE(file.stat().st_mode) for file in written if file.is_dir()} <= {0o700}
        # What the queue keeps is hashes: whoever reads its folder has no machine's password.
        kept = b"".join(file.read_bytes() for file in (box.data / "queue").rglob("*") if file.is_file())
        assert not [key for key in keys if key.encode() in kept]


async def has(seen: set[str], word: str) -> bool:
    return any(word in one for one in seen)


async def watch_words(seen: set[str]) -> None:
    """The words of every process, as everybody on a machine may read them."""
    while True:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        await anyio.sleep(0.05)


def entries(data: Path) -> list[paired.Paired]:
    found = [paired.read(data, file.stem) for file in paired.folder(data).glob("*.toml")]
    return [one for one in found if one]


# --- one code, one machine


async def test_a_code_lets_one_machine_in_and_is_nothing_after_that(box: Box) -> None:
    async with box.offered() as (offer, became):
        assert await box.redeemed(offer, "once") == "bridge-once"
    assert became == ["bridge-once"]
    with fail_after(60), pytest.raises(NotPaired, match="knows this code no more: it was used, or has expired"):
        await box.redeemed(offer, "twice")
    assert "bridge-once" in (users := await box.users())
    assert not [user for user in users if user.startswith("once-") or user == "bridge-twice"]


async def test_of_two_machines_with_one_code_exactly_one_comes_in(box: Box) -> None:
    won: list[str] = []
    lost: list[str] = []

    async def run(offer: Offer, name: str) -> None:
        try:
            won.append(await box.redeemed(offer, name, name))
        except (NotPaired, QueueDown) as error:
            lost.append(str(error))

    names = [f"racer-{n}" for n in range(6)]
    async with box.offered() as (offer, became), anyio.create_task_group() as racers:
        for name in names:
            racers.start_soon(run, offer, name)
    assert became == won and len(won) == 1 and len(lost) == 5
    assert all("this code" in words for words in lost), lost
    assert {user for user in await box.users() if "racer" in user} == {*won}


@pytest.mark.slow
async def test_a_code_that_nobody_used_in_time_is_void(box: Box) -> None:
    async with box.registry() as known, known.offer("bridge") as offer:
        assert await offer.taken(0.1) is None
    with pytest.raises(NotPaired, match="has expired"):
        await box.redeemed(offer, "late")
    ended = await box.here.tandem("pair", "--wait", "1")
    assert (ended.status, "nobody used the code within 1 s: it is void" in ended.err) == (1, True)


@pytest.mark.slow
async def test_a_code_whose_box_was_killed_is_refused_and_its_user_is_removed_by_the_next(box: Box) -> None:
    async with box.here.program("pair") as pair:
        word = await printed(pair)
        pair.process.kill()
        await pair.process.wait()
    user = f"once-{pairing_code.read(word).id}"
    assert user in await box.users()
    with place() as laptop, fail_after(60):
        ended = await laptop.tandem("pair", "-", stdin=word.encode())
        assert ended.status == 1 and re.search("nobody waits for this code any more: make a new one", ended.err)
        assert not list(paired.folder(laptop.data).iterdir())

    async def gone() -> bool:
        async with box.offered(is_used=False):
            return user not in await box.users()

    await until(gone)


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "told"), [(b"tandempair1_cut\n\n", "cut or mistyped"), (b"tandempair1_cut\n", None)])
def test_who_pastes_a_part_of_a_code_is_told_at_an_empty_line_and_may_stop(typed: bytes, told: str | None) -> None:
    with place() as laptop:
        terminal, its = os.openpty()
        command = laptop.command("pair", "-")
        with subprocess.Popen(
            command,
            env=environment(),
            stdin=its,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background a shell has switched Ctrl-C off.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as pair:
            try:
                assert pair.stderr and "paste the code" in pair.stderr.readline()
                os.write(terminal, typed)
                if not told:
                    pair.send_signal(signal.SIGINT)
                _, said = pair.communicate(timeout=60)
            finally:
                pair.kill()
                os.close(terminal)
                os.close(its)
    assert (pair.returncode, (told or "") in said, "Traceback" in said) == (1 if told else 130, True, False), said


async def test_a_machine_that_goes_away_before_it_is_let_in_leaves_no_user(box: Box) -> None:
    async def ask(offer: Offer) -> None:
        async with passing(box, offer) as client:
            asked = msgspec.json.encode({"nonce": "n", "name": "gone", "sha256": "0" * 64})
            await client.rpush(f"{offer.place}:asked", asked)
            assert await client.blpop([f"{offer.place}:answer:n"], timeout=30)
        # From the first machine's request on nobody else comes in by it.
        async with passing(box, offer) as late:
            with pytest.raises(AuthenticationError):
                await late.exists(f"{offer.place}:waits")

    async with box.registry() as known, known.offer("bridge", patience_s=1) as offer:
        with fail_after(60), pytest.RaisesGroup(pytest.RaisesExc(NotPaired, match="bridge-gone asked, and went away")):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, offer)
                await offer.taken(5)
    assert "bridge-gone" not in await box.users()


async def test_a_name_that_is_taken_is_refused_and_the_code_is_still_good_for_another(box: Box) -> None:
    await box.pair("desk")
    async with box.offered() as (offer, became):
        with pytest.raises(NotPaired, match=r"paired as bridge-desk: .*--name NAME CODE.*--revoke bridge-desk"):
            await box.redeemed(offer, "desk", "another's")
        assert await box.redeemed(offer, "desk-2") == "bridge-desk-2"
    assert became == ["bridge-desk-2"]
    async with RedisWire(box.url_of("bridge-desk", "127.0.0.1"), password=SECRET) as wire:
        assert await wire.workers() == 0


async def test_of_two_codes_that_are_used_at_once_under_one_name_one_is_refused_and_the_other_machine_stays_in(
    box: Box,
) -> None:
    said: list[str] = []

    async def admit(known: Registry, secret: str) -> None:
        try:
            said.append(await known.admit("bridge", "twin", hashed(secret)))
        except NotPaired as error:
            said.append(str(error))

    async with box.registry() as one, box.registry() as other:
        await one.machines(), await other.machines()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(admit, one, "one")
            tasks.start_soon(admit, other, "other")
        refused, user = sorted(said)
        assert user == "bridge-twin" and "a machine is paired as bridge-twin" in refused
        await one.revoke("bridge-twin")
        await admit(other, "again")
        assert said[-1] == "bridge-twin"


@pytest.mark.parametrize("asked", ["{", "[]", '{"nonce": "n", "name": "x on nopass ~*"}', '{"nonce": 1}'])
async def test_what_a_code_holder_says_that_is_no_request_lets_nobody_in(box: Box, asked: str) -> None:
    before = await box.users()
    async with box.offered() as (offer, _):
        async with passing(box, offer) as client:
            await client.rpush(f"{offer.place}:asked", asked)
        assert await box.redeemed(offer, f"after-{abs(hash(asked))}") in await box.users()
    assert len(await box.users() - before) == 1


@pytest.mark.parametrize("answer", ["{", '{"user": "x@127.0.0.1:1/?ssl_cert_reqs=none"}', '{"user": "admin"}'])
async def test_an_answer_that_names_no_machine_is_believed_by_none(box: Box, answer: str) -> None:
    async def reply(offer: Offer) -> None:
        async with box.client() as client:
            _, asked = await client.blpop([f"{offer.place}:asked"], timeout=30)
            await client.rpush(f"{offer.place}:answer:{msgspec.json.decode(asked)['nonce']}", answer)

    with fail_after(60):
        async with box.registry() as known, known.offer("bridge") as offer, anyio.create_task_group() as tasks:
            tasks.start_soon(reply, offer)
            with pytest.raises(NotPaired, match="gave no user: make a new one"):
                await box.redeemed(offer, "any")


# --- who may what


def passing(box: Box, offer: Offer) -> Any:
    url = box.url_of(f"once-{offer.id}", "127.0.0.1")
    return Redis.from_url(url, password=offer.secret, decode_responses=True)


async def test_who_has_a_code_may_hand_over_a_request_read_an_answer_and_nothing_else(box: Box) -> None:
    async with box.offered(is_used=False) as (offer, _), passing(box, offer) as client:
        mine = offer.place
        for words in (
            *EVERYBODY,
            *REFUSED["bridge"],
            *REFUSED["worker"],
            *(("PING",), ("ACL", "WHOAMI"), ("INFO",), ("EVAL", "return 1", 0), ("TIME",), ("CLIENT", "LIST")),
            *(("LRANGE", f"{mine}:asked", 0, -1), ("BLPOP", f"{mine}:asked", 1), ("DEL", f"{mine}:waits")),
            *(("RPUSH", f"{mine}:answer:n", "x"), ("RPUSH", f"{KEY}:pair:another:asked", "x"), ("XLEN", KEY)),
            ("PUBLISH", "result:x", "x"),
        ):
            with fail_after(60), pytest.raises(NoPermissionError):
                pytest.fail(f"a code may {words}: {await client.execute_command(*words)}")
        assert await client.exists(f"{mine}:waits") == 1


@pytest.mark.parametrize("role", ["bridge", "worker"])
async def test_a_machine_may_what_its_role_may_and_no_more(box: Box, role: str) -> None:
    user = await box.pair(f"{role}s", role)
    async with box.client() as client:
        lines = {line.split()[1]: line.split()[2:] for line in await client.execute_command("ACL", "LIST")}
    rights = {word for word in lines[role] if not word.startswith("#")} - {"on", "off", "sanitize-payload"}
    assert {*lines[user]} - {"on", "sanitize-payload", f"#{queue_server.hashed(SECRET)}"} == rights
    async with Redis.from_url(box.url_of(user, "127.0.0.1"), password=SECRET) as client:
        for words in (*EVERYBODY, *REFUSED[role], ("SET", f"{KEY}:pair:x:waits", 1), ("ACL", "SAVE")):
            with fail_after(60), pytest.raises(NoPermissionError):
                pytest.fail(f"{user} may {words}: {await client.execute_command(*words)}")


async def test_who_lets_machines_in_reads_no_job_and_answers_none(box: Box) -> None:
    async with box.client("pair") as client:
        for words in (
            *(one for one in EVERYBODY if one[0] != "ACL"),
            *(("XADD", KEY, "*", "data", "x"), ("XLEN", KEY), ("XRANGE", KEY, "-", "+"), ("EVAL", "return 1", 0)),
            *(("GET", f"{KEY}:job:x"), ("DEL", f"{KEY}:job:x"), ("PUBLISH", "result:x", "x"), ("ACL", "LOAD")),
        ):
            with fail_after(60), pytest.raises(NoPermissionError):
                pytest.fail(f"pair may {words}: {await client.execute_command(*words)}")


@pytest.mark.slow
async def test_a_machine_that_is_revoked_is_cut_off_at_once_and_told_so(box: Box) -> None:
    await box.pair("lent")
    async with RedisWire(box.url_of("bridge-lent", "127.0.0.1"), password=SECRET) as wire:
        assert await wire.workers() == 0
        assert (await box.here.tandem("pair", "--ls", "--json")).lines.count(
            {"user": "bridge-lent", "role": "bridge", "name": "lent"}
        ) == 1
        assert (await box.here.tandem("pair", "--revoke", "lent")).out.startswith("bridge-lent is revoked")

        async def told() -> bool:
            with pytest.raises(QueueDown) as error:
                await wire.workers()
            return "that was taken back: pair it again" in str(error.value)

        await until(told)
    again = await box.here.tandem("pair", "--revoke", "lent")
    assert (again.status, "no machine is paired as 'lent'" in again.err) == (1, True)
    for role in ("admin", "pair", "default"):
        assert (await box.here.tandem("pair", "--revoke", role)).status == 1
    assert {"admin", "pair", "default", "worker"} <= await box.users()


@contextmanager
def unwritable(acl: Path) -> Generator[None]:
    """Redis cannot put its file of users in place, as on a full disk; root is refused that too."""
    kept = acl.rename(acl.with_name("users.kept"))
    acl.mkdir()
    try:
        yield
    finally:
        acl.rmdir()
        kept.rename(acl)


@pytest.mark.slow
async def test_what_a_queue_cannot_write_down_is_said_on_both_machines_and_a_revocation_can_be_repeated(
    box: Box,
) -> None:
    acl = box.here.data / "queue" / "users.acl"
    await box.pair("known")
    with unwritable(acl):
        with pytest.RaisesGroup(
            pytest.RaisesExc(NotPaired, match="could not write down whom it lets in"),
            pytest.RaisesExc(NotPaired, match="could not write down whom it lets in"),
        ):
            async with box.registry() as known, known.offer("bridge") as offer, anyio.create_task_group() as tasks:

                async def come() -> None:
                    # It does not take the other with it.
                    with anyio.CancelScope(shield=True):
                        await box.redeemed(offer, "unknown")

                tasks.start_soon(come)
                await offer.taken(30)
        assert "bridge-unknown" not in await box.users()
        failed = await box.here.tandem("pair", "--revoke", "known")
        assert failed.status == 1 and re.search("bridge-known is refused for now.*would let it in again", failed.err)
        async with RedisWire(box.url_of("bridge-known", "127.0.0.1"), password=SECRET) as wire:
            with pytest.raises(QueueDown, match="refused the password"):
                await wire.workers()
    assert (await box.here.tandem("pair", "--revoke", "known")).status == 0
    assert "bridge-known" not in acl.read_text() + str(await box.users())


@pytest.mark.slow
async def test_a_daemon_whose_pairing_is_taken_back_says_so_and_goes_on_by_itself(box: Box) -> None:
    with place() as laptop:
        laptop.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        async with box.here.program("pair") as pair:
            await laptop.tandem("pair", "--name", "stolen", await printed(pair))
            await pair.process.wait()
        async with laptop.daemon(laptop.docs) as daemon:
            await daemon.in_step(1)
            await box.here.tandem("pair", "--revoke", "stolen")

            async def told() -> bool:
                return "that was taken back: pair it again" in str(await daemon.answer("how long does it cool?"))

            await until(told)
        checked = await laptop.tandem("doctor")
        assert "paired as bridge-stolen: " in checked.out and "that was taken back" in checked.out


@pytest.mark.slow
async def test_a_machine_that_leaves_keeps_no_password_and_says_what_still_holds_at_the_queue(box: Box) -> None:
    with place() as laptop:
        for role in ("bridge", "worker"):
            async with box.here.program("pair", "--role", role) as pair:
                await laptop.tandem("pair", "--name", "leaver", await printed(pair))
                await pair.process.wait()
        ca, keys = paired.folder(laptop.data) / "ca.crt", [entry.key for entry in entries(laptop.data)]
        left = await laptop.tandem("pair", "--leave", "worker")
        assert left.out == f"this machine is worker-leaver at the queue at 127.0.0.1:{box.port} no more: " + (
            "its password is removed\n"
        )
        assert "on its machine, `tandem pair --revoke worker-leaver`" in left.err
        assert [entry.user for entry in entries(laptop.data)] == ["bridge-leaver"] and ca.exists()
        assert (await laptop.tandem("workers")).status == 0, "what was not left still comes in"
        left = await laptop.tandem("pair", "--leave", "--json")
        assert left.json == {"user": "bridge-leaver", "role": "bridge", "queue": f"127.0.0.1:{box.port}"}
        kept = b"".join(file.read_bytes() for file in laptop.data.rglob("*") if file.is_file())
        assert not ca.exists() and not [key for key in keys if key.encode() in kept]
        for words in ((), ("worker",)):
            again = await laptop.tandem("pair", "--leave", *words)
            assert (again.status, "no code let this machine in" in again.err) == (1, True), again.err
    assert {"bridge-leaver", "worker-leaver"} <= await box.users(), "only the queue's machine throws out"


@pytest.mark.slow
async def test_a_daemon_is_named_that_goes_on_with_the_password_that_was_left(box: Box) -> None:
    with place() as laptop:
        async with box.here.program("pair") as pair:
            await laptop.tandem("pair", "--name", "goer", await printed(pair))
            await pair.process.wait()
        async with laptop.daemon(laptop.docs):
            left = await laptop.tandem("pair", "--leave")
    assert (left.status, "goes on with it until it ends: `tandem down`" in left.err) == (0, True)


@pytest.mark.slow
async def test_the_queues_own_machine_has_nothing_to_leave_and_a_pairing_that_cannot_be_read_can_be_left(
    box: Box,
) -> None:
    own = await box.here.tandem("pair", "--leave")
    assert (own.status, "nothing to leave" in own.err) == (1, True)
    assert paired.read(box.here.data, "worker")
    assert (await box.here.tandem("status", "--json")).json["paired"] == []
    with place() as laptop:
        broken = paired.file(laptop.data, "bridge")
        broken.parent.mkdir(parents=True)
        broken.write_text("redis_url = ")
        left = await laptop.tandem("pair", "--leave")
        assert (left.status, broken.exists()) == (0, False), left.err


# --- what counts instead of a pairing


@pytest.mark.slow
async def test_what_counts_instead_of_a_pairing_is_named_with_its_place_and_without_its_value(box: Box) -> None:
    with place() as laptop:
        home = {"XDG_CONFIG_HOME": str(laptop.folder)}
        async with box.here.program("pair") as pair:
            url = {"REDIS_URL": "redis://:hidden@127.0.0.1:1", "REDIS_KEY": "hidden"}
            said = [await laptop.tandem("pair", "--name", "shadow", await printed(pair), settings=home | url)]
            await pair.process.wait()
        assert "this counts instead of the pairing, unset it there: REDIS_URL in the environment" in said[0].err

        async def told(settings: dict[str, str]) -> dict[str, str]:
            said.append(await laptop.tandem("doctor", "--json", settings=home | settings))
            (line,) = [line for line in said[-1].lines if line["part"] == "pairing"]
            return line

        what = f"as bridge-shadow with the queue at 127.0.0.1:{box.port}"
        assert await told({}) == {"part": "pairing", "state": "ok", "found": what, "remedy": None}
        key = {"REDIS_KEY": "hidden"}  # alone it is not used
        assert (await told(key))["state"] == "ok"
        line = await told(url)
        instead = "REDIS_URL in the environment, REDIS_KEY in the environment"
        assert (line["state"], line["found"]) == ("warning", f"{what}, but this counts instead: {instead}")
        assert line["remedy"].endswith("`tandem pair --leave bridge`")
        dotenv = laptop.write(".env", "REDIS_URL=redis://:hidden@127.0.0.1:1\n")
        assert (await told(key))["found"].endswith(f"REDIS_URL in {dotenv}, REDIS_KEY in the environment")
        dotenv.write_text("REDIS_STREAM_KEY=theirs\n")
        assert (await told({}))["found"].endswith(f"instead: REDIS_STREAM_KEY in {dotenv}")
        dotenv.write_text(f"REDIS_STREAM_KEY={KEY}\n")
        assert (await told({}))["state"] == "ok"
        dotenv.unlink()

        settings = laptop.write("tandem/daemon.env", "HF_HOME=/hf\n")
        daemon = Service("daemon", "daemon", ("/tandem", "up", "--data", str(laptop.data)), laptop.data, settings)
        laptop.write("systemd/user/tandem-daemon.service", kept.marked(unit(daemon).encode()))
        elsewhere = replace(daemon, command=(*daemon.command[:-1], "/elsewhere"))
        laptop.write("systemd/user/tandem-other.service", kept.marked(unit(elsewhere).encode()))
        laptop.write("tandem/other.env", "REDIS_URL=redis://127.0.0.1:1\n")
        assert (await told({}))["state"] == "ok"
        settings.write_text("REDIS_URL=\nREDIS_KEY=hidden\n")  # emptied, as one is told to
        (laptop.folder / "systemd/user/tandem-a-folder.service").mkdir()  # and what cannot be read is no service
        assert (await told({}))["state"] == "ok"
        assert (await told({"TANDEM_ENGINE": "extractive"}))["found"].endswith("TANDEM_ENGINE in the environment")
        settings.write_bytes(merged(None, url))
        assert (await told({}))["found"].endswith(f"instead: REDIS_URL in {settings} (service daemon)")
        assert not [one for one in said if "hidden" in one.out + one.err]


@pytest.mark.slow
async def test_status_says_as_what_a_machine_is_paired_and_what_to_do_where_that_was_taken_back(box: Box) -> None:
    queue = f"127.0.0.1:{box.port}"
    with place() as laptop:
        alone = await laptop.tandem("status", "--json")
        assert alone.json["paired"] == []
        for role in ("bridge", "worker"):
            async with box.here.program("pair", "--role", role) as pair:
                await laptop.tandem("pair", "--name", "seen", await printed(pair))
                await pair.process.wait()
        told = await laptop.tandem("status", "--json")
        assert told.json == alone.json | {
            "engine": told.json["engine"],
            "workers": 0,
            "paired": [
                {"role": role, "user": f"{role}-seen", "queue": queue, "instead": []} for role in ("bridge", "worker")
            ],
        }
        other = {"REDIS_URL": "redis://127.0.0.1:1"}
        in_words = await laptop.tandem("status", settings=other)
        lines = [f"paired     as {role}-seen with the queue at {queue}" for role in ("bridge", "worker")]
        but = ", but this counts instead: REDIS_URL in the environment"
        assert [line for line in in_words.out.splitlines() if line.startswith("paired")] == [
            f"{line}{but}" for line in lines
        ]
        in_json = (await laptop.tandem("status", "--json", settings=other)).json
        assert [one["instead"] for one in in_json["paired"]] == [["REDIS_URL in the environment"]] * 2
        assert (await box.here.tandem("pair", "--revoke", "bridge-seen")).status == 0
        lost = await laptop.tandem("status")
        assert f"\n{lines[0]}\n" in lost.out
        assert "by a new code (`tandem pair` on the queue's machine), or forget it (`tandem pair --leave`)" in lost.out
        words = "".join(one.out + one.err for one in (told, in_words, lost))
        assert not [entry.key for entry in entries(laptop.data) if entry.key in words]


@pytest.mark.slow
async def test_a_workers_machine_is_told_that_its_pairing_was_taken_back(box: Box) -> None:
    async def told(here: Place) -> tuple[str, str]:
        (line,) = [line for line in (await here.tandem("doctor", "--json")).lines if line["part"] == "pairing"]
        return line["state"], line["found"]

    with place() as gpu:
        async with box.here.program("pair", "--role", "worker") as pair:
            await gpu.tandem("pair", "--name", "lost", await printed(pair))
            await pair.process.wait()
        what = f"as worker-lost with the queue at 127.0.0.1:{box.port}"
        assert await told(gpu) == ("ok", what)
        assert (await box.here.tandem("pair", "--revoke", "worker-lost")).status == 0
        state, found = await told(gpu)
        assert state == "failed" and found.startswith(f"{what}: ") and "that was taken back" in found
    # The users that a queue's own machine has by the names of the roles are no pairing.
    assert "pairing" not in {line["part"] for line in (await box.here.tandem("doctor", "--json")).lines}


# --- what is at the other end


@pytest.mark.slow
async def test_a_server_that_is_not_the_codes_gets_no_secret_and_each_reason_has_its_words(box: Box) -> None:
    _, other = certificates.authority()
    async with box.offered() as (offer, became):
        code = Code("bridge", offer.id, offer.secret, KEY, box.port, ("127.0.0.1",), der(box.ca.read_text()))
        cases = {
            "is not by the CA in the code .*another server answers there": replace_(code, ca=der(other.decode())),
            "certificate for other addresses .*tandem queue --address": replace_(code, addresses=("127.0.0.2",)),
            "cannot be reached": replace_(code, port=free_port()),
            "begins otherwise": "tandem_other",
            "cut or mistyped": pairing_code.write(code)[:-40],
        }
        for words, wrong in cases.items():
            with place() as laptop, fail_after(60):
                word = wrong if isinstance(wrong, str) else pairing_code.write(wrong)
                ended = await laptop.tandem("pair", "--name", "lost", word)
                assert ended.status == 1 and re.search(words, ended.err), (words, ended.err)
                assert offer.secret not in ended.err
                assert not list(laptop.data.rglob("*.toml"))
        # Of several addresses one that answers is enough.
        right = replace_(code, addresses=("192.0.2.1", "127.0.0.2", "127.0.0.1"))
        with place() as laptop, fail_after(60):
            ended = await laptop.tandem("pair", "--name", "found", pairing_code.write(right))
            assert ended.status == 0, ended.err
            entry = paired.read(laptop.data, "bridge")
            assert entry and entry.where == f"127.0.0.1:{box.port}"
    assert became == ["bridge-found"]


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem)


def replace_(code: Code, **fields: Any) -> Code:
    return msgspec.structs.replace(code, **fields)


async def test_a_clock_that_is_wrong_is_named_and_one_that_is_hours_behind_is_no_matter(tmp_path: Path) -> None:
    for ahead, words in (
        (timedelta(days=3), "not yet valid.*set both machines' clocks"),
        (timedelta(hours=20), ""),
    ):
        now = datetime.now(UTC) + ahead
        ca_key, ca = certificates.authority(now)
        key, crt = certificates.certificate(ca_key, ca, ["127.0.0.1"], now)
        (tmp_path / "ca.crt").write_bytes(ca)
        (tmp_path / "server.pem").write_bytes(key + crt)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "server.pem")
        async with a_tls_server(context) as port:
            url_of = partial(url, port, tmp_path / "ca.crt")
            with fail_after(60), pytest.raises(NotPaired) as error:
                await redeem(Told("id", "secret", KEY), ["127.0.0.1"], url_of, "x", SECRET)
            assert re.search(words or "cannot be reached", str(error.value)), error.value
            assert ("not yet valid" in str(error.value)) == bool(words)


def url(port: int, ca: Path, user: str, address: str) -> str:
    return paired.url(user, address, port, ca)


@asynccontextmanager
async def a_tls_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    """It hangs up after the handshake."""
    import asyncio

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_nothing_is_said_in_plain_text(box: Box) -> None:
    with socket.create_connection(("127.0.0.1", box.port), timeout=5) as plain:
        plain.sendall(b"PING\r\n")
        with suppress(ConnectionResetError):
            assert not plain.recv(100)


# --- the queue


@pytest.mark.slow
async def test_a_code_that_no_other_machine_can_use_is_said_to_be_one(able: None) -> None:
    named = "the code names only redis, 127.0.0.1, by which no other machine gets here"
    with place() as here, place() as beside:
        words = ("--address", "localhost", "--address", "redis")  # compose/server.yaml without QUEUE_ADDRESS
        with a_queue(here, *words, "--port", str(free_port())):
            async with here.program("pair") as pair:
                line = await pair.says(named)
                assert "`tandem queue --address NAME` (in compose: QUEUE_ADDRESS), and start the queue anew" in line
                joined = await beside.tandem("pair", "-", stdin=(await printed(pair)).encode())
                assert joined.status == await pair.process.wait() == 0, joined.err
            # Who says by what it is reached is believed.
            async with here.program("pair", "--address", "redis") as pair:
                await printed(pair)
                await pair.says("on the other machine")
                assert named.partition(",")[0] not in pair.err
                await pair.stop()
        added = await here.tandem("queue", "--init", "--address", "box.example")
        assert "no address" not in added.err
        with a_queue(here):
            async with here.program("pair") as pair:
                assert pairing_code.read(await printed(pair)).addresses == ("box.example", "redis")
                assert "names only" not in pair.err
                await pair.stop()


@pytest.mark.slow
async def test_a_queue_comes_back_with_its_machines_and_without_a_code_that_was_open(able: None) -> None:
    port = free_port()
    with place() as here:
        box = Box(here, port)
        with a_queue(here, "--address", "127.0.0.1", "--port", str(port)) as process:
            await box.pair("kept")
            await box.pair("lent")
            async with box.offered(is_used=False):
                await box.pair("too")  # what it saves has the other's code in it
                assert (await here.tandem("pair", "--revoke", "lent")).status == 0
                second = await here.tandem("queue")
                assert (second.status, "a queue runs on" in second.err) == (1, True)
                process.kill()
                process.wait()
        alone = await here.tandem("pair")
        assert (alone.status, "does not run: start it with `tandem queue`" in alone.err) == (1, True)
        added = await here.tandem("queue", "--init", "--address", "box.example")
        assert added.status == 0 and "for box.example" in added.err
        with a_queue(here):
            assert {"bridge-kept", "bridge-too"} == {user for user in await box.users() if "-" in user}
            async with RedisWire(box.url_of("bridge-kept", "127.0.0.1"), password=SECRET) as wire:
                assert await wire.workers() == 0


@pytest.mark.slow
async def test_what_keeps_a_queue_from_starting_is_said(box: Box, tmp_path: Path) -> None:
    typed = await box.here.tandem("pair", "--address", "box:6379")
    assert (typed.status, "a host name or an IP address, without a port" in typed.err) == (1, True)
    with place() as other:
        taken = await other.tandem("queue", "--port", str(box.port))
        assert (taken.status, f"port {box.port} is taken" in taken.err) == (1, True)
        old = tmp_path / "redis-server"
        old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n")
        old.chmod(0o755)
        for path, words in (
            (str(tmp_path), "redis-server is 6.2.14. Install"),
            ("/nowhere", "there is none. Install"),
        ):
            ended = await other.tandem("queue", settings={"PATH": path})
            assert (ended.status, words in ended.err) == (1, True), ended.err
        with place() as nowhere:
            beside = await nowhere.tandem("pair")
        assert (beside.status, "is for the queue's machine" in beside.err) == (1, True)
