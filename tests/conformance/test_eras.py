"""Both eras of the protocol over `tandem mcp` on a real daemon; the suite itself speaks HTTP only."""

import json
import signal
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import TextContent

from tests.processes import Daemon, environment, place

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
QUERY = {"query": "How long does the kiln cool?"}
SEARCH = {"name": "search", "arguments": QUERY}
KILN = "The kiln cools for twelve hours before anybody opens its door."


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Daemon]:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(1)
            yield daemon


async def answers(daemon: Daemon, *requests: tuple[str, dict[str, Any]]) -> list[Any]:
    """What `tandem mcp` answers to requests that are sent at once, in their order, and to nothing else."""
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n"
        for number, (method, params) in enumerate(requests)
    ]
    ended = await daemon.place.tandem("mcp", stdin="".join(lines).encode())
    assert ended.status == 0, ended.err
    heard = {answer["id"]: answer for answer in ended.lines}
    return [heard[number] for number in range(len(requests))]


async def test_a_stateless_client_is_served_without_a_handshake(daemon: Daemon) -> None:
    discovered, listed, found = await answers(
        daemon,
        ("server/discover", {"_meta": META}),
        ("tools/list", {"_meta": META}),
        ("tools/call", {**SEARCH, "_meta": META}),
    )
    assert set(discovered["result"]["supportedVersions"]) >= {"2026-07-28"}
    assert "tools" in discovered["result"]["capabilities"]
    assert "search" in [tool["name"] for tool in listed["result"]["tools"]]
    assert KILN in found["result"]["content"][0]["text"]
    assert found["result"]["resultType"] == "complete"


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({**META, "io.modelcontextprotocol/protocolVersion": "2199-01-01"}, -32022),
        ({name: META[name] for name in list(META)[:2]}, -32602),
    ],
    ids=["a version nobody knows", "no capabilities"],
)
async def test_a_stateless_request_that_says_too_little_is_told_so_and_the_next_is_served(
    daemon: Daemon, meta: dict[str, Any], code: int
) -> None:
    refused, found = await answers(
        daemon, ("tools/call", {**SEARCH, "_meta": meta}), ("tools/call", {**SEARCH, "_meta": META})
    )
    assert refused["error"]["code"] == code
    assert KILN in found["result"]["content"][0]["text"]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")])
async def test_a_client_of_either_era_notices_nothing_of_a_daemon_killed_between_two_calls(
    mode: str, version: str
) -> None:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        command, *arguments = here.command("mcp")
        relay = StdioServerParameters(command=command, args=arguments, env=environment(), cwd=here.folder)
        try:
            with anyio.fail_after(60):
                async with here.daemon(here.docs) as daemon:
                    await daemon.in_step(1)
                    async with Client(relay, mode=mode) as client:
                        assert client.protocol_version == version
                        before = await client.call_tool("search", QUERY)
                        await daemon.program.stop(signal.SIGKILL)
                        after = await client.call_tool("search", QUERY)
        finally:
            down = await here.tandem("down")
        assert down.status == 0
        for found in (before, after):
            assert isinstance(found.content[0], TextContent)
            assert KILN in found.content[0].text
