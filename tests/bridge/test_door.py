"""Callers with tokens of their own, over real HTTP."""

import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from bridge import tokens
from bridge.door import Door
from bridge.tokens import Token, Tokens
from tests.bridge.fake_service import FakeService, serving

OWNER = "correct horse"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}},
}
MCP = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}


class Served:
    def __init__(self, service: FakeService, file: Path, http: httpx.AsyncClient) -> None:
        self.service, self.file, self.http = service, file, http

    def given(self, name: str, **more: Any) -> dict[str, str]:
        """The header that shows a new token."""
        secret, hashed = tokens.new_secret()
        tokens.add(self.file, Token(tokens.new_id(), name, time.time(), sha256=hashed, **more))
        return {"Authorization": f"Bearer {secret}"}


@asynccontextmanager
async def served(**options: Any) -> AsyncGenerator[Served]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        service, file = FakeService(), Path(folder, "tokens.json")
        door = Door(options.pop("token", None), Tokens(file), **options)
        async with (
            serving(service, Path(folder), door=door, cors_origins=["https://page.example"], heartbeat_s=0.05) as (
                url,
                _,
            ),
            httpx.AsyncClient(base_url=url, timeout=10) as http,
        ):
            yield Served(service, file, http)


@pytest.fixture
async def here() -> AsyncGenerator[Served]:
    async with served() as here:
        yield here


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_from_the_first_token_on_nobody_comes_in_without_one(here: Served) -> None:
    assert (await here.http.get("/status")).status_code == 200
    anna = here.given("anna")
    assert error(await here.http.get("/status")) == (401, "token")
    for path in ("/status", "/openapi.json"):
        assert (await here.http.get(path, headers=anna)).status_code == 200
    for wrong in (
        "Bearer tandem_x",
        "Bearer",
        "",
        anna["Authorization"].removeprefix("Bearer "),
        "Basic a",
    ):
        assert error(await here.http.get("/status", headers={"Authorization": wrong})) == (401, "token")
    assert (await here.http.get("/health")).status_code == 200
    tokens.revoke(here.file, "anna")
    refused = await here.http.get("/status", headers=anna)
    assert error(refused) == (401, "token") and refused.headers["www-authenticate"] == "Bearer"
    assert error(await here.http.get("/status")) == (401, "token")


async def test_the_owners_token_stays_one_beside_those_with_names() -> None:
    async with served(token=OWNER) as here:
        anna = here.given("anna", folders=("/elsewhere",))
        owner = {"Authorization": f"Bearer {OWNER}"}
        for header in (anna, owner):
            assert (await here.http.get("/status", headers=header)).status_code == 200
        assert error(await here.http.get("/metrics", headers=anna)) == (403, "scope")
        assert error(await here.http.get("/metrics", headers=owner)) == (404, "not_found")  # there is none here


async def test_where_others_can_reach_the_port_it_is_shut_without_any_token() -> None:
    async with served(is_shut=True) as here:
        assert error(await here.http.get("/status")) == (401, "token")


async def test_who_calls_too_often_is_told_when_to_come_again_and_others_are_not_held_up(here: Served) -> None:
    anna, bob = here.given("anna", rate=3), here.given("bob", rate=None)
    statuses = [(await here.http.get("/status", headers=anna)).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = await here.http.get("/status", headers=anna)
    assert error(refused) == (429, "rate")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert "anna may call 3 times a minute: come again in " in refused.json()["error"]["message"]
    assert {(await here.http.get("/status", headers=bob)).status_code for _ in range(20)} == {200}


@pytest.mark.parametrize(
    "forwarded",
    [
        {"X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
        {"Forwarded": "host=localhost;for=127.0.0.1;proto=http", "X-Real-IP": "127.0.0.1"},
        {"X-Original-Host": "localhost", "X-Rewrite-URL": "/health", "X-Original-URL": "/health"},
    ],
)
async def test_what_a_proxy_says_of_the_caller_opens_nothing(here: Served, forwarded: dict[str, str]) -> None:
    public = {"Host": "tandem.example.com", **forwarded}
    assert error(await here.http.get("/status", headers=public)) == (421, "host")
    anna = here.given("anna")
    assert error(await here.http.get("/status", headers=public)) == (401, "token")
    page = {**public, **anna, "Origin": "https://tandem.example.com"}
    assert (await here.http.get("/status", headers=page)).status_code == 200
    assert error(await here.http.get("/status", headers={**page, "Origin": "https://evil.example"})) == (403, "origin")
    # A proxy that rewrites the Host makes its own pages strangers.
    assert error(await here.http.get("/status", headers={**page, "Host": "localhost"})) == (403, "origin")
    assert error(await here.http.post("/stop", headers={**public, **anna})) == (404, "not_found")


async def test_a_stream_under_way_ends_when_its_token_is_revoked(here: Served) -> None:
    anna = here.given("anna")
    with anyio.fail_after(30):
        async with here.http.stream("POST", "/build-context", json={"text": "hold"}, headers=anna) as response:
            pieces = response.aiter_raw()
            heard = await anext(pieces)
            assert b'"chunk":"The key is renewed"' in heard
            tokens.revoke(here.file, "anna")
            here.service.go_on.set()
            rest = b"".join([piece async for piece in pieces])
        assert b"each May" not in rest and b"[DONE]" not in rest
        assert error(await here.http.get("/status", headers=anna)) == (401, "token")
        await here.service.left.wait()


async def test_a_silent_stream_ends_with_its_next_heartbeat(here: Served) -> None:
    anna = here.given("anna", expires=time.time() + 0.5)
    with anyio.fail_after(30):
        async with here.http.stream("POST", "/build-context", json={"text": "hold"}, headers=anna) as response:
            assert b"[DONE]" not in b"".join([piece async for piece in response.aiter_raw()])


async def test_a_request_whose_token_is_revoked_before_its_answer_gets_none(here: Served) -> None:
    anna = here.given("anna")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            responses = list[httpx.Response]()

            async def search() -> None:
                body = {"query": "until the answer is given up"}
                responses.append(await here.http.post("/search", json=body, headers=anna))

            tasks.start_soon(search)
            while not here.service.calls:
                await anyio.lowlevel.checkpoint()
            tokens.revoke(here.file, "anna")
            here.service.left.set()
    assert error(responses[0]) == (401, "token") and "hits" not in responses[0].text


async def test_an_mcp_session_is_its_openers_alone(here: Served) -> None:
    anna, bob = here.given("anna"), here.given("bob")
    opened = await here.http.post("/mcp", json=INITIALIZE, headers={**MCP, **anna})
    assert opened.status_code == 200
    session = {**MCP, "Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    assert (await here.http.post("/mcp", json=PING, headers={**session, **anna})).status_code == 200
    stolen = await here.http.post("/mcp", json=PING, headers={**session, **bob})
    assert (stolen.status_code, stolen.json()["error"]["message"]) == (404, "Session not found")
    assert (await here.http.delete("/mcp", headers={**session, **bob})).status_code == 404
    assert (await here.http.post("/mcp", json=PING, headers=session)).status_code == 401
    tokens.revoke(here.file, "anna")
    assert error(await here.http.post("/mcp", json=PING, headers={**session, **anna})) == (401, "token")
    again = here.given("anna")
    assert (await here.http.post("/mcp", json=PING, headers={**session, **again})).status_code == 404
