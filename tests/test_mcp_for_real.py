"""MCP as a host has it: the SDK's client over `tandem mcp` and over HTTP, on a real index; and a raw `tandem mcp`,
whose stdout carries JSON-RPC and nothing else, whatever happens."""

import json
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from bridge.folder import Folder, held
from tests.processes import NONE, Daemon, Ended, Place, Settings, environment, place, until

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}
KILN = "The kiln cools for twelve hours before anybody opens its door."


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Daemon]:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        here.write("docs/lease.md", "# The lease\n\nA worker's lease is renewed every five seconds.\n")
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(2)
            yield daemon


def relay(here: Place, *words: str | Path) -> StdioServerParameters:
    command, *arguments = here.command("mcp", *words)
    return StdioServerParameters(command=command, args=arguments, env=environment(), cwd=here.folder)


@pytest.fixture(params=["stdio", "http"])
async def client(request: pytest.FixtureRequest, daemon: Daemon) -> AsyncGenerator[Client]:
    with anyio.fail_after(20):
        async with Client(relay(daemon.place) if request.param == "stdio" else f"{daemon.url}/mcp") as client:
            yield client


def words_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def call(client: Client, tool: str, **arguments: Any) -> tuple[str, Any]:
    """The words and the data of a call that worked."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, words_of(result)
    return words_of(result), result.structured_content


# --- every tool, both ways


async def test_a_client_is_offered_each_tool_with_what_goes_in_and_comes_out(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() >= {"search", "ask", "status"}
    assert all(tool.description and tool.input_schema and tool.output_schema for tool in tools.values())


async def test_search_gives_passages_with_their_place_in_words_and_in_data(client: Client, daemon: Daemon) -> None:
    path = daemon.place.docs / "kiln.md"
    text, data = await call(client, "search", query="How long does the kiln cool?", limit=1)
    assert f'[1] {path}, lines 1-3, under "The kiln"' in text
    assert f"> {KILN}" in text
    (hit,) = data["hits"]
    assert (hit["path"], hit["start_line"], hit["end_line"], hit["heading"]) == (str(path), 1, 3, "The kiln")
    _, within = await call(client, "search", **{"query": "kiln", "in": "lease.*"})
    assert {Path(hit["path"]).name for hit in within["hits"]} == {"lease.md"}


async def test_ask_gives_a_cited_answer_and_tells_its_progress(client: Client, daemon: Daemon) -> None:
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    result = await client.call_tool("ask", {"question": "How long does the kiln cool?"}, progress_callback=note)
    assert result.structured_content
    answer = result.structured_content
    assert f"{KILN} [1]" in answer["answer"]
    assert (answer["engine"], answer["grounded"], answer["error"]) == ("extractive", True, None)
    assert answer["citations"][0]["path"] == str(daemon.place.docs / "kiln.md")
    assert f"> {KILN}" in words_of(result)
    assert told
    assert told == sorted(set(told))


async def test_status_says_what_the_index_holds(client: Client, daemon: Daemon) -> None:
    text, data = await call(client, "status")
    assert "2 documents in 2 passages" in text
    assert (data["documents"], data["roots"], data["failed"]) == (2, [str(daemon.place.docs)], [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"query": ""}, "the query is empty; expected a question or some words to look for"),
        ({"query": "x" * 1_000_000}, "the query has 1,000,000 characters; at most 10,000 are taken"),
        ({"query": "x", "limit": 0}, "limit was expected to be 1 to 100, it is 0"),
    ],
    ids=["empty", "1 MB", "limit"],
)
async def test_the_model_reads_what_was_wrong_with_its_words(
    client: Client, arguments: dict[str, Any], told: str
) -> None:
    result = await client.call_tool("search", arguments)
    assert result.is_error
    assert told in words_of(result)


# --- the relay and its daemon


async def test_a_running_daemon_is_told_of_the_folders_that_a_client_wants_watched(daemon: Daemon) -> None:
    late = daemon.place.write("late/loom.md", "# The loom\n\nThe loom has eight shafts.\n").parent
    with anyio.fail_after(20):
        async with Client(relay(daemon.place, "--watch", late)) as client:

            async def found() -> bool:
                return "eight shafts" in (await call(client, "search", query="shafts of the loom"))[0]

            await until(found)
    assert str(late) in (await daemon.status())["roots"]


async def test_where_no_daemon_runs_one_is_started_and_outlives_its_client() -> None:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        try:
            with anyio.fail_after(40):
                async with Client(relay(here, "--watch", here.docs)) as client:

                    async def found() -> bool:
                        return KILN in (await call(client, "search", query="kiln"))[0]

                    await until(found, within_s=20)
            status = await here.tandem("status", "--json")
            assert (status.status, status.json["documents"]) == (0, 1)
        finally:
            down = await here.tandem("down")
        assert down.status == 0
        assert not held(Folder(here.data))
        log = (here.data / "daemon.log").read_text()
        assert "Tandem answers at" in log
        assert "Traceback" not in log


async def said(here: Place, *lines: bytes, settings: Settings = NONE) -> tuple[list[dict[str, Any]], Ended]:
    """What `tandem mcp` answers to these lines, each of it JSON-RPC."""
    ended = await here.tandem("mcp", stdin=b"".join(line + b"\n" for line in lines), settings=settings)
    assert all(answer["jsonrpc"] == "2.0" for answer in ended.lines)
    return ended.lines, ended


async def test_garbage_is_answered_in_json_rpc_and_the_session_goes_on(daemon: Daemon) -> None:
    garbage = (b"hello", b"\xff\xfe\x00", b"[]", b'{"jsonrpc": "2.0", "id": 7, "method": 5}', b"{" * 100_000, b"")
    answers, ended = await said(daemon.place, *garbage, json.dumps(INITIALIZE).encode())
    assert ended.status == 0
    assert sum("error" in answer for answer in answers) == 5
    (result,) = [answer["result"] for answer in answers if answer.get("id") == 1]
    assert result["serverInfo"]["name"] == "tandem"


async def test_a_daemon_that_cannot_start_is_an_error_in_json_rpc_with_the_reason(daemon: Daemon) -> None:
    with place() as here:
        shutil.copytree(daemon.place.data / "store", here.data / "store")
        with (
            closing(sqlite3.connect(daemon.place.data / "catalog.sqlite3")) as living,
            closing(sqlite3.connect(here.data / "catalog.sqlite3")) as copy,
        ):
            living.backup(copy)
        for file in daemon.place.data.glob("catalog.sqlite3*"):
            shutil.copy(file, here.data)
        for config in here.data.rglob("edge_config.json"):
            config.write_text("{")
        (answer,), ended = await said(here, json.dumps(INITIALIZE).encode())
        assert (answer["id"], ended.status) == (1, 0)
        for told in (
            "the vector store in",
            "could not be opened",
            "nothing was changed",
            str(here.data / "daemon.log"),
        ):
            assert told in answer["error"]["message"]
        assert "starting the daemon" in ended.err
        assert "Traceback" not in (here.data / "daemon.log").read_text()


@pytest.mark.parametrize(
    ("data", "settings", "told"),
    [
        ("file", {}, "was expected to be a folder"),
        ("data", {"TANDEM_EMBED": "best"}, "TANDEM_EMBED was expected to be one of onnx, ollama"),
    ],
)
async def test_where_not_even_the_relay_can_start_stdout_stays_empty(
    data: str, settings: dict[str, str], told: str
) -> None:
    with place() as here:
        here.write("file", "no folder")
        here.data = here.folder / data
        answers, ended = await said(here, json.dumps(INITIALIZE).encode(), settings=settings)
        assert (answers, ended.status) == ([], 1)
        assert told in ended.err
