"""The queue asked by `tandem`, and a machine told by ssh what to do: `ready`, `join`, `drain` (boot/told.sh)."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from decision import Load

LOOK_S = 30
JOIN_S = 180
# A worker's grace is 30 s; systemd then waits as long as the unit says.
DRAIN_S = 180


class Unreached(Exception):
    """A command failed or took too long; the message says which and its last words."""


@dataclass(frozen=True, slots=True)
class Queue:
    """`in_flight`: of each live worker, by its name, which begins with its host's."""

    load: Load
    in_flight: dict[str, int]

    def on(self, host: str) -> int | None:
        """How many jobs the workers of this host have under way; None where none lives there."""
        found = [jobs for name, jobs in self.in_flight.items() if name.rsplit("-", 2)[0] == host]
        return sum(found) if found else None


async def queue(tandem: str) -> Queue:
    """Raises Unreached."""
    return read(json.loads(await _said([tandem, "workers", "--json"], LOOK_S)))


def read(told: Any) -> Queue:
    """What `tandem workers --json` prints. A worker that drains takes nothing new, so it does not count."""
    live = [one for one in told["workers"] if one["state"] == "ready"]
    waits = [one["wait_s"] for one in told["streams"] if one["wait_s"] is not None and one["waiting"]]
    load = Load(
        waiting=told["waiting"],
        wait_s=max(waits, default=None),
        workers=len(live),
        slots=sum(one["slots"] for one in live),
        in_flight=sum(one["in_flight"] for one in live),
    )
    return Queue(load, {one["name"]: one["in_flight"] for one in live})


@dataclass(frozen=True, slots=True)
class Ssh:
    """`key`: this machine's own, made here. A machine's host key is believed the first time, over the private network,
    and held to from then on, by the machine's id: addresses come back with other machines."""

    key: Path
    known_hosts: Path
    program: str = "ssh"

    def words(self, machine_id: int, address: str, what: str) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "HostKeyAlias": f"droplet-{machine_id}",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(self.known_hosts),
        }
        named = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [self.program, "-i", str(self.key), *named, f"root@{address}", what]


async def is_ready(ssh: Ssh, machine_id: int, address: str) -> bool:
    try:
        await _said(ssh.words(machine_id, address, "ready"), LOOK_S)
    except Unreached:
        return False
    return True


async def join(ssh: Ssh, machine_id: int, address: str, tandem: str) -> None:
    """The code goes from one program to the other and is seen by no third. Raises Unreached."""
    words = ssh.words(machine_id, address, "join")
    code = [tandem, "pair", "--role", "worker", "--wait", str(JOIN_S)]
    try:
        with anyio.fail_after(JOIN_S):
            async with await anyio.open_process(code, stderr=subprocess.DEVNULL) as printing:
                assert printing.stdout
                try:
                    word = (await printing.stdout.receive()).strip()
                    await _said(words, JOIN_S, word + b"\n")
                except Unreached:
                    printing.terminate()  # which makes the code void
                    raise
                await printing.wait()
    except (TimeoutError, anyio.EndOfStream, OSError) as error:
        raise Unreached(f"{' '.join(code)}: no machine took the code ({error or type(error).__name__})") from error


async def drain(ssh: Ssh, machine_id: int, address: str) -> None:
    """Raises Unreached."""
    await _said(ssh.words(machine_id, address, "drain"), DRAIN_S)


async def revoke(tandem: str, name: str) -> None:
    """Its user of the queue is of no use any more. Raises Unreached."""
    await _said([tandem, "pair", "--revoke", f"worker-{name}"], LOOK_S)


async def _said(words: Sequence[str], limit_s: float, told: bytes = b"") -> bytes:
    try:
        with anyio.fail_after(limit_s):
            ended = await anyio.run_process(words, input=told, check=False)
    except (OSError, TimeoutError) as error:
        raise Unreached(f"{words[0]} … {words[-1]}: {error or f'no end after {limit_s:.0f} s'}") from error
    if ended.returncode:
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no word of why"]
        raise Unreached(f"{words[0]} … {words[-1]}: status {ended.returncode}, {last[0]}")
    return ended.stdout
