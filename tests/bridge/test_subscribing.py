"""Subscriptions over each transport, in each era of the protocol, to a service whose changes the test makes."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp_types import INVALID_PARAMS, INVALID_REQUEST

from bridge.offers.subscribing import MOST_STREAMS, MOST_URIS
from bridge.service import Changed
from tests.bridge.over_mcp import WAYS, Served, served_over_mcp
from tests.bridge.subscribers import LISTING, Subscriber, subscribed, subscription, told_of_the_former_era

VPN, LINES, TAX = "file:///notes/vpn.md", "file:///notes/vpn.md#L3-L4", "file:///notes/tax.pdf"
FIRST = "file:///notes/first.md"
pytestmark = told_of_the_former_era
every_way = pytest.mark.parametrize("way", WAYS, ids=" ".join)
IN_2026 = ("http", "2026-07-28")


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Served]:
    async with served_over_mcp() as served:
        yield served


def change(daemon: Served, *paths: str, listing: bool = False) -> None:
    daemon.service.changes.tell(Changed(frozenset(paths), frozenset(paths) if listing else frozenset()))


@asynccontextmanager
async def reached(daemon: Served, way: tuple[str, Any], *uris: str) -> AsyncGenerator[Subscriber]:
    """Over HTTP a session hears nothing before its own stream is open, and nobody knows when that is."""
    async with subscribed(partial(daemon.client, *way), FIRST, *uris) as one:
        with anyio.fail_after(60):
            while not one.told:
                change(daemon, "/notes/first.md")
                with anyio.move_on_after(0.2):
                    await one.hear(FIRST)
        yield one


async def heard(one: Subscriber, what: str) -> list[str]:
    return [told for told in await one.hear(what) if told != FIRST]


@every_way
async def test_a_client_is_told_of_the_documents_and_passages_that_it_named_and_of_no_other(
    daemon: Served, way: tuple[str, Any]
) -> None:
    async with reached(daemon, way, VPN, LINES) as one:
        change(daemon, "/notes/tax.pdf", "/notes/vpn.md")
        assert await heard(one, LINES) == [VPN, LINES]


@every_way
async def test_a_hundred_changes_at_once_are_told_as_one_and_what_follows_is_told_after_a_pause(
    daemon: Served, way: tuple[str, Any]
) -> None:
    async with reached(daemon, way, VPN) as one:
        began = anyio.current_time()
        for _ in range(100):
            change(daemon, "/notes/vpn.md", "/notes/new.md", listing=True)
        assert await heard(one, LISTING) == [VPN, LISTING]
        for _ in range(100):
            change(daemon, "/notes/vpn.md")
        change(daemon, "/notes/new.md", listing=True)
        assert await heard(one, LISTING) == [VPN, LISTING]
        assert anyio.current_time() - began > 0.5


@every_way
async def test_only_the_list_of_the_documents_is_said_to_change(daemon: Served, way: tuple[str, Any]) -> None:
    async with daemon.client(*way) as client:
        modern = client.protocol_version >= "2026"
        told = (await client.session.send_discover("2026-07-28"))["capabilities"] if modern else None
        offered = told or client.server_capabilities.model_dump(by_alias=True)
        assert offered["resources"] == {"subscribe": True, "listChanged": True}
        assert not offered["tools"]["listChanged"]
        assert not offered["prompts"]["listChanged"]


@every_way
@pytest.mark.parametrize("uri", ["https://example.com/", "file://elsewhere/notes.md", "file:///notes/%ff.md"])
async def test_what_names_no_document_cannot_be_subscribed_to(daemon: Served, way: tuple[str, Any], uri: str) -> None:
    async with daemon.client(*way) as client:
        with pytest.raises(MCPError, match="expected a") as refused:
            async with subscription(client, uri):
                pass
        assert refused.value.code == INVALID_PARAMS


@pytest.mark.parametrize("way", [way for way in WAYS if way != ("http", "legacy")], ids=" ".join)
async def test_more_documents_than_a_client_may_name_are_refused_with_the_number(
    daemon: Served, way: tuple[str, Any]
) -> None:
    uris = [f"file:///notes/{n}.md" for n in range(MOST_URIS + 1)]
    async with daemon.client(*way) as client:
        with pytest.raises(MCPError, match="at most 1,000 resources") as refused:
            async with subscription(client, *uris):
                pass
        assert refused.value.code == INVALID_PARAMS


async def test_what_a_session_unsubscribes_from_it_is_not_told_again(daemon: Served) -> None:
    async with subscribed(partial(daemon.client, "relay", "legacy"), VPN, TAX) as one:
        for _ in range(2):  # what was never subscribed to is no error either
            await one.client.session.unsubscribe_resource(VPN)  # pyright: ignore[reportDeprecated]
        change(daemon, "/notes/vpn.md", "/notes/tax.pdf")
        assert await one.hear(TAX) == [TAX]


async def test_one_who_opens_too_many_streams_is_told_so_until_one_is_closed(daemon: Served) -> None:
    async with daemon.client("relay", "2026-07-28") as client, AsyncExitStack() as stack:
        for _ in range(MOST_STREAMS - 1):
            await stack.enter_async_context(client.listen(resources_list_changed=True))
        async with client.listen(resources_list_changed=True):
            with pytest.raises(MCPError, match="at most 100 streams") as refused:
                await stack.enter_async_context(client.listen(resources_list_changed=True))
        assert refused.value.code == INVALID_REQUEST
        with anyio.fail_after(30):
            while True:  # the server sees a closed stream in its own time
                with suppress(MCPError):
                    await stack.enter_async_context(client.listen(resources_list_changed=True))
                    break


async def test_a_stream_is_granted_no_changes_of_tools_and_prompts(daemon: Served) -> None:
    async with (
        daemon.client(*IN_2026) as client,
        client.listen(tools_list_changed=True, prompts_list_changed=True, resource_subscriptions=[VPN]) as stream,
    ):
        assert stream.honored.model_dump(exclude_none=True) == {"resource_subscriptions": [VPN]}


async def test_nothing_of_a_client_that_left_is_kept() -> None:
    async with served_over_mcp() as daemon:
        for way in WAYS[:2]:
            async with subscribed(partial(daemon.client, *way), VPN):
                pass
        with anyio.fail_after(30):
            while daemon.service.changes.heard_by:  # noqa: ASYNC110 (the server sees a closed connection in its own time)
                await anyio.sleep(0.01)
