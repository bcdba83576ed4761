"""Who subscribed to a file hears that it changed, over `tandem mcp` and over HTTP, in both eras of the protocol."""

import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextResourceContents

from tests.bridge.subscribers import LISTING, Connect, Subscriber, subscribed, told_of_the_former_era
from tests.processes import Daemon, Place, environment, place, until

pytestmark = [pytest.mark.slow, told_of_the_former_era]

ERAS = ("legacy", "2026-07-28")
in_each_era = pytest.mark.parametrize("era", ERAS)
LISTEN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Daemon]:
    with place() as here:
        async with here.daemon(here.docs, settings={"TANDEM_TOKEN": "the owners own token"}) as daemon:
            daemon.http.headers["Authorization"] = "Bearer the owners own token"
            yield daemon


def over_stdio(here: Place, era: Any) -> Connect:
    command, *arguments = here.command("mcp")
    relay = StdioServerParameters(command=command, args=arguments, env=environment(), cwd=here.folder)
    return lambda note: Client(relay, mode=era, message_handler=note)


def over_http(daemon: Daemon, era: Any, token: str = "the owners own token") -> Connect:
    @asynccontextmanager
    async def connect(note: Any) -> AsyncGenerator[Client]:
        # A stream is silent as long as nothing changes.
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=None) as http:
            over = streamable_http_client(f"{daemon.url}/mcp", http_client=http)
            async with Client(over, mode=era, message_handler=note) as client:
                yield client

    return connect


async def text(one: Subscriber, path: Path) -> str:
    (contents,) = (await one.client.read_resource(path.as_uri())).contents
    assert isinstance(contents, TextResourceContents)
    return contents.text


def save(daemon: Daemon, path: Path, text: str) -> None:
    """In one step, so that it is one change."""
    daemon.place.write("beside", text).rename(path)


async def indexed(daemon: Daemon, path: Path, words: str) -> None:
    """Writes a file, and waits until it is found."""
    path.parent.mkdir(exist_ok=True)
    save(daemon, path, f"# {path.stem}\n\n{words}\n")

    async def found() -> bool:
        return words in await daemon.reads(f'"{words}"')

    await until(found)


@in_each_era
@pytest.mark.parametrize("over", ["stdio", "http"])
async def test_a_subscriber_hears_of_a_change_reads_the_new_text_and_hears_nothing_of_other_files(
    daemon: Daemon, over: str, era: str
) -> None:
    docs = daemon.place.docs
    kiln, loom, new = (docs / f"{name}-{over}-{era}.md" for name in ("kiln", "loom", "new"))
    await indexed(daemon, kiln, "The kiln cools for twelve hours.")
    await indexed(daemon, loom, "The loom has forty shafts.")
    connect = over_stdio(daemon.place, era) if over == "stdio" else over_http(daemon, era)
    async with subscribed(connect, kiln.as_uri()) as one:
        await indexed(daemon, loom, "The loom has eighty shafts.")
        save(daemon, kiln, "# kiln\n\nThe kiln cools for thirteen hours.\n")
        assert await one.hear(kiln.as_uri()) == [kiln.as_uri()]
        assert "thirteen hours" in await text(one, kiln)
        save(daemon, new, "The anvil is in the yard.\n")
        assert await one.hear(LISTING) == [LISTING]
        assert new.as_uri() in {resource.uri for resource in (await one.client.list_resources()).resources}
        kiln.unlink()
        assert set(await one.hear(LISTING)) == {kiln.as_uri(), LISTING}


@pytest.mark.parametrize("over", ["stdio", "http"])
async def test_who_unsubscribed_is_told_no_more(daemon: Daemon, over: str) -> None:
    kiln, loom = (daemon.place.docs / f"{name}-{over}.md" for name in ("oven", "frame"))
    await indexed(daemon, kiln, "The oven cools for twelve hours.")
    await indexed(daemon, loom, "The frame has forty shafts.")
    connect = over_stdio(daemon.place, "legacy") if over == "stdio" else over_http(daemon, "legacy")
    async with subscribed(connect, kiln.as_uri(), loom.as_uri()) as one:
        await one.client.session.unsubscribe_resource(kiln.as_uri())  # pyright: ignore[reportDeprecated]
        await indexed(daemon, kiln, "The oven cools for thirteen hours.")
        await indexed(daemon, loom, "The frame has eighty shafts.")
        assert await one.hear(loom.as_uri()) == [loom.as_uri()]


@in_each_era
async def test_who_may_see_one_folder_hears_of_that_folder_only(daemon: Daemon, era: str) -> None:
    docs = daemon.place.docs
    annas, bobs = docs / f"anna-{era}" / "hers.md", docs / f"bob-{era}" / "his.md"
    await indexed(daemon, annas, "The quince simmers.")
    await indexed(daemon, bobs, "The clock is wound.")
    given = await daemon.place.tandem("token", "add", f"anna{era}", "--in", annas.parent, "--rate", "any", "--json")
    async with subscribed(over_http(daemon, era, given.json["token"]), annas.as_uri(), bobs.as_uri()) as one:
        await indexed(daemon, bobs, "The clock is wound twice.")
        await indexed(daemon, bobs.with_name("more.md"), "The clock has a key.")
        await indexed(daemon, annas, "The quince simmers twice as long.")
        assert await one.hear(annas.as_uri()) == [annas.as_uri()]


@in_each_era
async def test_a_subscription_outlives_the_daemon_twice(era: str) -> None:
    with place() as here:
        kiln = here.write("docs/kiln.md", "The kiln cools for twelve hours.\n")
        try:
            async with here.daemon(here.docs) as daemon:
                await daemon.in_step(1)
                async with subscribed(over_stdio(here, era), kiln.as_uri()) as one:
                    await daemon.program.stop(signal.SIGKILL)
                    for words in ("The kiln cools for a day.\n", "The kiln cools for a week.\n"):
                        await one.client.list_resources()  # the next request starts the next daemon
                        # What changed meanwhile nobody knows: it is told at once that the file may have.
                        await one.hear(kiln.as_uri())
                        kiln.write_text(words)
                        with anyio.fail_after(60):
                            while await text(one, kiln) != words.strip():
                                await one.hear(kiln.as_uri())
                        assert (await here.tandem("down")).status == 0
        finally:
            down = await here.tandem("down")
        assert down.status == 0


async def test_tandem_mcp_ends_with_its_stdin_whatever_it_still_listens_to(daemon: Daemon) -> None:
    wanted = {"resourcesListChanged": True}
    params = {"_meta": LISTEN, "notifications": wanted}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
    with anyio.fail_after(60):
        ended = await daemon.place.tandem("mcp", stdin=line.encode() + b"\n")
    assert (ended.status, ended.lines[0]["method"]) == (0, "notifications/subscriptions/acknowledged")
