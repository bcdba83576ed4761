"""The Inspector as a client of a real daemon, over `tandem mcp` and over HTTP, in both eras of the protocol."""

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.official import INSPECTOR, run
from tests.processes import Daemon, environment, place

pytestmark = pytest.mark.slow

ERAS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
KILN = "The kiln cools for twelve hours before anybody opens its door."
OFFERED = {
    *("initialize", "tools/list", "tools/call", "prompts/list", "prompts/get"),
    *("resources/list", "resources/read", "resources/templates/list"),
}
# The first is deprecated, the next belong to two extensions, the last are about the Inspector's own file.
OTHERS = {
    "logging/setLevel",
    *("skills/list", "skills/get", "resources/directory/read"),
    *("servers/list", "servers/show", "servers/add", "servers/edit", "servers/remove"),
}
# Each of its runs costs a second of a processor.
CROSSWISE = pytest.mark.parametrize("inspector", ["stdio-legacy", "http-modern"], indirect=True)


@dataclass(frozen=True, slots=True)
class Inspector:
    """Of one server in one era."""

    node: str
    home: Path
    server: str
    era: str

    async def tell(self, method: str, *words: str) -> Any:
        """The method's result."""
        where = ("--config", str(self.home / "mcp.json"), "--server", self.server, "--protocol-era", self.era)
        command = ("--cli", *where, "--method", method, "--format", "json", *words)
        ended = await run(self.node, INSPECTOR, *command, home=self.home)
        assert ended.status == 0, (method, words, ended.out, ended.err)
        told = json.loads(ended.out)
        # What --strict warns of: an output schema goes to programs only, an input schema to models of every maker too.
        findings = [one for tool in told.get("schemaFindings", []) for one in tool["findings"]]
        assert {one["schema"] for one in findings} <= {"outputSchema"}
        return told["result"]

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The result of a call that worked."""
        return await self.tell("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Daemon]:
    with place() as here:
        here.write("docs/kiln.md", f"# The kiln\n\n{KILN}\n")
        here.write("docs/lease #1.md", "# The lease\n\nA worker's lease is renewed every five seconds.\n")
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(2)
            yield daemon


@pytest.fixture(params=["stdio-legacy", "stdio-modern", "http-legacy", "http-modern"])
def inspector(request: pytest.FixtureRequest, daemon: Daemon, node: str, tmp_path: Path) -> Inspector:
    program, *arguments = daemon.place.command("mcp")
    stdio = {"command": program, "args": arguments, "env": environment()}
    http = {"type": "streamable-http", "url": f"{daemon.url}/mcp"}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"stdio": stdio, "http": http}}))
    server, era = request.param.split("-")
    return Inspector(node, tmp_path, server, era)


async def test_each_method_that_it_knows_is_either_tried_here_or_not_ours(node: str, tmp_path: Path) -> None:
    words = ("--cli", "http://127.0.0.1:1/mcp", "--method", "none", "--format", "json")
    ended = await run(node, INSPECTOR, *words, home=tmp_path)
    *_, known = json.loads(ended.err)["error"]["message"].partition("Supported --cli methods: ")
    assert set(re.findall(r"[\w/]+", known)) == OFFERED | OTHERS


async def test_it_learns_who_serves_it_in_which_era(inspector: Inspector) -> None:
    told = await inspector.tell("initialize")
    assert (told["serverInfo"]["name"], told["protocolVersion"]) == ("tandem", ERAS[inspector.era])
    assert told["capabilities"].keys() >= {"tools", "resources", "prompts"}


async def test_it_finds_no_schema_that_some_host_would_refuse(inspector: Inspector) -> None:
    told = await inspector.tell("tools/list", "--strict")
    assert all(tool["description"] and tool["outputSchema"] for tool in told["tools"])


@CROSSWISE
async def test_each_tool_answers_it(inspector: Inspector) -> None:
    async def data(tool: str, **arguments: Any) -> Any:
        return (await inspector.call(tool, **arguments))["structuredContent"]

    (hit,) = (await data("search", query="How long does the kiln cool?", limit=1))["hits"]
    assert KILN in hit["text"]
    assert KILN in (await data("read", uri=hit["uri"]))["text"]
    asked = await data("ask", question="How long does the kiln cool?")
    assert KILN in asked["answer"]
    assert (await data("get_answer", id=asked["request"]))["answer"] == asked["answer"]
    assert not (await data("cancel_answer", id=asked["request"]))["cancelled"]
    assert (await data("status"))["documents"] == 2
    # What needs a Phoenix is held to one in tests/test_ratings.py.
    tried = {"search", "read", "ask", "get_answer", "cancel_answer", "status", "rate"}
    assert {tool["name"] for tool in (await inspector.tell("tools/list"))["tools"]} == tried


@CROSSWISE
async def test_it_reads_each_resource_that_is_listed_and_each_passage_that_is_found(inspector: Inspector) -> None:
    listed = (await inspector.tell("resources/list"))["resources"]
    texts = [await _text(inspector, one["uri"]) for one in listed]
    assert sorted(text.partition("\n")[0] for text in texts) == ["# The kiln", "# The lease"]
    found = await inspector.call("search", query="How long does the kiln cool?", limit=1)
    (link,) = [one["uri"] for one in found["content"] if one["type"] == "resource_link"]
    assert KILN in await _text(inspector, link)
    templates = (await inspector.tell("resources/templates/list"))["resourceTemplates"]
    assert all(one["uriTemplate"].startswith("file:///") and one["description"] for one in templates)


@CROSSWISE
async def test_it_gets_each_prompt_that_is_listed(inspector: Inspector, daemon: Daemon) -> None:
    docs = daemon.place.docs
    words = {"question": "How long?", "folder": docs, "first": docs / "kiln.md", "second": docs / "lease #1.md"}
    for prompt in (await inspector.tell("prompts/list"))["prompts"]:
        required = [f"{one['name']}={words[one['name']]}" for one in prompt["arguments"] if one.get("required")]
        told = await inspector.tell("prompts/get", "--prompt-name", prompt["name"], "--prompt-args", *required)
        assert "search" in json.dumps(told["messages"]) or "read" in json.dumps(told["messages"])


async def _text(inspector: Inspector, uri: str) -> str:
    (content,) = (await inspector.tell("resources/read", "--uri", uri))["contents"]
    return content["text"]
