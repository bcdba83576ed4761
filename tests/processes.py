"""`tandem` in processes of its own, as a person has it: commands that end, and daemons that serve until they are told.

Each place has a short path (a Unix socket's is short) and an environment without anybody's settings. A traceback is
never an answer: whatever is run here, `Traceback` in what it says fails the test.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from anyio.abc import ByteReceiveStream, Process

EXAMPLES = Path(__file__).parent.parent / "examples" / "docs"
TANDEM = (sys.executable, "-m", "bridge.cli")
# `.env` of the working folder and the caller's own settings stay out.
_KEPT = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "TANDEM_EMBED_MODEL")
_COMMAND_S = 60

Found = TypeVar("Found")
Settings = Mapping[str, str]
NONE: Settings = {}


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command said. `out` is stdout, `err` stderr."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        (line,) = self.lines
        return line

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Place:
    """A folder with documents in `docs` and the index in `data`; every command runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.docs, self.data = folder, folder / "docs", folder / "data"
        self.docs.mkdir()

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def command(self, command: str, *words: str | Path) -> list[str]:
        return [*TANDEM, command, "--data", str(self.data), *map(str, words)]

    async def tandem(self, command: str, *words: str | Path, stdin: bytes = b"", settings: Settings = NONE) -> Ended:
        """Runs a command to its end."""
        with anyio.fail_after(_COMMAND_S):
            ended = await anyio.run_process(
                self.command(command, *words), input=stdin, check=False, cwd=self.folder, env=environment(settings)
            )
        out, err = ended.stdout.decode(), ended.stderr.decode()
        assert "Traceback" not in out + err, out + err
        return Ended(ended.returncode, out, err)

    @asynccontextmanager
    async def program(
        self, command: str, *words: str | Path, before: Sequence[str] = (), settings: Settings = NONE
    ) -> AsyncGenerator["Program"]:
        """A command under way. On leaving it is told to stop, if it has not ended, and must end well."""
        process = await anyio.open_process(
            [*before, *self.command(command, *words)],
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=environment(settings),
        )
        program = Program(process)
        async with process, anyio.create_task_group() as tasks:
            tasks.start_soon(program.listen)
            try:
                yield program
                if process.returncode is None:
                    assert await program.stop() == 0, program.err
            finally:
                if process.returncode is None:
                    process.kill()
        assert "Traceback" not in program.err, program.err

    @asynccontextmanager
    async def daemon(
        self, *folders: Path, before: Sequence[str] = (), settings: Settings = NONE
    ) -> AsyncGenerator["Daemon"]:
        """`tandem up`, once it answers, on a port of its own."""
        async with self.program("up", *folders, "--port", "0", before=before, settings=settings) as program:
            where = (await program.says("Tandem answers at http")).split()[4]
            async with httpx.AsyncClient(base_url=where, timeout=60, trust_env=False) as http:
                yield Daemon(self, program, where, http)


class Program:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.out = self.err = ""
        self._news = anyio.Event()

    async def listen(self) -> None:
        assert self.process.stdout and self.process.stderr
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, self.process.stdout, "out")
            tasks.start_soon(self._read, self.process.stderr, "err")

    async def _read(self, stream: ByteReceiveStream, name: str) -> None:
        heard = b""
        async for piece in stream:
            heard += piece
            setattr(self, name, heard.decode(errors="replace"))
            self._news.set()
            self._news = anyio.Event()

    async def says(self, words: str) -> str:
        """The first whole line on stderr that has these words."""

        def line() -> str | None:
            whole = self.err.rpartition("\n")[0].splitlines()
            return next((line for line in whole if words in line), None)

        with anyio.move_on_after(_COMMAND_S):
            while not (found := line()):
                await self._news.wait()
            return found
        pytest.fail(f"{words!r} was expected, this was said: {self.err}")

    async def stop(self, how: signal.Signals = signal.SIGTERM, within_s: float = 60) -> int:
        """The exit status."""
        self.process.send_signal(how)
        with anyio.fail_after(within_s):
            return await self.process.wait()


@dataclass(frozen=True, slots=True)
class Daemon:
    place: Place
    program: Program
    url: str
    http: httpx.AsyncClient

    async def hits(self, query: str, **more: Any) -> list[dict[str, Any]]:
        response = await self.http.post("/search", json={"query": query, **more})
        return response.raise_for_status().json()["hits"]

    async def reads(self, query: str) -> str:
        """The texts of all hits."""
        return "\n".join(hit["text"] for hit in await self.hits(query))

    async def answer(self, question: str) -> dict[str, Any]:
        """The last event of an answer."""
        response = await self.http.post("/build-context", json={"text": question})
        *_, final, done = response.text.removesuffix("\n\n").split("\n\n")
        assert done == "data: [DONE]"
        return json.loads(final.partition("data: ")[2])

    async def status(self) -> dict[str, Any]:
        return (await self.http.get("/status")).raise_for_status().json()

    async def in_step(self, documents: int, within_s: float = 60) -> dict[str, Any]:
        """The state once so many documents are in and none waits."""

        async def state() -> dict[str, Any] | None:
            status = await self.status()
            waits = status["pending"] or status["state"] != "idle" or not status["as_of"]
            return status if not waits and status["documents"] == documents else None

        return await until(state, within_s)


async def until(look: Callable[[], Awaitable[Found | None]], within_s: float = 60) -> Found:
    """What `look` finds, as soon as it finds something: another process has no event to wait for."""
    with anyio.fail_after(within_s):
        while not (found := await look()):  # noqa: ASYNC110
            await anyio.sleep(0.05)
        return found


def environment(settings: Settings = NONE) -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(settings)


@contextmanager
def place() -> Generator[Place]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Place(Path(folder).resolve())


@contextmanager
def place_with_examples() -> Generator[Place]:
    with place() as made:
        shutil.copytree(EXAMPLES, made.docs, dirs_exist_ok=True)
        yield made
