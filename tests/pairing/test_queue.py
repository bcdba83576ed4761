"""`tandem queue`, with a real redis-server."""

from pathlib import Path

import pytest

from bridge import pairing_code
from tests.conftest import free_port
from tests.pairing.box import SECRET, Box, a_queue, printed
from tests.processes import place
from wire.redis import RedisWire


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
