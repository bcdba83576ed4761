"""The scaler beside a real queue: it lets a machine in by a code, reads what a worker says, and takes it back."""

import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import machines
import pytest
from decision import Load
from machines import Ssh, Unreached

from tests.conftest import free_port
from tests.processes import TANDEM, environment, until

pytestmark = pytest.mark.slow
HOST = "tandem-gpu-scaled-aaaaaa"


@dataclass(frozen=True, slots=True)
class Beside:
    """`tandem` is the queue's machine's, `ssh` leads to `other`, as if boot/told.sh were there."""

    tandem: str
    ssh: Ssh
    other: Path


@pytest.fixture
async def beside(redis_binary: str, tmp_path: Path) -> AsyncIterator[Beside]:
    if not has_tls(redis_binary):
        pytest.skip("this redis-server has no TLS")
    mine, other, port = tmp_path / "queue", tmp_path / "other", free_port()
    run = " ".join(TANDEM)
    program, ssh = tmp_path / "tandem", tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nTANDEM_DATA={mine} exec {run} "$@"\n')
    ssh.write_text(
        f"#!/bin/sh\nfor word; do :; done\n[ $word != join ] || TANDEM_DATA={other} exec {run} pair --name {HOST} -\n"
    )
    for file in (program, ssh):
        file.chmod(0o700)
    settings = environment({"PATH": f"{Path(redis_binary).parent}:/usr/bin:/bin"})
    command = [str(program), "queue", "--address", "127.0.0.1", "--port", str(port)]
    async with await anyio.open_process(command, env=settings, cwd=tmp_path) as serving:
        await until(lambda: is_open(port))
        yield Beside(str(program), Ssh(tmp_path / "key", tmp_path / "hosts", str(ssh)), other)
        serving.terminate()


def has_tls(binary: str) -> bool:
    told = subprocess.run([binary, "--tls-port", "x"], capture_output=True, text=True, check=False)
    return "Bad directive" not in told.stdout + told.stderr


async def is_open(port: int) -> bool:
    try:
        await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True


async def test_a_machine_is_let_in_works_and_is_taken_back(beside: Beside) -> None:
    await machines.join(beside.ssh, 7, "10.77.0.7", beside.tandem)
    assert f"worker-{HOST}@" in (beside.other / "paired" / "worker.toml").read_text()
    assert (await machines.queue(beside.tandem)).load.workers == 0
    worker = [*TANDEM, "worker", "--data", str(beside.other), "--engine", "echo", "--slots", "3"]
    async with await anyio.open_process(worker, env=environment({})) as working:

        async def manned() -> Load | None:
            load = (await machines.queue(beside.tandem)).load
            return load if load.workers else None

        found = await until(manned)
        assert (found.slots, found.waiting) == (3, 0)
        await machines.revoke(beside.tandem, HOST)
        working.terminate()
    left = await anyio.run_process([beside.tandem, "pair", "--ls", "--json"])
    assert HOST not in left.stdout.decode()
    with pytest.raises(Unreached, match="no machine is paired"):
        await machines.revoke(beside.tandem, HOST)


async def test_a_code_that_nobody_takes_is_told_of_and_void(beside: Beside, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    deaf.write_text("#!/bin/sh\ncat > /dev/null\necho 'no such command' >&2\nexit 127\n")
    deaf.chmod(0o700)
    with pytest.raises(Unreached, match="status 127, no such command"):
        await machines.join(Ssh(tmp_path / "key", tmp_path / "hosts", str(deaf)), 7, "10.77.0.7", beside.tandem)
    listed = await anyio.run_process([beside.tandem, "pair", "--ls", "--json"])
    assert [json.loads(line) for line in listed.stdout.splitlines()] == []
