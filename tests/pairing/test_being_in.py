"""From nothing to an answer, and what a machine that was let in is told of it."""

import stat
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from bridge import paired, pairing_code
from bridge.services import Service, kept
from bridge.services.settings_file import merged
from bridge.services.systemd import unit
from tests.conftest import free_port
from tests.pairing.box import KEY, Box, entries, printed
from tests.processes import Place, place, until

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
                assert time.monotonic() - began < 60
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
