import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client, StdioServerParameters

from bridge.relay import Lines

HERE = Path(__file__).parent
RELAY = "import sys; from bridge.relay import relay; relay(sys.argv[1], sys.argv[2:], grace_s=0.1)"
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Place:
    """A folder for one daemon, and the process ids of all that were started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "mcp.sock")
        self.daemon = [sys.executable, str(HERE / "fake_daemon.py"), self.socket, str(folder)]

    def starts(self) -> list[int]:
        starts = self.folder / "starts"
        return [int(line) for line in starts.read_text().split()] if starts.exists() else []


@pytest.fixture
def place() -> Generator[Place]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        place = Place(Path(folder))
        yield place
        for pid in place.starts():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Relay:
    """`tandem mcp` as a host has it. Every line it says must be JSON-RPC."""

    def __init__(self, process: Process) -> None:
        assert process.stdin and process.stdout and process.stderr
        self.process = process
        self.stdin = process.stdin
        self._said = BufferedByteReceiveStream(process.stdout)
        self._complained = BufferedByteReceiveStream(process.stderr)

    async def send(self, message: dict[str, Any]) -> None:
        await self.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        message = json.loads(await self._said.receive_until(b"\n", 64 << 20))
        assert message["jsonrpc"] == "2.0"
        return message

    async def complaint(self) -> str:
        return (await self._complained.receive_until(b"\n", 1 << 16)).decode()

    async def ask(self, method: str, request_id: int | str = 1, **params: Any) -> Any:
        await self.send({"id": request_id, "method": method, "params": params})
        answer = await self.hear()
        assert answer["id"] == request_id
        return answer.get("result", answer.get("error"))

    async def end(self) -> list[dict[str, Any]]:
        """Ends stdin; all that is still said until the relay's own end, which must be a good one."""
        await self.stdin.aclose()
        last: list[dict[str, Any]] = []
        with suppress(anyio.EndOfStream, anyio.IncompleteRead):
            while True:
                last.append(await self.hear())
        assert await self.process.wait() == 0
        return last


@asynccontextmanager
async def relaying(place: Place, daemon: list[str] | None = None) -> AsyncGenerator[Relay]:
    command = [sys.executable, "-c", RELAY, place.socket, *(daemon or place.daemon)]
    with anyio.fail_after(60):
        async with await anyio.open_process(command) as process:
            try:
                yield Relay(process)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()


@contextmanager
def hosting(place: Place) -> Generator[subprocess.Popen[bytes]]:
    """A relay whose pipes can be closed one by one."""
    command = [sys.executable, "-c", RELAY, place.socket, *place.daemon]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0) as process:
        yield process
        process.kill()


async def test_the_first_relay_starts_the_daemon_and_it_outlives_the_relay(place: Place) -> None:
    async with relaying(place) as relay:
        pid = await relay.ask("initialize")
        complaint = await relay.complaint()
        assert f"process {pid}" in complaint
        assert f"{place.socket}.log" in complaint
        assert await relay.end() == []
    async with relaying(place) as relay:
        assert await relay.ask("pid") == pid
        assert await relay.end() == []
    assert place.starts() == [pid]
    # Hosts kill the whole process group of what they started, and wait for the end of its pipes.
    assert os.getsid(pid) == pid
    held = [str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in (0, 1, 2)]
    assert held == ["/dev/null", f"{place.socket}.log", f"{place.socket}.log"]


async def test_twenty_relays_at_once_start_one_daemon(place: Place) -> None:
    pids: list[int] = []
    slow = [*place.daemon, "0.5"]

    async def one() -> None:
        async with relaying(place, slow) as relay:
            pids.append(await relay.ask("pid"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert len(pids) == 20
    assert set(pids) == set(place.starts())
    assert len(place.starts()) == 1


async def test_garbage_on_stdin_is_answered_as_json_rpc_says_and_survived(place: Place) -> None:
    async with relaying(place) as relay:
        for line, code in [
            (b"hello", -32700),
            (b"\xff\x00", -32700),
            (b"[1]", -32600),
            (b"7", -32600),
            (b"{}", -32600),
            (b'{"jsonrpc": "2.0", "id": true, "method": "pid"}', -32600),
            (b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "pid"}', -32600),
            (b'{"jsonrpc": "2.0", "id": ' + b"9" * 5_000 + b"}", -32700),
        ]:
            await relay.stdin.send(line + b"\n")
            answer = await relay.hear()
            assert (answer["id"], answer["error"]["code"]) == (None, code)
        await relay.stdin.send(b"[" * 200_000 + b"\n" + b'{"id": null, "method": "pid"}\n\n \r\n')
        assert [(await relay.hear())["error"]["code"] for _ in range(2)] == [-32700, -32600]
        assert await relay.ask("pid") in place.starts()
        assert await relay.end() == []


async def test_what_the_daemon_says_beside_the_protocol_never_reaches_stdout(place: Place) -> None:
    async with relaying(place) as relay:
        assert await relay.ask("garbage") in place.starts()
        assert "starting the daemon" in await relay.complaint()
        assert "no JSON-RPC message" in await relay.complaint()


async def test_messages_may_have_megabytes_in_any_cut(place: Place) -> None:
    async with relaying(place) as relay:
        assert await relay.ask("size", text="ä" * (5 << 20)) == 5 << 20
        for byte in b'{"jsonrpc": "2.0", "id": 9, "method": "size", "params": {"text": "abc"}}\n':
            await relay.stdin.send(bytes([byte]))
        assert (await relay.hear())["result"] == 3


async def test_a_daemon_killed_in_the_middle_of_a_call_is_replaced_and_the_call_completes(place: Place) -> None:
    async with relaying(place) as relay:
        first = await relay.ask("initialize", 0)
        await relay.send(INITIALIZED)
        second = await relay.ask("die once")
        assert second != first
        assert place.starts() == [first, second]
        # The new daemon has heard the whole handshake, and the client nothing of it.
        assert await relay.ask("notes") == ["initialize", "notifications/initialized"]
        assert await relay.end() == []


async def test_a_daemon_killed_while_nobody_asks_comes_back_with_the_next_request(place: Place) -> None:
    async with relaying(place) as relay:
        first = await relay.ask("initialize", 0)
        await relay.complaint()
        os.kill(first, signal.SIGKILL)
        assert "went away" in await relay.complaint()
        assert place.starts() == [first]
        assert await relay.ask("pid") == place.starts()[1]


async def test_a_request_that_ends_two_daemons_is_answered_with_an_error_and_the_next_is_served(place: Place) -> None:
    async with relaying(place) as relay:
        await relay.ask("initialize", 0)
        error = await relay.ask("die", "a")
        assert error["code"] == -32000
        assert "the daemon ended twice on this request" in error["message"]
        assert "try again" in error["message"]
        assert f"{place.socket}.log" in error["message"]
        assert await relay.ask("pid") == place.starts()[-1]
        assert len(place.starts()) == 3


async def test_progress_goes_on_rising_when_a_second_daemon_starts_from_the_beginning(place: Place) -> None:
    async with relaying(place) as relay:
        await relay.ask("initialize", 0)
        await relay.send({"id": 1, "method": "progress once", "params": {"_meta": {"progressToken": "p"}}})
        said = [await relay.hear() for _ in range(7)]
        assert [message["params"]["progress"] for message in said[:6]] == [1, 2, 3, 4, 5, 6]
        assert said[6]["id"] == 1
        # The same token again, for a new request, counts from the start.
        await relay.send({"id": 2, "method": "progress", "params": {"_meta": {"progressToken": "p"}}})
        assert [(await relay.hear())["params"]["progress"] for _ in range(3)] == [1, 2, 3]


async def test_a_cancelled_request_is_not_sent_to_the_next_daemon(place: Place) -> None:
    async with relaying(place) as relay:
        await relay.ask("initialize", 0)
        await relay.send({"id": 1, "method": "hold"})
        await relay.send({"method": "notifications/cancelled", "params": {"requestId": 1}})
        assert await relay.ask("notes", 2) == ["initialize", "notifications/cancelled"]
        # Were "hold" still pending, the new daemon would have it, and "release" would bring its answer out.
        assert await relay.ask("die once", 3) == place.starts()[1]
        await relay.send({"id": 4, "method": "release"})
        assert (await relay.hear())["id"] == 4
        assert await relay.end() == []


async def test_what_is_under_way_when_stdin_ends_is_still_answered(place: Place) -> None:
    async with relaying(place) as relay:
        await relay.send({"id": 1, "method": "hold"})
        await relay.send({"id": 2, "method": "pid"})
        assert (await relay.hear())["id"] == 2
        await relay.send({"id": 3, "method": "die once"})
        # stdin ends, the daemon dies, another is asked both again: the host still gets every answer.
        await relay.stdin.send(b'{"jsonrpc": "2.0", "id": 4, "method": "release"}')
        last = await relay.end()
        assert {message["id"] for message in last} == {1, 3, 4}
        assert {message["result"] for message in last} <= set(place.starts())


async def test_all_of_a_session_may_come_in_one_piece(place: Place) -> None:
    lines = [{"jsonrpc": "2.0", "id": n, "method": "pid"} for n in range(50)]
    done = await anyio.run_process(
        [sys.executable, "-c", RELAY, place.socket, *place.daemon],
        input="\n".join(json.dumps(line) for line in lines).encode(),
    )
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == list(range(50))


async def test_a_daemon_that_cannot_start_is_named_with_its_reason_in_every_answer(place: Place) -> None:
    broken = [sys.executable, "-c", "import sys; print('loading'); sys.exit('  | no room on the disk\\n  +-----')"]
    async with relaying(place, broken) as relay:
        await relay.send({"id": 1, "method": "initialize"})
        await relay.send({"id": "b", "method": "pid"})
        for request_id in (1, "b"):
            answer = await relay.hear()
            assert answer["id"] == request_id
            assert answer["error"]["code"] == -32000
            reason = f"the daemon ended with status 1: no room on the disk; its log: {place.socket}.log"
            assert answer["error"]["message"] == f"{reason}; once that is put right, try again"
        assert await relay.end() == []


async def test_a_command_that_does_not_exist_is_an_answer_too(place: Place) -> None:
    async with relaying(place, ["/nowhere/tandem"]) as relay:
        error = await relay.ask("initialize")
        assert "/nowhere/tandem" in error["message"]


async def test_a_relay_whose_daemon_could_not_start_tries_again_with_the_next_request(place: Place) -> None:
    once = """import os, sys
if not os.path.exists(sys.argv[1]):
    open(sys.argv[1], "w")
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
    async with relaying(place, [sys.executable, "-c", once, str(place.folder / "tried"), *place.daemon]) as relay:
        assert (await relay.ask("initialize"))["code"] == -32000
        assert await relay.ask("initialize") in place.starts()


def test_a_host_that_stops_reading_ends_the_relay_with_a_word_and_without_a_crash(place: Place) -> None:
    with hosting(place) as host:
        assert host.stdin and host.stdout and host.stderr
        host.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "pid"}\n')
        assert json.loads(host.stdout.readline())["id"] == 1
        host.stdout.close()
        host.stdin.write(b'{"jsonrpc": "2.0", "id": 2, "method": "pid"}\n')
        assert host.wait(60) == 1
        complaint = host.stderr.read().decode()
        assert complaint.endswith("the client no longer reads our stdout (Broken pipe)\n")
        assert "Traceback" not in complaint


def test_a_host_that_closes_every_pipe_ends_the_relay_and_gives_its_answers_up(place: Place) -> None:
    with hosting(place) as host:
        assert host.stdin and host.stdout and host.stderr
        host.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "pid"}\n')
        host.stdout.readline()
        host.stdin.write(b'{"jsonrpc": "2.0", "id": 2, "method": "hold"}\n')
        for pipe in (host.stdout, host.stderr, host.stdin):
            pipe.close()
        assert host.wait(60) == 0


def test_the_relay_is_of_the_standard_library_alone() -> None:
    code = "import sys; before = set(sys.modules); import bridge.relay; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names}
    assert ours == {"bridge", "bridge.dial", "bridge.relay", "bridge.subscribed"}
    assert not {"asyncio", "dataclasses", "pathlib", "subprocess", "logging", "typing"} & set(loaded)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_sdks_client_notices_nothing_of_a_daemon_killed_in_the_middle_of_an_answer(
    place: Place, mode: str
) -> None:
    daemon = [sys.executable, str(HERE / "fake_service.py"), place.socket, str(place.folder)]
    relay = StdioServerParameters(command=sys.executable, args=["-c", RELAY, place.socket, *daemon])
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)
        if message == "4 words so far" and len(place.starts()) == 1:
            os.kill(place.starts()[0], signal.SIGKILL)

    with anyio.fail_after(30):
        async with Client(relay, mode=mode) as client:
            result = await client.call_tool("ask", {"question": "hold in the first daemon"}, progress_callback=note)
            assert not result.is_error
            assert len(place.starts()) == 2
            assert told == [1, 2, 3, 4]


def test_lines_come_whole_however_they_are_cut_and_one_too_long_costs_only_itself() -> None:
    stream = b"one\ntwo" + b"x" * 20 + b"\n\nthree\nrest"
    expected = [b"one", None, b"", b"three"]
    for size in (1, 2, 7, 100):
        lines = Lines(limit=10)
        found = [line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])]
        assert found == expected
        assert lines.rest() == b"rest"
