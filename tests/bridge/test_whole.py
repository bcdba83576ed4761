"""Half a surrogate pair, which the SDK's HTTP of 2026-07-28 lets through."""

import json
from typing import Any

import httpx
import pytest

from tests.bridge.over_mcp import served_over_mcp
from tests.fuzzing.lines import MODERN


@pytest.mark.parametrize(
    ("method", "name", "params"),
    [
        ("tools/call", "search", {"arguments": {"query": "\ud800"}}),
        ("tools/call", "cancel_answer", {"arguments": {"id": "a\udfff"}}),
        ("tools/call", "read", {"arguments": {"uri": "file:///a", "around": "\ud800"}}),
        ("tools/call", "search", {"arguments": {"query": "key", "\ud800": 1}}),
        ("prompts/get", "cited_answer", {"arguments": {"question": "\ud800"}}),
    ],
)
async def test_half_a_character_is_refused_whatever_it_stands_in(
    method: str, name: str, params: dict[str, Any]
) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": name, "_meta": MODERN, **params}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        "Mcp-Name": name,
    }
    async with served_over_mcp() as served, httpx.AsyncClient(trust_env=False) as http:
        answer = (await http.post(served.url, headers=headers, content=json.dumps(asked))).json()
    assert answer["error"]["code"] == -32602
    assert "expected Unicode text" in answer["error"]["message"]
