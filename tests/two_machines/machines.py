"""What stands on the hosts: the queue's server, workers and daemons, each with a folder of its own, paired by a code.

async with box.queue(): await pair(box, laptop, "bridge")
    async with box.worker("--engine", "echo"), laptop.daemon() as daemon: …
"""

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from bridge.folder import Folder
from tests.processes import NONE, Daemon, Place, Program, Settings, place, until
from tests.two_machines.hosts import Host, hosts

PORT = 6379
DOCUMENT = "# The kiln\n\nThe kiln cools word3 word4 hours.\n"
_MANY = httpx.Limits(max_connections=None)
# An answer that the daemon made itself would hide that the worker did not.
_USUAL = {"TANDEM_NO_WORKER": "refuse"}


@dataclass(frozen=True, slots=True)
class Machine:
    """A host, and what lies on its disk."""

    host: Host
    place: Place

    @asynccontextmanager
    async def program(self, *words: str, settings: Settings = NONE) -> AsyncGenerator[Program]:
        async with self.place.program(*words, before=self.host.inside, settings={**_USUAL, **settings}) as program:
            yield program

    @asynccontextmanager
    async def queue(self) -> AsyncGenerator[Program]:
        """The queue's server, once it takes connections."""
        async with self.program("queue", "--address", self.host.address, "--port", str(PORT)) as server:
            await server.says("Ready to accept connections")
            yield server

    @asynccontextmanager
    async def worker(self, speed: float = 0, slots: int = 64, settings: Settings = NONE) -> AsyncGenerator[Program]:
        """One that echoes, once it takes jobs."""
        words = ("--engine", "echo", "--tokens-per-second", str(speed), "--slots", str(slots))
        async with self.program("worker", *words, settings=settings) as worker:
            await worker.says("takes jobs from")
            yield worker

    @asynccontextmanager
    async def daemon(self, settings: Settings = NONE) -> AsyncGenerator[Daemon]:
        """With a document in its index. It answers on its own host's loopback only, so it is asked by its socket."""
        self.place.write("docs/kiln.md", DOCUMENT)
        async with self.program("up", str(self.place.docs), "--port", "0", settings=settings) as program:
            where = (await program.says("Tandem answers at http")).split()[4]
            transport = httpx.AsyncHTTPTransport(uds=str(Folder(self.place.data).http_socket), limits=_MANY)
            async with httpx.AsyncClient(transport=transport, base_url="http://tandem", timeout=120) as http:
                daemon = Daemon(self.place, program, where, http)
                await daemon.in_step(1)
                yield daemon

    async def reboot(self, *programs: Program) -> None:
        """`programs`: those that ran on it."""
        self.host.reboot()
        for program in programs:
            await program.process.wait()


@contextmanager
def machines(*names: str, delay_ms: float = 0, jitter_ms: float = 0, loss: float = 0) -> Generator[list[Machine]]:
    with ExitStack() as stack:
        made = stack.enter_context(hosts(*names, delay_ms=delay_ms, jitter_ms=jitter_ms, loss=loss))
        yield [Machine(host, stack.enter_context(place())) for host in made]


async def pair(queue: Machine, other: Machine, role: str) -> None:
    """As two people would: the code that one shows is typed in by the other."""
    async with queue.program("pair", "--role", role) as offer:

        async def code() -> str | None:
            return offer.out.strip() if offer.out.endswith("\n") else None

        async with other.program("pair", "--name", other.host.name, await until(code, 30)) as redeeming:
            with anyio.fail_after(60):
                assert await redeeming.process.wait() == 0, redeeming.err
                assert await offer.process.wait() == 0, offer.err


@asynccontextmanager
async def joined(
    queue: Machine, laptop: Machine, workers: Sequence[Machine], speed: float, settings: Settings = NONE
) -> AsyncGenerator[tuple[Daemon, list[Program]]]:
    """A daemon on the laptop that has its workers; the queue's server runs already."""
    async with anyio.create_task_group() as pairing:
        pairing.start_soon(pair, queue, laptop, "bridge")
        for one in workers:
            if one is not queue:
                pairing.start_soon(pair, queue, one, "worker")
    async with AsyncExitStack() as stack:
        entered = [await stack.enter_async_context(one.worker(speed, settings=settings)) for one in workers]
        daemon = await stack.enter_async_context(laptop.daemon(settings))
        await manned(daemon, len(workers))
        yield daemon, entered


async def manned(daemon: Daemon, workers: int = 1) -> None:
    async def listen() -> bool:
        return (await daemon.status())["workers"] == workers

    await until(listen, 30)


# --- an answer


def question(words: int, name: str = "word") -> str:
    return " ".join(f"{name}{n}" for n in range(words))


@dataclass(slots=True)
class Reading:
    """A stream of events as it comes. `events`: (id, data) of each."""

    request: str = ""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    came: list[float] = field(default_factory=list[float])
    done: bool = False
    news: anyio.Event = field(default_factory=anyio.Event)

    @property
    def text(self) -> str:
        return "".join(event["chunk"] for _, event in self.events)

    @property
    def end(self) -> dict[str, Any]:
        return self.events[-1][1]

    @property
    def epochs(self) -> Sequence[str]:
        """One for each worker that had it, in their order."""
        pieces = [place.partition(":")[2].partition("-")[0] for place, event in self.events if event["chunk"]]
        return tuple(dict.fromkeys(pieces))

    def is_exactly(self, text: str) -> bool:
        """Whole, in order, each piece once: with its end, without an error, and numbered without a gap."""
        numbers = [int(place.rpartition("-")[2]) for place, _ in self.events]
        in_order = numbers == sorted(set(numbers))
        whole = self.done and self.text == text == self.end.get("answer") and not self.end.get("error")
        return in_order and whole

    async def follow(self, http: httpx.AsyncClient, asked: str | None = None) -> "Reading":
        """Reads a new answer, or goes on where this one stopped, until it ends."""
        headers = {"Last-Event-ID": self.events[-1][0]} if self.events else {}
        call = ("POST", "/build-context") if asked else ("GET", f"/answers/{self.request}")
        async with http.stream(*call, json={"text": asked} if asked else None, headers=headers) as response:
            if response.is_error:
                raise AssertionError((await response.aread()).decode())
            self.request = response.headers.get("tandem-answer", self.request)
            rest = b""
            async for more in response.aiter_raw():
                *events, rest = (rest + more).split(b"\n\n")
                self._take(events)
        return self

    def _take(self, events: Sequence[bytes]) -> None:
        for event in events:
            name, _, data = event.decode().partition("\n")
            if event == b"data: [DONE]":
                self.done = True
            elif data:
                self.events.append((name.removeprefix("id: "), json.loads(data.removeprefix("data: "))))
                self.came.append(anyio.current_time())
        self.news.set()
        self.news = anyio.Event()

    async def has(self, events: int, within_s: float = 60) -> None:
        with anyio.fail_after(within_s):
            while len(self.events) < events:
                await self.news.wait()

    async def ended(self, within_s: float = 60) -> None:
        with anyio.fail_after(within_s):
            while not self.done:
                await self.news.wait()
