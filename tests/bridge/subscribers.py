"""A client that hears of changes, in either era of the protocol."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp import Client
from mcp_types import ResourceListChangedNotification, ResourceUpdatedNotification

LISTING = "the list"
Connect = Callable[[Any], AbstractAsyncContextManager[Client]]
# What one era is asked, the SDK's client calls deprecated.
told_of_the_former_era = pytest.mark.filterwarnings("ignore:resources/:mcp.MCPDeprecationWarning")


class Subscriber:
    def __init__(self, client: Client, heard: MemoryObjectReceiveStream[str]) -> None:
        self.client = client
        self.told = 0
        self._heard = heard

    async def hear(self, what: str, within_s: float = 60) -> list[str]:
        """All that is heard up to this: URIs of documents that changed, or LISTING."""
        told: list[str] = []
        with anyio.fail_after(within_s):
            while what not in told:
                told.append(await self._heard.receive())
                self.told += 1
        return told


@asynccontextmanager
async def subscribed(connect: Connect, *uris: str) -> AsyncGenerator[Subscriber]:
    """To these documents, and to which there are. `connect` takes what the client does with notifications."""
    send, heard = anyio.create_memory_object_stream[str](1000)

    async def note(message: object) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            send.send_nowait(message.params.uri)
        elif isinstance(message, ResourceListChangedNotification):
            send.send_nowait(LISTING)

    async with connect(note) as client, subscription(client, *uris):
        yield Subscriber(client, heard)


@asynccontextmanager
async def subscription(client: Client, *uris: str) -> AsyncGenerator[None]:
    if client.protocol_version < "2026":
        for uri in uris:
            await client.session.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        yield
    else:
        async with client.listen(resource_subscriptions=uris, resources_list_changed=True):
            yield
