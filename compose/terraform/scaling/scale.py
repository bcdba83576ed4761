"""One look at the queue and what follows from it; a timer on the queue's machine runs it once a minute.

    look (queue, machines) -> pair who came up -> decide -> do

`scale.py --gone` ends every machine that it made: before `terraform destroy`, which knows none of them.

What it remembers lies in one file; without it, it begins anew with the machines that there are, found by their tag.
"""

import argparse
import json
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import machines
from decision import Drain, Grow, Limits, Machine, Memory, Step, decide
from digitalocean import API, Cloud, CloudAway, Droplet
from machines import Queue, Ssh, Unreached

logger = logging.getLogger("tandem-scaling")

_MARK = "@QUEUE_KEY@"


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything lies. `etc`: scaling.json, scaled.yaml, scaling.key; `state`: ours to write."""

    etc: Path
    state: Path
    token: str
    tandem: str = "/usr/local/bin/tandem"
    ssh: str = "ssh"
    api: str = API

    @property
    def memory(self) -> Path:
        return self.state / "memory.json"


@dataclass(slots=True)
class Known:
    """The file. `joined` and `draining`: ids of machines; `worked`: when a worker on it was last live."""

    memory: Memory = field(default_factory=Memory)
    worked: dict[int, float] = field(default_factory=dict[int, float])
    joined: set[int] = field(default_factory=set[int])
    draining: set[int] = field(default_factory=set[int])


async def look(place: Place, now: float, *, all_gone: bool = False) -> None:
    """Raises CloudAway where nothing can be known, or nothing made or ended."""
    told = json.loads((place.etc / "scaling.json").read_text())
    limits, like, known = Limits(**told["limits"]), told["scaled"], _read(place.memory)
    ssh = Ssh(place.etc / "scaling.key", place.state / "known_hosts", place.ssh)
    headers = {"Authorization": f"Bearer {place.token}"}
    async with httpx.AsyncClient(base_url=place.api, headers=headers, timeout=30) as client:
        # The last tag is that of these machines alone.
        cloud = Cloud(client, like["tags"][-1])
        droplets = {droplet.id: droplet for droplet in await cloud.droplets()}
        queue = None if all_gone else await _queue(place)
        if queue:
            # Also where this was forgotten: a name that is paired is not paired again.
            known.joined |= {one.id for one in droplets.values() if queue.on(one.name) is not None}
            await _join(place, ssh, droplets.values(), known)
        seen = [_machine(one, known, queue, now) for one in droplets.values()]
        if all_gone:
            steps: list[Step] = [Drain(one, "asked to") for one in seen]
        else:
            steps, known.memory = decide(queue.load if queue else None, seen, limits, known.memory, now)
        # Before anything is done: what is begun and cut off goes on from here.
        known.draining |= {step.machine.id for step in steps if isinstance(step, Drain)}
        known.joined &= droplets.keys()
        known.draining &= droplets.keys()
        known.worked = {machine_id: at for machine_id, at in known.worked.items() if machine_id in droplets}
        _write(place.memory, known)
        refused: list[CloudAway] = []
        for step in steps:
            try:
                await _do(place, ssh, cloud, step, droplets, like)
            except CloudAway as error:
                refused.append(error)  # one that cannot be ended keeps no other alive
        if refused:
            raise CloudAway("; ".join(map(str, refused)))


async def _do(
    place: Place, ssh: Ssh, cloud: Cloud, step: Step, droplets: Mapping[int, Droplet], like: Mapping[str, Any]
) -> None:
    if isinstance(step, Grow):
        name = f"{like['tags'][-1]}-{secrets.token_hex(3)}"
        public = (place.etc / "scaling.key.pub").read_text().strip()
        user_data = (place.etc / "scaled.yaml").read_text().replace(_MARK, public)
        await cloud.make(name, like, user_data)
        logger.info("made %s: %s", name, step.why)
        return
    droplet = droplets[step.machine.id]
    if isinstance(step, Drain) and droplet.address:
        try:
            await machines.drain(ssh, droplet.id, droplet.address)
        except Unreached as error:
            # It goes all the same: a job that it still has is taken over by others once its lease is over.
            logger.warning("%s did not drain: %s", droplet.name, error)
    await cloud.destroy(droplet.id)
    logger.info("ended %s: %s", droplet.name, step.why)
    try:
        await machines.revoke(place.tandem, droplet.name)
    except Unreached as error:
        logger.warning("%s is gone, but is still a user of the queue: %s", droplet.name, error)


async def _queue(place: Place) -> Queue | None:
    try:
        return await machines.queue(place.tandem)
    except (Unreached, ValueError, KeyError, TypeError) as error:
        logger.warning("the queue cannot be asked, so nothing is made: %s", error)
        return None


async def _join(place: Place, ssh: Ssh, droplets: Iterable[Droplet], known: Known) -> None:
    for droplet in droplets:
        if droplet.id in known.joined | known.draining or droplet.status != "active" or not droplet.address:
            continue
        if not await machines.is_ready(ssh, droplet.id, droplet.address):
            continue
        try:
            await machines.join(ssh, droplet.id, droplet.address, place.tandem)
        except Unreached as error:
            logger.warning("%s could not be paired, once more in a minute: %s", droplet.name, error)
        else:
            known.joined.add(droplet.id)
            logger.info("paired %s", droplet.name)


def _machine(droplet: Droplet, known: Known, queue: Queue | None, now: float) -> Machine:
    """Where the queue cannot be asked, who was paired is taken to work."""
    in_flight = queue.on(droplet.name) if queue else (0 if droplet.id in known.joined else None)
    if in_flight is not None:
        known.worked[droplet.id] = now
    state = "draining" if droplet.id in known.draining else "starting" if in_flight is None else "working"
    silent_s = now - known.worked.get(droplet.id, droplet.made)
    return Machine(droplet.id, droplet.name, state, now - droplet.made, silent_s, in_flight or 0)


def _read(file: Path) -> Known:
    try:
        told = json.loads(file.read_text())
        worked = {int(machine_id): float(at) for machine_id, at in told["worked"].items()}
        return Known(Memory(**told["memory"]), worked, set(told["joined"]), set(told["draining"]))
    except FileNotFoundError:
        return Known()
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is not what was written there (%s): begun anew", file, error)
        return Known()


def _write(file: Path, known: Known) -> None:
    told = {
        "memory": asdict(known.memory),
        "worked": known.worked,
        "joined": sorted(known.joined),
        "draining": sorted(known.draining),
    }
    beside = file.with_suffix(".new")
    with beside.open("w") as written:
        json.dump(told, written)
        written.flush()
        os.fsync(written.fileno())
    beside.replace(file)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gone", action="store_true", help="end every machine that this program made, and stop")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    etc = Path("/etc/tandem")
    credentials = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""))
    token = credentials / "digitalocean" if credentials.name else etc / "digitalocean.token"
    state = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/tandem-scaling"))
    try:
        place = Place(etc, state, token.read_text().strip())
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        anyio.run(lambda: look(place, time.time(), all_gone=arguments.gone))
    except (CloudAway, OSError) as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
