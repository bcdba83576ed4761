"""A primary, its replicas and the sentinels that watch them: real processes on the loopback."""

import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.conftest import free_port, redis_server
from tests.processes import until

NAME = "main"
_DOWN_MS = 700  # below that a busy machine's servers are taken for dead


@dataclass(frozen=True, slots=True)
class Watched:
    """`servers`: processes by their ports, the first primary first."""

    servers: dict[int, "subprocess.Popen[bytes]"]
    sentinels: tuple[int, ...]

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.sentinels)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.hosts}/{NAME}"

    @property
    def first(self) -> int:
        return next(iter(self.servers))

    @property
    def replicas(self) -> list[int]:
        return list(self.servers)[1:]

    async def primary(self) -> int:
        """As the first sentinel says."""
        async with Redis(port=self.sentinels[0]) as sentinel:
            state: Any = (await sentinel.sentinel_masters())[NAME]
            return int(state["port"])

    async def other_primary(self) -> int:
        """Another than the first, as soon as there is one."""

        async def found() -> int | None:
            port = await self.primary()
            return port if port != self.first else None

        return await until(found, 20)


@asynccontextmanager
async def watched(
    binary: str, folder: Path, *options: str, replicas: int = 2, sentinels: int = 3
) -> AsyncGenerator[Watched]:
    """Ready to lose its primary; `options` are of each server."""
    async with AsyncExitStack() as stack:
        ports = [free_port() for _ in range(1 + replicas)]
        servers: dict[int, subprocess.Popen[bytes]] = {}
        for port in ports:
            place = folder / str(port)
            place.mkdir()
            follows = ("--replicaof", "127.0.0.1", str(ports[0])) if port != ports[0] else ()
            quick = ("--repl-diskless-sync-delay", "0")
            servers[port] = stack.enter_context(redis_server(binary, port, place, *quick, *follows, *options))
        if replicas:
            await until(lambda: _have_synchronized(ports[0], replicas))
        made = Watched(servers, tuple(free_port() for _ in range(sentinels)))
        for port in made.sentinels:
            lines = (f"port {port}", *_watching(ports[0], sentinels // 2 + 1))
            stack.enter_context(sentinel(binary, folder, *lines))
        await until(lambda: _see_each_other(made), 30)
        yield made


async def _have_synchronized(port: int, replicas: int) -> bool:
    async with Redis(port=port) as redis:
        told: Any = await redis.info("replication")
        return sum(told.get(f"slave{n}", {}).get("state") == "online" for n in range(replicas)) == replicas


async def _see_each_other(made: Watched) -> bool:
    for port in made.sentinels:
        async with Redis(port=port) as sentinel:
            state: Any = (await sentinel.sentinel_masters())[NAME]
        others, replicas = int(state["num-other-sentinels"]), int(state["num-slaves"])
        if (others, replicas) != (len(made.sentinels) - 1, len(made.replicas)):
            return False
    return True


def _watching(primary: int, quorum: int) -> tuple[str, ...]:
    return (
        f"sentinel monitor {NAME} 127.0.0.1 {primary} {quorum}",
        f"sentinel down-after-milliseconds {NAME} {_DOWN_MS}",
        f"sentinel failover-timeout {NAME} 3000",
    )


@contextmanager
def sentinel(binary: str, folder: Path, *lines: str) -> Generator[None]:
    """One with this configuration, which it writes into itself."""
    file = folder / f"{uuid4().hex}.conf"
    file.write_text("".join(f"{line}\n" for line in ("bind 127.0.0.1", f"dir {folder}", *lines)))
    with subprocess.Popen([binary, str(file), "--sentinel"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        for line in process.stdout:
            if b"+monitor" in line:
                break
        else:
            pytest.fail(f"a sentinel did not start with {lines}")
        try:
            yield
        finally:
            process.kill()
