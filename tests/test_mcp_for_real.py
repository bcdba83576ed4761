"""MCP as a host has it: the SDK's client over `tandem mcp` and over HTTP, on a real index; and a raw `tandem mcp`,
whose stdout carries JSON-RPC and nothing else, whatever happens."""

import json
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, ResourceLink, ResourceTemplateReference, TextContent, TextResourceContents
from starlette.responses import StreamingResponse

from bridge.excerpt import tokens
from bridge.folder import Folder, held
from tests.inference_server.test_openai import ModelServer, event, piece, serving
from tests.processes import NONE, Daemon, Ended, Place, Settings, environment, place, until

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}
ODD = "50 % of what? #1 Käse \u00e9 e\u0301.md"
LONG = "rooms.md"
LONG_TEXT = "# Rooms\n\n" + "\n\n".join(f'Room {n} is let until May, and "then" free: {n} keys.' for n in range(60))
KILN = "The kiln cools for twelve hours before anybody opens its door."


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Daemon]:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        here.write("docs/lease.md", "# The lease\n\nA worker's lease is renewed every five seconds.\n")
        here.write(f"docs/{LONG}", LONG_TEXT)
        here.write(f"docs/{ODD}", "# The loom\n\nIts shafts are eight.\n")
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(4)
            yield daemon


def relay(here: Place, *words: str | Path) -> StdioServerParameters:
    command, *arguments = here.command("mcp", *words)
    return StdioServerParameters(command=command, args=arguments, env=environment(), cwd=here.folder)


@pytest.fixture(scope="module")
async def slow() -> AsyncGenerator[tuple[Daemon, ModelServer]]:
    """A daemon whose engine never comes to an end."""
    server = ModelServer()

    class Endless(StreamingResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                server.left.set()

    async def body() -> AsyncGenerator[bytes]:
        while True:
            yield event(piece("on "))
            await anyio.sleep(0.01)

    server.answer = lambda _: Endless(body(), media_type="text/event-stream")
    with serving(server), place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        model = {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": server.url, "TANDEM_MODEL": "small"}
        async with here.daemon(here.docs, settings=model) as daemon:
            await daemon.in_step(1)
            yield daemon, server


WAYS = [(over, era) for over in ("stdio", "http") for era in ("legacy", "2026-07-28")]


@pytest.fixture(params=WAYS, ids=" ".join)
async def client(request: pytest.FixtureRequest, daemon: Daemon) -> AsyncGenerator[Client]:
    with anyio.fail_after(60):
        async with client_of(daemon, *request.param) as client:
            yield client


def client_of(daemon: Daemon, over: str, era: Any) -> Client:
    return Client(relay(daemon.place) if over == "stdio" else f"{daemon.url}/mcp", mode=era)


def words_of(result: CallToolResult) -> str:
    content, *links = result.content
    assert isinstance(content, TextContent)
    assert all(isinstance(link, ResourceLink) for link in links)
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


async def test_read_gives_what_stands_in_a_document_and_only_in_an_indexed_one(client: Client, daemon: Daemon) -> None:
    path = daemon.place.docs / "kiln.md"
    text, data = await call(client, "read", uri=path.as_uri())
    assert f"{path}, lines 1-3" in text
    assert f"> {KILN}" in text
    assert (data["uri"], data["start_line"], data["end_line"], data["next"]) == (path.as_uri(), 1, 3, None)
    assert data["text"] == f"# The kiln\n\n{KILN}"
    _, data = await call(client, "read", uri=f"{path.as_uri()}#L3-L3", around="The kiln")
    assert data["text"].endswith(KILN)
    outside = daemon.place.write("secret.txt", "nobody indexed this")
    for uri in (outside.as_uri(), f"{daemon.place.docs.as_uri()}/../secret.txt", f"{path}\0", str(outside)):
        result = await client.call_tool("read", {"uri": uri})
        assert result.is_error
        assert "call `search`" in words_of(result)


async def test_each_document_is_listed_completed_found_and_read_by_one_uri(client: Client, daemon: Daemon) -> None:
    listed = [one.uri for one in (await client.list_resources()).resources]
    assert listed == [(daemon.place.docs / name).as_uri() for name in (ODD, "kiln.md", "lease.md", LONG)]
    template, _ = (await client.list_resource_templates()).resource_templates
    ref = ResourceTemplateReference(type="ref/resource", uri=template.uri_template)
    typed = {"name": "path", "value": f"{daemon.place.docs}/5"[1:]}
    (path,) = (await client.complete(ref, typed)).completion.values
    assert template.uri_template.replace("{+path}", path) == listed[0]
    found = await client.call_tool("search", {"query": "shafts of the loom", "limit": 1})
    (link,) = [one.uri for one in found.content if isinstance(one, ResourceLink)]
    assert link == f"{listed[0]}#L1-L3"
    (content,) = (await client.read_resource(link)).contents
    assert isinstance(content, TextResourceContents)
    assert (content.text, content.mime_type) == ("# The loom\n\nIts shafts are eight.", "text/markdown")
    _, data = await call(client, "read", uri=link)
    assert (data["uri"], data["path"]) == (listed[0], str(daemon.place.docs / ODD))


async def test_reading_on_within_a_budget_gives_all_of_a_document(client: Client, daemon: Daemon) -> None:
    # Where the next part begins costs tokens too, and is known only once this one has ended.
    uri: str | None = (daemon.place.docs / LONG).as_uri()
    read = ""
    while uri:
        text, data = await call(client, "read", uri=uri, max_tokens=300)
        assert max(tokens(text), tokens(json.dumps(data, ensure_ascii=False, separators=(",", ":")))) <= 300
        read, uri = read + data["text"], data["next"]
    assert "".join(read.split()) == "".join(LONG_TEXT.split())


async def test_a_prompt_names_the_documents_of_a_folder(client: Client, daemon: Daemon) -> None:
    prompt = await client.get_prompt("summarise_folder", {"folder": str(daemon.place.docs)})
    (message,) = prompt.messages
    assert isinstance(message.content, TextContent)
    assert f"> {(daemon.place.docs / ODD).as_uri()}" in message.content.text
    assert KILN not in message.content.text


@pytest.mark.parametrize(("over", "era"), WAYS, ids=map(" ".join, WAYS))
async def test_a_call_that_is_cancelled_stops_the_engine_and_the_session_goes_on(
    slow: tuple[Daemon, ModelServer], over: str, era: str
) -> None:
    daemon, server = slow
    server.left.clear()
    heard = anyio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        if message and "so far" in message:
            heard.set()

    with anyio.fail_after(60):
        async with client_of(daemon, over, era) as client:
            async with anyio.create_task_group() as tasks:
                arguments = {"question": "How long does the kiln cool?"}
                tasks.start_soon(partial(client.call_tool, "ask", arguments, progress_callback=note))
                await heard.wait()
                assert not server.left.is_set()
                tasks.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(server.left.wait, 10)
            assert KILN in (await call(client, "search", query="kiln"))[0]


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
    assert "4 documents in " in text
    assert (data["documents"], data["roots"], data["failed"]) == (4, [str(daemon.place.docs)], [])


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
    with anyio.fail_after(60):
        async with Client(relay(daemon.place, "--watch", late)) as client:

            async def found() -> bool:
                return "eight shafts" in (await call(client, "search", query="shafts of the loom"))[0]

            await until(found)
    assert str(late) in (await daemon.status())["roots"]


async def test_where_no_daemon_runs_one_is_started_and_outlives_its_client() -> None:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        try:
            with anyio.fail_after(120):
                async with Client(relay(here, "--watch", here.docs)) as client:

                    async def found() -> bool:
                        return KILN in (await call(client, "search", query="kiln"))[0]

                    await until(found)
            status = await here.tandem("status", "--json")
            assert (status.status, status.json["documents"]) == (0, 1)
        finally:
            down = await here.tandem("down")
        assert down.status == 0
        assert not held(Folder(here.data))
        log = (here.data / "daemon.log").read_text()
        assert "Tandem answers at" in log
        assert "Traceback" not in log


async def test_where_nobody_has_named_a_folder_a_model_learns_that_and_how_one_is_added() -> None:
    with place() as here:
        try:
            with anyio.fail_after(120):
                async with Client(relay(here)) as client:
                    for tool, words in (("search", {"query": "kiln"}), ("ask", {"question": "kiln?"}), ("status", {})):
                        assert "its owner adds one with `tandem index DIR`" in (await call(client, tool, **words))[0]
        finally:
            await here.tandem("down")


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
