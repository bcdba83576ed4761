"""A redis-server and worker processes of the echo engine, for one scenario."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from wire.redis import RedisWire


class Box:
    """A redis-server and workers, ended with the block."""

    def __init__(self, folder: Path, lease_s: float) -> None:
        self.folder, self.lease_s, self.port = folder, lease_s, _free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.workers: list[subprocess.Popen[bytes]] = []

    def redis(self) -> None:
        binary = shutil.which("redis-server") or sys.exit("redis-server is not installed")
        words = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        words += ["--appendonly", "yes", "--appendfsync", "everysec"]
        self.server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as asking:
                asking.sendall(b"PING\r\n")
                if asking.recv(9).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise SystemExit("redis-server did not start")

    def worker(self, slots: int, rate: float, program: str = "bridge.cli", *more: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", program, *(["worker", "--engine", "echo"] if program == "bridge.cli" else [])]
        words += ["--slots", str(slots), "--tokens-per-second", str(rate), *more]
        environment = {"REDIS_URL": self.url, "TANDEM_LEASE_S": str(self.lease_s), "PATH": os.environ["PATH"]}
        with (self.folder / "workers.txt").open("ab") as said:
            process = subprocess.Popen(words, env=environment, stderr=said, stdout=said, cwd=Path.cwd())
        self.workers.append(process)
        return process

    async def up(self, count: int) -> None:
        async with RedisWire(self.url, lease_s=self.lease_s) as wire:
            while await wire.workers() < count:  # noqa: ASYNC110
                await anyio.sleep(0.1)

    def end(self) -> None:
        for process in [*self.workers, self.server]:
            process.kill()
            process.wait()


@asynccontextmanager
async def box(lease_s: float = 1.5) -> AsyncGenerator[Box]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        here = Box(Path(place), lease_s)
        here.redis()
        try:
            yield here
        finally:
            here.end()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
