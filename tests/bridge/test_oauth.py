"""A daemon's side of OAuth, against an authorization server that introspects over real HTTP."""

import socket
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge import tokens
from bridge.door import Door
from bridge.oauth import opened_oauth
from bridge.settings import WrongSetting, load
from bridge.tokens import Token, Tokens
from tests.bridge.fake_service import FakeService, serving

RESOURCE = "https://tandem.example.com/mcp"
SECRET = "between the two servers"


@dataclass
class AuthorizationServer:
    """`says`: of each token that it knows. `broken`: what it answers instead."""

    url: str = ""
    says: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    broken: Response | None = None
    asked: list[str] = field(default_factory=list[str])

    async def introspect(self, request: Request) -> Response:
        form = await request.form()
        token = str(form["token"])
        self.asked.append(token)
        if request.headers.get("authorization") != httpx.BasicAuth("tandem", SECRET)._auth_header:
            return Response(status_code=401)
        return self.broken or JSONResponse(self.says.get(token, {"active": False}))

    def knows(self, token: str, **more: Any) -> None:
        known = {"active": True, "sub": "sub-anna", "aud": RESOURCE, "iss": self.url, "exp": int(time.time()) + 60}
        self.says[token] = {**known, **more}


@pytest.fixture
def issuer() -> Generator[AuthorizationServer]:
    server = AuthorizationServer()
    with running(Starlette(routes=[Route("/introspect", server.introspect, methods=["POST"])])) as server.url:
        yield server


@contextmanager
def running(app: Starlette) -> Generator[str]:
    runner = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        runner.should_exit = True
        thread.join()


@dataclass(frozen=True, slots=True)
class Served:
    file: Path
    http: httpx.AsyncClient

    async def status(self, token: str) -> httpx.Response:
        return await self.http.get("/status", headers={"Authorization": f"Bearer {token}"})

    def lets_in(self, subject: str, **more: Any) -> None:
        tokens.add(self.file, Token(tokens.new_id(), subject.removeprefix("sub-"), 0, subject=subject, **more))


@asynccontextmanager
async def served(issuer: str) -> AsyncGenerator[Served]:
    words = {
        "TANDEM_OAUTH_ISSUER": issuer,
        "TANDEM_OAUTH_INTROSPECTION_URL": f"{issuer}/introspect",
        "TANDEM_OAUTH_CLIENT_ID": "tandem",
        "TANDEM_OAUTH_CLIENT_SECRET": SECRET,
        "TANDEM_OAUTH_RESOURCE": RESOURCE,
    }
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        live = Tokens(Path(folder, "tokens.json"))
        settings = load(folder, words, Path(folder))
        async with opened_oauth(settings, live) as oauth:
            door = Door(None, live, oauth.caller, challenge=oauth.challenge)
            over_http = serving(FakeService(), Path(folder), door=door, more=oauth.routes)
            async with over_http as (url, _), httpx.AsyncClient(base_url=url, timeout=10) as http:
                yield Served(Path(folder, "tokens.json"), http)


@pytest.fixture
async def here(issuer: AuthorizationServer) -> AsyncGenerator[Served]:
    async with served(issuer.url) as here:
        yield here


async def test_a_client_without_a_token_is_told_where_one_is_to_be_had(
    here: Served, issuer: AuthorizationServer
) -> None:
    refused = await here.http.get("/mcp")
    told = "https://tandem.example.com/.well-known/oauth-protected-resource/mcp"
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, f'Bearer resource_metadata="{told}"')
    for path in (told.removeprefix("https://tandem.example.com"), "/.well-known/oauth-protected-resource"):
        metadata = await here.http.get(path, headers={"Host": "tandem.example.com"})
        assert metadata.json()["resource"] == RESOURCE
        assert metadata.json()["authorization_servers"] == [issuer.url]
    assert issuer.asked == []


async def test_who_is_let_in_here_comes_in_by_the_servers_token(here: Served, issuer: AuthorizationServer) -> None:
    issuer.knows("of-anna")
    stranger = await here.status("of-anna")
    assert stranger.status_code == 403 and "'sub-anna' is known to" in stranger.text
    here.lets_in("sub-anna", folders=("/elsewhere",), globs=(), rate=2)
    assert [(await here.status("of-anna")).status_code for _ in range(3)] == [200, 200, 429]
    metrics = await here.http.get("/metrics", headers={"Authorization": "Bearer of-anna"})
    assert metrics.status_code in (403, 429)
    assert issuer.asked == ["of-anna"]
    tokens.revoke(here.file, "anna")
    assert (await here.status("of-anna")).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"active": False},
        {"sub": None},
        {"aud": "https://another.example.com/mcp"},
        {"aud": None},
        {"aud": [RESOURCE + "x", "account"]},
        {"iss": "https://another.example.com"},
        {"exp": 1},
    ],
)
async def test_a_token_that_is_over_or_for_somebody_else_is_none(
    here: Served, issuer: AuthorizationServer, wrong: dict[str, Any]
) -> None:
    here.lets_in("sub-anna")
    issuer.knows("good", aud=["account", RESOURCE + "/"], iss=None)
    issuer.knows("wrong", **wrong)
    assert (await here.status("good")).status_code == 200
    assert (await here.status("wrong")).status_code == 401
    assert (await here.status("unknown")).status_code == 401


@pytest.mark.parametrize("broken", [Response(status_code=500), Response(b"<html>"), Response(b'{"active": "yes"}')])
async def test_a_server_that_cannot_tell_lets_nobody_in_and_that_is_said(
    here: Served, issuer: AuthorizationServer, broken: Response, caplog: pytest.LogCaptureFixture
) -> None:
    here.lets_in("sub-anna")
    issuer.knows("of-anna")
    issuer.broken = broken
    away = await here.status("of-anna")
    assert (away.status_code, away.json()["error"]["code"], away.headers["retry-after"]) == (503, "unavailable", "5")
    assert "could not be asked about a token" in caplog.text
    assert "of-anna" not in caplog.text and SECRET not in caplog.text
    issuer.broken = None
    assert (await here.status("of-anna")).status_code == 200


async def test_a_server_that_is_away_lets_nobody_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    async with served(url) as here:
        assert (await here.status("of-anna")).status_code == 503


async def test_a_token_of_our_own_is_shown_to_no_other_server(here: Served, issuer: AuthorizationServer) -> None:
    secret, hashed = tokens.new_secret()
    tokens.add(here.file, Token(tokens.new_id(), "bob", 0, sha256=hashed))
    assert (await here.status(secret)).status_code == 200
    tokens.revoke(here.file, "bob")
    assert (await here.status(secret)).status_code == 401
    assert issuer.asked == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"TANDEM_OAUTH_ISSUER": "login.example.com"}, "TANDEM_OAUTH_ISSUER was expected to be e.g. https://login"),
        ({"TANDEM_OAUTH_ISSUER": "http://login.example.com"}, "http:// only for this machine"),
        ({"TANDEM_OAUTH_ISSUER": "https://login.example.com"}, "INTROSPECTION_URL was expected to be e.g. https://"),
        (
            {
                "TANDEM_OAUTH_ISSUER": "https://login.example.com",
                "TANDEM_OAUTH_INTROSPECTION_URL": "http://localhost:9000/introspect",
            },
            "TANDEM_OAUTH_RESOURCE was expected to be e.g. https://tandem.example.com/mcp",
        ),
    ],
)
def test_a_setting_that_is_wrong_or_missing_is_named(tmp_path: Path, words: dict[str, str], said: str) -> None:
    with pytest.raises(WrongSetting) as refused:
        load(str(tmp_path), words, tmp_path)
    assert said in str(refused.value)
