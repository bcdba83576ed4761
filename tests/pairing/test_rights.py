"""Who may what at a queue, and what is taken back."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import fail_after
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from bridge import queue_server
from tests.pairing.box import KEY, SECRET, Box
from tests.processes import until
from tests.test_secured_redis import EVERYBODY, REFUSED
from wire import QueueDown
from wire.redis import RedisWire
from wire.redis.pairing import NotPaired


async def test_who_has_a_code_may_hand_over_a_request_read_an_answer_and_nothing_else(box: Box) -> None:
    async with box.offered(is_used=False) as (offer, _), box.passing(offer) as client:
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
