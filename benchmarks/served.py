"""Real daemons over HTTP, workers that echo, and a redis-server between them, for as long as a benchmark runs."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from bridge.folder import Folder

NONE: Mapping[str, str] = {}
DOCUMENT = "# The kiln\n\nThe kiln cools for twelve hours.\n"


@dataclass(frozen=True, slots=True)
class Served:
    http: httpx.AsyncClient
    url: str
    data: Path
    tandem: str
    daemon: Process
    worker: Process
    urls: tuple[str, ...]
    daemons: tuple[Process, ...]
    workers: tuple[Process, ...]
    redis: Process


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where each part runs: the words before its command, and the address of Redis."""

    laptop: Sequence[str] = ()
    box: Sequence[str] = ()
    queue: Sequence[str] = ()
    address: str = "127.0.0.1"


HERE = Hosts()


@asynccontextmanager
async def served(
    tokens_per_second: float,
    slots: int,
    settings: Mapping[str, str] = NONE,
    workers: int = 1,
    daemons: int = 1,
    worker: Sequence[str] = (),
    on: Hosts = HERE,
) -> AsyncGenerator[Served]:
    """`settings`: the daemons' and the workers'. `slots` of each worker. The first daemon is `daemon`, at `url`.
    `worker`: another module than the command, and its words."""
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
        environment |= {"PYTHONPATH": str(Path(__file__).parent.parent)} if worker else {}
        environment |= {"REDIS_URL": f"redis://{on.address}:{port}", "TANDEM_NO_WORKER": "refuse", **settings}
        redis = [*on.queue, binary, "--port", str(port), "--bind", on.address, "--dir", str(home), "--save", ""]
        redis += ["--protected-mode", "no"] if on.queue else []
        server, _ = await _started(stack, redis, environment, home, "Ready to accept")
        speed = ["--tokens-per-second", str(tokens_per_second), "--slots", str(slots)]
        echo = [sys.executable, "-m", *worker, *speed] if worker else [tandem, "worker", "--engine", "echo", *speed]
        echo = [*on.box, *echo]
        echoing = [(await _started(stack, echo, _at(environment, home / "data"), home, ""))[0] for _ in range(workers)]
        bridges: list[Process] = []
        urls: list[str] = []
        for data in [home / "data", *(home / f"data{n}" for n in range(2, daemons + 1))]:
            up = [*on.laptop, tandem, "up", str(home / "docs"), "--port", "0"]
            daemon, said = await _started(stack, up, _at(environment, data), home, "Tandem answers at http")
            bridges.append(daemon)
            urls.append(said.partition("answers at ")[2].split()[0])
            await _ready(Folder(data).http_socket, workers)
        http = httpx.AsyncClient(
            base_url=urls[0], timeout=90, trust_env=False, limits=httpx.Limits(max_connections=None)
        )
        await stack.enter_async_context(http)
        processes = (tuple(urls), tuple(bridges), tuple(echoing), server)
        yield Served(http, urls[0], home / "data", tandem, bridges[0], echoing[0], *processes)


def _at(environment: Mapping[str, str], data: Path) -> dict[str, str]:
    return {"TANDEM_DATA": str(data), **environment}


async def _ready(socket: Path, workers: int) -> None:
    reaching = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(base_url="http://tandem", transport=reaching) as http:
        with anyio.fail_after(60):
            while True:
                status = (await http.get("/status")).json()
                if status["workers"] >= workers and status["documents"] and status["state"] == "idle":
                    break
                await anyio.sleep(0.1)


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
