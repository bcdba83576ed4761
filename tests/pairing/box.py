"""A queue under way, and what it is asked of.

`tests/two_machines` has two machines over a network; here they are data folders.
"""

import signal
import subprocess
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import fail_after
from redis.asyncio import Redis

from bridge import paired
from tests.processes import Place, Program, environment, until
from wire.redis.pairing import Offer, Registry, registry
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

    def passing(self, offer: Offer) -> Any:
        url = self.url_of(f"once-{offer.id}", "127.0.0.1")
        return Redis.from_url(url, password=offer.secret, decode_responses=True)

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


async def printed(pair: Program) -> str:
    """The code of a `tandem pair` under way."""

    async def whole() -> str | None:
        return pair.out.strip() if pair.out.endswith("\n") else None

    return await until(whole)


def entries(data: Path) -> list[paired.Paired]:
    found = [paired.read(data, file.stem) for file in paired.folder(data).glob("*.toml")]
    return [one for one in found if one]
