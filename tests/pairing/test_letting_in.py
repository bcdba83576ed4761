"""A code lets one machine in: who is let in, what is refused, and in which words."""

import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio import fail_after
from redis.exceptions import AuthenticationError

from bridge import certificates, paired, pairing_code
from bridge.pairing_code import Code
from tests.conftest import free_port
from tests.pairing.box import KEY, SECRET, Box, printed
from tests.processes import environment, place, until
from wire import QueueDown
from wire.redis import RedisWire
from wire.redis.pairing import NotPaired, Offer, Registry, hashed
from wire.redis.redeeming import Told, redeem

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
        async with box.passing(offer) as client:
            asked = msgspec.json.encode({"nonce": "n", "name": "gone", "sha256": "0" * 64})
            await client.rpush(f"{offer.place}:asked", asked)
            assert await client.blpop([f"{offer.place}:answer:n"], timeout=30)
        # From the first machine's request on nobody else comes in by it.
        async with box.passing(offer) as late:
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
        async with box.passing(offer) as client:
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
