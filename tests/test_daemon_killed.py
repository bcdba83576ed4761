"""Twenty clients of one daemon, each a real `tandem mcp`, and what is left when the daemon or one of them is killed."""

import json
import os
import random
import signal
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.stapled import MultiListener

from bridge.folder import Folder
from tests.processes import Place, environment, place_with_examples, until

pytestmark = pytest.mark.slow

CLIENTS, CALLS = 20, 50
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
QUESTIONS = ("How long does the kiln cool?", "What does a booking cost?", "Where are the backups kept?")


class Client:
    """A host's end of one `tandem mcp`, in the era that has `initialize` or in the one that has not."""

    def __init__(self, process: Process, modern: bool) -> None:
        assert process.stdin and process.stdout
        self.process, self.modern = process, modern
        self._stdin, self._stdout = process.stdin, BufferedByteReceiveStream(process.stdout)
        self._asked = 0

    async def open(self) -> None:
        if not self.modern:
            assert "result" in await self._ask("initialize", INITIALIZE)
            await self._say({"method": "notifications/initialized"})

    async def call(self, tool: str, **arguments: str) -> dict[str, Any]:
        """The whole answer, a result or an error."""
        meta = {"_meta": MODERN} if self.modern else {}
        return await self._ask("tools/call", {"name": tool, "arguments": arguments, **meta})

    async def begin(self, tool: str, **arguments: str) -> None:
        self._asked += 1
        await self._say(
            {"id": self._asked, "method": "tools/call", "params": {"name": tool, "arguments": arguments}},
        )

    async def end(self) -> int | None:
        """Closes stdin; the exit status."""
        await self._stdin.aclose()
        with anyio.fail_after(240):
            return await self.process.wait()

    async def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        await self._say({"id": self._asked, "method": method, "params": params})
        while (message := json.loads(await self._stdout.receive_until(b"\n", 1 << 24))).get("id") != self._asked:
            assert message["jsonrpc"] == "2.0"
        return message

    async def _say(self, message: dict[str, Any]) -> None:
        await self._stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


class Here:
    """A place whose every process carries a mark in its environment, by which all of them are found."""

    def __init__(self, place: Place) -> None:
        self.place, self.folder = place, Folder(place.data)
        self._mark = f"TANDEM_TEST_MARK={place.folder}"
        name, _, value = self._mark.partition("=")
        self.settings = {name: value, "PORT": "0"}

    @asynccontextmanager
    async def client(self, modern: bool = False, settings: dict[str, str] | None = None) -> AsyncGenerator[Client]:
        command = self.place.command("mcp", "--watch", self.place.docs)
        process = await anyio.open_process(
            command, stderr=subprocess.DEVNULL, cwd=self.place.folder, env=environment(self.settings | (settings or {}))
        )
        async with process:
            client = Client(process, modern)
            try:
                await client.open()
                yield client
            finally:
                with suppress(ProcessLookupError):
                    process.kill()

    def daemon(self) -> int:
        return json.loads(self.folder.lock.read_text())["pid"]

    def claim_to_be_older(self) -> int:
        """Has the daemon's lock say so; the daemon."""
        told = json.loads(self.folder.lock.read_text())
        self.folder.lock.write_text(json.dumps(told | {"version": "0.0.1"}))
        return told["pid"]

    def daemons(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if "up" in words[:5]]

    async def only_daemon(self) -> int:
        """The one that holds the folder, once no other is left: one that makes way has given it up before its end."""

        async def found() -> int | None:
            return self.daemon() if self.daemons() == [self.daemon()] else None

        return await until(found)

    def processes(self) -> dict[int, Sequence[str]]:
        """All that were started here, and what these started: their words by process id."""
        found: dict[int, Sequence[str]] = {}
        for one in Path("/proc").iterdir():
            if not one.name.isdigit():
                continue
            with suppress(OSError):
                if self._mark.encode() in (one / "environ").read_bytes().split(b"\0"):
                    found[int(one.name)] = (one / "cmdline").read_text().split("\0")
        return found

    async def down(self) -> None:
        """`tandem down`; then no process is left."""
        assert (await self.place.tandem("down", settings=self.settings)).status == 0

        async def nobody() -> bool | None:
            return not self.processes() or None

        await until(nobody)


@pytest.fixture
async def here() -> AsyncGenerator[Here]:
    with place_with_examples() as place:
        here = Here(place)
        try:
            yield here
        finally:
            for pid in here.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("seed", range(5))
async def test_each_of_fifty_calls_is_answered_or_refused_for_now_when_the_daemon_is_killed_among_them(
    here: Here, seed: int
) -> None:
    chance = random.Random(seed)
    kills = sorted(chance.sample(range(CALLS - 5), 2))
    answers: list[dict[str, Any]] = []

    async def ask(client: Client, times: int) -> None:
        for _ in range(times):
            tool, words = chance.choice([("search", "query"), ("ask", "question")])
            answers.append(await client.call(tool, **{words: chance.choice(QUESTIONS)}))
            if kills and len(answers) > kills[0]:
                kills.pop(0)
                with suppress(ProcessLookupError, ValueError):  # the one before has just ended
                    os.kill(here.daemon(), signal.SIGKILL)

    with anyio.fail_after(300):
        async with AsyncExitStack() as stack:
            clients: list[Client] = []

            async def join(modern: bool) -> None:
                clients.append(await stack.enter_async_context(here.client(modern)))

            async with anyio.create_task_group() as tasks:
                for n in range(CLIENTS):
                    tasks.start_soon(join, n % 2 == 1)
            async with anyio.create_task_group() as tasks:
                for n, client in enumerate(clients):
                    tasks.start_soon(ask, client, CALLS // CLIENTS + (n < CALLS % CLIENTS))
            assert len(answers) == CALLS
            assert not kills
            refused = [answer for answer in answers if "error" in answer]
            assert all("try again" in answer["error"]["message"] for answer in refused), refused
            assert not [answer for answer in answers if answer.get("result", {}).get("isError")]
            for client in clients:
                answer = await client.call("search", query=QUESTIONS[0])
                assert "result" in answer and not answer["result"]["isError"], answer
            await here.only_daemon()
            for client in clients:
                assert await client.end() == 0
    await here.down()


class Model:
    """A model's server that hears every request and answers none."""

    def __init__(self, listener: MultiListener[SocketStream]) -> None:
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        self.settings = {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": url, "TANDEM_MODEL": "m"}
        self.asked, self.given_up = anyio.Event(), anyio.Event()

    async def serve(self, connection: SocketStream) -> None:
        async with connection:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while await connection.receive():
                    self.asked.set()
            self.given_up.set()


@pytest.fixture
async def model() -> AsyncGenerator[Model]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        model = Model(listener)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, model.serve)
            yield model
            tasks.cancel_scope.cancel()


async def test_a_killed_relay_takes_its_own_calls_with_it_and_nothing_else(here: Here, model: Model) -> None:
    with anyio.fail_after(240):
        async with here.client(settings=model.settings) as killed, here.client(modern=True) as other:
            daemon = here.daemon()
            await killed.begin("ask", question=QUESTIONS[0])
            await model.asked.wait()
            killed.process.kill()
            await model.given_up.wait()
            assert "result" in await other.call("search", query=QUESTIONS[0])
            assert await here.only_daemon() == daemon
            assert await other.end() == 0
    await here.down()


async def test_a_daemon_of_an_older_tandem_stays_while_it_answers_somebody(here: Here, model: Model) -> None:
    with anyio.fail_after(240):
        async with here.client(settings=model.settings) as asking:
            await asking.begin("ask", question=QUESTIONS[0])
            await model.asked.wait()
            old = here.claim_to_be_older()
            async with here.client() as joined:
                assert "result" in await joined.call("search", query=QUESTIONS[0])
                assert here.daemons() == [old]
            asking.process.kill()
            await model.given_up.wait()

            async def superseded() -> bool | None:
                async with here.client() as later:
                    return ("result" in await later.call("search", query=QUESTIONS[0]) and here.daemon() != old) or None

            await until(superseded)
            assert await here.only_daemon() != old
    await here.down()


async def test_a_daemon_of_an_older_tandem_makes_way_for_the_next_client_and_the_others_go_on(here: Here) -> None:
    with anyio.fail_after(240):
        async with here.client() as before:
            assert "result" in await before.call("search", query=QUESTIONS[0])
            old = here.claim_to_be_older()
            async with here.client() as after:
                assert await here.only_daemon() != old
                for client in (before, after):
                    assert "result" in await client.call("search", query=QUESTIONS[0])
                    assert await client.end() == 0
    await here.down()
