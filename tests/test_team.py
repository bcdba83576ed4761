"""One daemon for a team: each has a token, sees some folders, and nothing of the others, by whatever face."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.observability.collector import Collector, collecting
from tests.processes import Daemon, Place, place, until

pytestmark = pytest.mark.slow

ANNAS = "zirbelholz"
BOBS = "quittengelee"
WITHIN = {"anna": "borkenrinde", "bob": "sternanissud"}  # what stands in their files alone
SHARED = "The gatehouse clock is wound on Mondays by whoever has the smaller key.\n"
WHEN = f"How long does the {BOBS} simmer?"


@dataclass(frozen=True, slots=True)
class Team:
    daemon: Daemon
    collector: Collector
    secrets: dict[str, str]

    def header(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[name]}"}

    @asynccontextmanager
    async def http(self, name: str) -> AsyncGenerator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.daemon.url, headers=self.header(name), timeout=20) as http:
            yield http

    @asynccontextmanager
    async def mcp(self, name: str, mode: Any) -> AsyncGenerator[Client]:
        async with httpx2.AsyncClient(headers=self.header(name), timeout=20) as http:
            over = streamable_http_client(f"{self.daemon.url}/mcp", http_client=http)
            async with Client(over, mode=mode) as client:
                yield client


async def given(here: Place, name: str, *words: str | Path) -> str:
    ended = await here.tandem("token", "add", name, *words, "--json")
    assert ended.status == 0, ended.err
    return ended.json["token"]


def lay_out(here: Place) -> None:
    for name, word in (("anna", ANNAS), ("bob", BOBS)):
        here.write(
            f"docs/{name}/{word}.md", f"# The {word}\n\nThe {word} simmers for forty minutes in {WITHIN[name]}.\n"
        )
        here.write(f"docs/{name}/clock.md", SHARED)
        here.write(f"docs/{name}/{word}.pdf", b"%PDF-1.7\nnothing of a PDF follows")
        here.write(f"docs/{name}/.env", f"SECRET={word}")


@pytest.fixture(scope="module")
async def team() -> AsyncGenerator[Team]:
    with place() as here, collecting() as collector:
        lay_out(here)
        settings = {"PHOENIX_COLLECTOR_ENDPOINT": collector.url, "TANDEM_TOKEN": "the owners own token"}
        async with here.daemon(here.docs, settings=settings) as daemon:
            secrets = {
                "anna": await given(here, "anna", "--in", here.docs / "anna", "--rate", "any"),
                "bob": await given(here, "bob", "--in", "docs/bob/**", "--rate", "any", "--asks", "any"),
                "all": await given(here, "all"),
                "owner": settings["TANDEM_TOKEN"],
            }
            daemon.http.headers["Authorization"] = f"Bearer {secrets['owner']}"
            await daemon.in_step(4)
            yield Team(daemon, collector, secrets)


async def asked(http: httpx.AsyncClient, question: str, **more: Any) -> dict[str, Any]:
    response = await http.post("/build-context", json={"text": question, **more})
    assert response.status_code == 200, response.text
    *_, final, done = response.text.removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    return json.loads(final.partition("data: ")[2])


async def everything(http: httpx.AsyncClient, documents: list[str]) -> list[str]:
    """All that the HTTP interface says, asked as somebody would who knows what to look for."""
    said: list[str] = []
    for query in (BOBS, WHEN, f'"{BOBS}"', f"{BOBS}.md", "gatehouse clock", "simmers forty minutes"):
        for more in ({}, {"in": "**"}, {"in": "b*b/"}, {"in": "/**"}, {"in": "*quitten*"}, {"explain": True}):
            reply = await http.post("/search", json={"query": query, "limit": 100, **more})
            said += [reply.text]
    said.append((await http.get("/status")).text)
    for document in documents:
        for path in ("", "/file"):
            reply = await http.get(f"/documents/{document}{path}")
            assert reply.status_code == 404, reply.text
            said.append(reply.text)
    return said


async def test_whoever_has_a_token_sees_their_own_folders_over_http_and_nothing_else(team: Team) -> None:
    rows = (await team.daemon.http.post("/search", json={"query": BOBS, "limit": 100})).json()["hits"]
    bobs = sorted({hit["document"] for hit in rows if "/bob/" in hit["path"]})
    assert bobs
    async with team.http("anna") as http:
        said = "\n".join(await everything(http, bobs))
        assert ANNAS in said and "gatehouse" in said
        assert WITHIN["anna"] in said and WITHIN["bob"] not in said
        assert BOBS not in said and "/bob" not in said
        status = (await http.get("/status")).json()
        assert (status["documents"], len(status["failed"]), status["pending"]) == (2, 1, 0)
        assert status["roots"] == [str(team.daemon.place.docs / "anna")]
        unknown = (await http.get("/documents/1")).json()["error"]["message"]
        assert (await http.get(f"/documents/{bobs[0]}")).json()["error"]["message"].replace(bobs[0], "1") == unknown
        assert (await http.get("/metrics")).status_code == 403
    async with team.http("bob") as http:
        (first, *_) = (await http.post("/search", json={"query": WHEN})).json()["hits"]
        assert BOBS in first["path"]
        assert (await http.get(f"/documents/{first['document']}/file")).status_code == 200
    async with team.http("all") as http:
        assert (await http.get("/status")).json()["documents"] == 4
        assert (await http.get("/metrics")).status_code == 200


async def test_an_answer_that_is_kept_is_given_again_to_those_who_may_see_the_same(team: Team) -> None:
    async def again(http: httpx.AsyncClient) -> dict[str, Any] | None:
        return answer if (answer := await asked(http, WHEN))["cache_hit"] else None

    assert not await again(team.daemon.http)
    # An answer is kept after its end was told: who asks at once may be too early.
    assert WITHIN["bob"] in (await until(partial(again, team.daemon.http)))["answer"]
    async with team.http("anna") as anna, team.http("bob") as bob, team.http("all") as everybody:
        annas = await asked(anna, WHEN)
        assert not annas["cache_hit"] and WITHIN["bob"] not in json.dumps(annas)
        assert not await again(bob)
        assert await until(partial(again, bob))
        assert await again(everybody)


async def test_an_answer_and_its_conversation_are_for_who_asked(team: Team) -> None:
    async with team.http("bob") as bob, team.http("anna") as anna:
        request = (await bob.post("/answers", json={"text": WHEN, "session": "s1"})).json()["request"]
        told = (await bob.get(f"/answers/{request}")).text
        assert BOBS in told and f"id: {request}:" in told
        trace_id = json.loads(told.split("data: ")[-2])["trace_id"]
        for stranger in (anna, team.daemon.http):
            for response in (
                await stranger.get(f"/answers/{request}"),
                await stranger.get(f"/answers/{request[:32]}", headers={"Last-Event-ID": f"{request[:32]}:0-0"}),
                await stranger.delete(f"/answers/{request}"),
            ):
                if stranger is anna or request in str(response.url):
                    assert response.status_code == 404 and BOBS not in response.text
        rating = {"trace_id": trace_id, "up": True}
        assert (await anna.post("/ratings", json=rating)).status_code == 404
        assert (await bob.post("/ratings", json=rating)).status_code == 204
        follow_up = await asked(anna, "And in winter?", session="s1")
        assert BOBS not in json.dumps(follow_up)


def said_by(result: Any) -> str:
    return result.model_dump_json()


async def refused(call: Any) -> str:
    try:
        return said_by(await call)
    except MCPError as error:
        return str(error)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_whoever_has_a_token_sees_their_own_folders_over_mcp_and_nothing_else(team: Team, mode: str) -> None:
    bobs = team.daemon.place.docs / "bob" / f"{BOBS}.md"
    with anyio.fail_after(60):
        async with team.mcp("anna", mode) as anna, team.mcp("bob", mode) as bob:
            said: list[str] = []
            for tool, arguments in (
                ("search", {"query": WHEN}),
                ("search", {"query": "gatehouse clock", "in": "**"}),
                ("ask", {"question": WHEN, "session": "s1"}),
                ("status", {}),
                ("read", {"uri": bobs.as_uri()}),
                ("read", {"uri": str(bobs)}),
                ("read", {"uri": f"{bobs}#L1"}),
                ("read", {"uri": bobs.as_uri(), "around": "9999"}),
                ("read", {"uri": bobs.with_suffix(".pdf").as_uri()}),
                ("read", {"uri": bobs.as_uri().replace("bob", "%62ob")}),
                ("read", {"uri": bobs.as_uri().replace("/bob/", "/anna/../bob/")}),
            ):
                said.append(await refused(anna.call_tool(tool, arguments)))
            said.append(said_by(await anna.list_resources()))
            for uri in (bobs.as_uri(), f"{bobs.as_uri()}#L1-L3"):
                said += [await refused(anna.read_resource(uri))]
            told = "\n".join(said)
            assert WITHIN["anna"] in told and WITHIN["bob"] not in told
            assert "gatehouse" in told and str(bobs.parent / "clock.md") not in told
            assert "could not be read" not in told and "does not stand in" not in told
            listed = [one.uri for one in (await anna.list_resources()).resources]
            assert listed and all("/anna/" in uri for uri in listed if uri.startswith("file:"))
            begun = await bob.call_tool("ask", {"question": WHEN})
            request = (begun.structured_content or {})["request"]
            assert (begun.structured_content or {})["citations"]
            assert (await anna.call_tool("get_answer", {"id": request})).is_error
            assert (await anna.call_tool("cancel_answer", {"id": request})).is_error
            assert not (await bob.call_tool("get_answer", {"id": request})).is_error
            assert WITHIN["bob"] in said_by(await bob.call_tool("read", {"uri": bobs.as_uri()}))


async def test_the_shell_and_a_relay_on_the_daemons_machine_are_the_owners(team: Team) -> None:
    ended = await team.daemon.place.tandem("search", BOBS, "--json")
    assert BOBS in ended.json["hits"][0]["path"]


async def test_no_secret_is_in_anything_that_was_written_or_told(team: Team) -> None:
    here, program = team.daemon.place, team.daemon.program
    ghost = await given(here, "ghost", "--in", here.docs / "anna")
    secrets = {**team.secrets, "ghost": ghost, "unknown": "tandem_never-given-to-anybody"}
    told: list[str] = []
    for secret in secrets.values():
        header = {"Authorization": f"Bearer {secret}"}
        for method, path, body in (
            ("GET", "/status", None),
            ("POST", "/search", b"{"),
            ("POST", "/mcp", b"{"),
            ("GET", f"/nothing/{'x' * 20}", None),
            ("GET", "/answers/unknown", None),
            ("GET", "/metrics", None),
            ("GET", "/documents/1", None),
        ):
            reply = await team.daemon.http.request(method, path, content=body, headers=header)
            told += [reply.text, str(reply.headers)]
        told.append((await team.daemon.http.get("/status", headers={**header, "Host": "a b"})).text)
    told += [(ended := await here.tandem("token", "ls")).out, ended.err]
    told += [(ended := await here.tandem("token", "revoke", "ghost")).out, ended.err]
    await anyio.to_thread.run_sync(team.collector.until_told, {"retrieve"})
    told += [program.err, program.out, Path(f"/proc/{program.process.pid}/cmdline").read_text()]
    written = b"".join(path.read_bytes() for path in here.folder.rglob("*") if path.is_file())
    everywhere = written + b"".join(team.collector.bodies) + "".join(told).encode()
    assert b"anna" in written and ANNAS.encode() in everywhere
    for name, secret in secrets.items():
        assert secret.removeprefix("tandem_").encode() not in everywhere, name


async def test_a_token_is_made_and_revoked_while_the_daemon_runs(team: Team) -> None:
    here = team.daemon.place
    secret = await given(here, "carla", "--in", here.docs / "anna", "--expires", "1h")
    header = {"Authorization": f"Bearer {secret}"}
    assert (await team.daemon.http.get("/status", headers=header)).json()["documents"] == 2
    listed = {one["name"]: one for one in (await here.tandem("token", "ls", "--json")).lines}
    assert listed["carla"]["in"] == [str(here.docs / "anna")] and "sha256" not in listed["carla"]
    assert (await here.tandem("token", "revoke", "carla")).status == 0
    assert (await team.daemon.http.get("/status", headers=header)).status_code == 401


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "x", "--in", "docs/nowhere"), "a folder that exists, or a pattern"),
        (("add", "x", "--in", "!docs/*"), "a folder that exists, or a pattern"),
        (("add", "x", "--in", "docs/../*"), "a pattern has no .."),
        (("add", "x", "--rate", "0"), "--rate was expected to be like 60/min, or any; got '0'"),
        (("add", "x", "--expires", "yesterday"), "--expires was expected to be like 90d"),
        (("add", "x", "--expires", "2020-01-01"), "--expires was expected to be like 90d"),
        (("add", "x", "--expires", "99999y"), "--expires was expected to be like 90d"),
        (("add", "x y"), "expected a name"),
        (("revoke", "x"), "there is no token 'x'"),
    ],
)
async def test_a_wrong_word_is_told_and_changes_nothing(team: Team, words: tuple[str, ...], said: str) -> None:
    before = (team.daemon.place.data / "tokens.json").read_bytes()
    ended = await team.daemon.place.tandem("token", *words)
    assert (ended.status, ended.out) == (1, "") and said in ended.err
    assert (team.daemon.place.data / "tokens.json").read_bytes() == before


async def test_beyond_this_machine_the_port_opens_only_where_somebody_has_a_token() -> None:
    with place() as here:
        settings = {"HOST": "0.0.0.0", "PORT": "0"}
        ended = await here.tandem("up", settings=settings)
        assert ended.status == 1 and "tandem token add NAME" in ended.err
        secret = await given(here, "anna")
        async with here.program("up", settings=settings) as program:
            port = (await program.says("Tandem answers at http")).split()[4].rpartition(":")[2]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
                header = {"Authorization": f"Bearer {secret}"}
                assert (await http.get("/status")).status_code == 401
                assert (await http.get("/status", headers={**header, "Host": "any.example"})).status_code == 200
                await here.tandem("token", "revoke", "anna")
                (here.data / "tokens.json").unlink()
                assert (await http.get("/status")).status_code == 401
