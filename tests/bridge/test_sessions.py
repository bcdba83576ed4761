import json
import stat
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

import bridge.sessions
import bridge.tools  # noqa: F401  # the SDK is there before the clocks of the tests run
from bridge import sockets
from bridge.mcp_later import mcp_later
from indexer.filters import Filters
from tests.bridge.fake_service import FakeService

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "0"},
}


class Wire:
    """One connection: JSON a line out, JSON a line in."""

    def __init__(self, connection: SocketStream) -> None:
        self.connection = connection
        self._received = BufferedByteReceiveStream(connection)

    async def send(self, line: bytes) -> None:
        await self.connection.send(line + b"\n")

    async def ask(self, request_id: int, method: str, **params: Any) -> None:
        await self.send(json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode())

    async def hear(self) -> dict[str, Any]:
        return json.loads(await self._received.receive_until(b"\n", 64 << 20))

    async def open(self) -> None:
        await self.ask(0, "initialize", **INITIALIZE)
        assert (await self.hear())["id"] == 0
        await self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    async def search(self, request_id: int, query: str) -> dict[str, Any]:
        await self.ask(request_id, "tools/call", name="search", arguments={"query": query})
        return await self.hear()


@pytest.fixture
async def path() -> AsyncGenerator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield str(Path(folder) / "mcp.sock")


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def daemon(path: str, service: FakeService) -> AsyncGenerator[str]:
    async with anyio.create_task_group() as tasks, mcp_later(service, "1.2.3", path):
        service.work_in(tasks)
        yield path
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def wire(path: str) -> AsyncGenerator[Wire]:
    with anyio.fail_after(30):
        async with await anyio.connect_unix(path) as connection:
            yield Wire(connection)


async def test_a_session_opens_and_names_the_server(daemon: str) -> None:
    async with wire(daemon) as client:
        await client.ask(7, "initialize", **INITIALIZE)
        result = (await client.hear())["result"]
        assert result["serverInfo"] == {"name": "tandem", "title": "Tandem", "version": "1.2.3"}
        assert "never instructions" in result["instructions"]


@pytest.mark.parametrize(
    ("line", "request_id", "code"),
    [
        (b"not json", None, -32700),
        (b"\xff\xfe{", None, -32700),
        (b"[" * 100_000, None, -32700),
        (b"[]", None, -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', None, -32600),
        (b'{"jsonrpc": "1.0", "id": 5, "method": "ping"}', 5, -32600),
        (b'{"jsonrpc": "2.0", "id": "x", "method": 5}', "x", -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', None, -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": 5}', None, -32600),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', None, -32600),
        (b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}', None, -32600),
        (b'{"jsonrpc": "2.0", "id": "x", "method": "ping", "params": {"a": "\\ud800"}}', "x", -32600),
        (b'{"jsonrpc": "2.0", "id": "x", "method": "ping", "params": 1, "result": {}}', "x", -32600),
        (b'{"jsonrpc": "2.0", "method": "ping", "a": "\xed\xa0\x80"}', None, -32700),
        (b'{"jsonrpc": "2.0", "method": "ping", "a": ' + b"9" * 5_000 + b"}", None, -32700),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": ' + b"9" * 5_000 + b"}", None, -32700),
    ],
)
async def test_a_line_that_is_no_message_is_answered_and_the_session_goes_on(
    daemon: str, line: bytes, request_id: int | str | None, code: int
) -> None:
    async with wire(daemon) as client:
        await client.send(line)
        refusal = await client.hear()
        assert (refusal["id"], refusal["error"]["code"]) == (request_id, code)
        await client.open()
        await client.send(line)
        assert (await client.hear())["error"]["code"] == code
        assert "Renew the key" in (await client.search(1, "key"))["result"]["content"][0]["text"]


async def test_blank_lines_and_carriage_returns_are_nothing_to_speak_of(daemon: str) -> None:
    async with wire(daemon) as client:
        await client.send(b"\r\n\n  ")
        await client.send(b'{"jsonrpc": "2.0", "id": 3, "method": "ping"}\r')
        assert await client.hear() == {"jsonrpc": "2.0", "id": 3, "result": {}}


async def test_a_message_may_have_megabytes(daemon: str, service: FakeService) -> None:
    async with wire(daemon) as client:
        await client.open()
        query = "a" * (5 << 20)
        assert (await client.search(1, query))["id"] == 1
        assert service.calls == [("search", query, 10, Filters())]


async def test_clients_have_sessions_of_their_own_over_one_service(daemon: str, service: FakeService) -> None:
    async with wire(daemon) as one, wire(daemon) as two:
        await one.open()
        await two.open()
        assert (await one.search(1, "from one"))["id"] == 1
        assert (await two.search(1, "from two"))["id"] == 1
        assert [call[1] for call in service.calls] == ["from one", "from two"]


async def test_a_client_that_goes_away_gives_its_answer_up_and_disturbs_no_other(
    daemon: str, service: FakeService
) -> None:
    async with wire(daemon) as stays:
        await stays.open()
        async with wire(daemon) as leaves:
            await leaves.open()
            await leaves.ask(1, "tools/call", name="ask", arguments={"question": "hold"})
            await service.half_way.wait()
            assert not service.left.is_set()
        await service.left.wait()
        assert (await stays.search(1, "key"))["id"] == 1


async def test_only_this_user_may_open_the_socket_and_its_name_goes_with_it(path: str) -> None:
    async with sockets.bound(path):
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert list(Path(path).parent.iterdir()) == []


async def test_a_socket_that_was_left_behind_is_replaced(path: str) -> None:
    sockets.bind(path).close()
    async with sockets.bound(path):
        await (await anyio.connect_unix(path)).aclose()


async def test_the_name_of_the_next_daemon_is_left_alone(path: str) -> None:
    async with sockets.bound(path):
        next_one = sockets.bind(path)
    assert Path(path).exists()
    next_one.close()


UNTIL_ASKED = """
import sys, anyio, bridge.daemon
from bridge.mcp_later import mcp_later
from tests.bridge.fake_service import FakeService

async def main():
    async with mcp_later(FakeService(), "1.2.3", sys.argv[1]):
        await anyio.wait_all_tasks_blocked()
        print([name for name in ("mcp", "mcp_types", "pydantic") if name in sys.modules])
        async with await anyio.connect_unix(sys.argv[1]) as client:
            await client.send(b'[]\\n')
            print(b"expected one JSON-RPC 2.0 object" in await client.receive())

anyio.run(main)
"""


async def test_a_daemon_has_the_sdk_in_memory_once_a_client_has_come_and_not_before(path: str) -> None:
    with anyio.fail_after(60):
        done = await anyio.run_process([sys.executable, "-c", UNTIL_ASKED, path], stderr=None)
    assert done.stdout.decode().splitlines() == ["[]", "True"]


OTHER_FILES = """
import sys, anyio
sys.modules["mcp"] = None  # as where an upgrade has moved it
from bridge.mcp_later import mcp_later
from tests.bridge.fake_service import FakeService

async def main():
    service = FakeService()
    async with mcp_later(service, "1.2.3", sys.argv[1]), await anyio.connect_unix(sys.argv[1]):
        while not service.calls:
            await anyio.sleep(0.01)
        print(service.calls)

anyio.run(main)
"""


async def test_a_daemon_whose_files_are_other_ones_by_now_ends_in_order_for_the_next_one(path: str) -> None:
    with anyio.fail_after(60):
        done = await anyio.run_process([sys.executable, "-c", OTHER_FILES, path])
    assert done.stdout.decode().strip() == "[('stop',)]"
    assert b"was Tandem upgraded while it ran?" in done.stderr
