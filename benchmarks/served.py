"""A real daemon over HTTP, a worker that echoes, and a redis-server between them, for as long as a benchmark runs."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

DOCUMENT = "# The kiln\n\nThe kiln cools for twelve hours.\n"


@dataclass(frozen=True, slots=True)
class Served:
    http: httpx.AsyncClient
    url: str
    data: Path
    tandem: str
    daemon: Process


@asynccontextmanager
async def served(tokens_per_second: float, slots: int) -> AsyncGenerator[Served]:
    tandem = str(Path(sys.executable).parent / "tandem")
    binary = shutil.which("redis-server")
    assert binary, "expected redis-server on PATH"
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        (home / "docs").mkdir()
        (home / "docs" / "kiln.md").write_text(DOCUMENT)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= {
            "REDIS_URL": f"redis://127.0.0.1:{port}",
            "TANDEM_NO_WORKER": "refuse",
            "TANDEM_DATA": str(home / "data"),
        }
        redis = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", ""]
        await _started(stack, redis, environment, home, "Ready to accept")
        speed = ["--tokens-per-second", str(tokens_per_second), "--slots", str(slots)]
        await _started(stack, [tandem, "worker", "--engine", "echo", *speed], environment, home, "")
        up = [tandem, "up", str(home / "docs"), "--port", "0"]
        daemon, said = await _started(stack, up, environment, home, "Tandem answers at http")
        url = said.partition("answers at ")[2].split()[0]
        http = httpx.AsyncClient(base_url=url, timeout=90, trust_env=False, limits=httpx.Limits(max_connections=None))
        await stack.enter_async_context(http)
        with anyio.fail_after(60):
            while True:
                status = (await http.get("/status")).json()
                if status["workers"] and status["documents"] and status["state"] == "idle":
                    break
                await anyio.sleep(0.1)
        yield Served(http, url, home / "data", tandem, daemon)


async def _started(
    stack: AsyncExitStack, command: list[str], environment: dict[str, str], home: Path, word: str
) -> tuple[Process, str]:
    outputs = {"stderr": subprocess.STDOUT} if word else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = await anyio.open_process(command, env=environment, cwd=home, **outputs)
    stack.push_async_callback(_ended, process)
    said = ""
    if word:
        assert process.stdout
        stream = TextReceiveStream(process.stdout)
        with anyio.fail_after(60):
            while word not in said.rpartition("\n")[0]:
                said += await stream.receive()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(_drained, stream)
        said = next(line for line in said.splitlines() if word in line)
    return process, said


async def _drained(stream: TextReceiveStream) -> None:
    async for _ in stream:
        pass


async def _ended(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(10, shield=True):
        await process.wait()
        return
    process.kill()
