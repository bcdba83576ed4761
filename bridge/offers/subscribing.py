"""Clients are told when documents change: `resources/updated` for the URIs that they named, `resources/list_changed`.

Before 2026-07-28 a session says `resources/subscribe`, and hears of the list without asking; since then a client opens
a stream, `subscriptions/listen`, with what it wants to hear. Both are told at once of a first change and of further
ones every PAUSE_S, each but once. A passage changes with its document; a URI may name one that is still to come.
"""
# pyright: reportPrivateUsage=false
# A session's end, and what lasts as long as it does, is known to its connection alone; pinned in pyproject.toml.

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    EmptyResult,
    NotificationParams,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from bridge.callers import CALLER
from bridge.service import BadInput, Changed, Library
from bridge.uris import read_uri

logger = logging.getLogger("tandem")

MOST_URIS = 1_000  # of one session or stream
MOST_STREAMS = 100  # of one caller
PAUSE_S = 1.0

Context = ServerRequestContext[TaskGroup, Any]
Event = ResourceUpdated | ResourcesListChanged


@asynccontextmanager
async def telling(server: MCPServer[TaskGroup]) -> AsyncGenerator[TaskGroup]:
    """The server's lifespan: where it tells its clients."""
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


def serve_subscriptions(server: MCPServer[TaskGroup], service: Library) -> None:
    lowlevel, streams = server._lowlevel_server, Counter[str]()

    def told(ctx: Context) -> "_Told":
        connection = ctx.session._connection
        if "told" not in connection.state:
            connection.state["told"] = made = _Told(ctx.lifespan_context, _to_session(ctx))
            connection.exit_stack.enter_context(service.hearing(made.hear))
        return connection.state["told"]

    async def paths(uris: Iterable[str]) -> dict[str, str]:
        """By URI. What is registered with the server has none, and never changes."""
        registered = {one.uri for one in await server.list_resources()}
        return {uri: uri if uri in registered else _path(uri) for uri in uris}

    async def initialized(ctx: Context, params: NotificationParams) -> None:
        told(ctx)

    async def subscribe(ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        told(ctx).add(await paths([params.uri]))
        return EmptyResult()

    async def unsubscribe(ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        told(ctx).remove(params.uri)
        return EmptyResult()

    async def listen(ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        uris, caller = params.notifications.resource_subscriptions or (), CALLER.get()
        # Tools and prompts never change: to listen to them is not granted.
        granted = SubscriptionFilter(
            resources_list_changed=params.notifications.resources_list_changed, resource_subscriptions=list(uris)
        )
        whose = caller.id if caller else ""
        if streams[whose] >= MOST_STREAMS:
            message = f"expected at most {MOST_STREAMS} streams of `subscriptions/listen` at once: close one first"
            raise MCPError(INVALID_REQUEST, message)
        stream = InMemorySubscriptionBus()
        made = _Told(ctx.lifespan_context, stream.publish)
        made.add(await paths(uris))
        streams[whose] += 1
        try:
            with service.hearing(made.hear):
                return await ListenHandler(stream)(ctx, params.model_copy(update={"notifications": granted}))
        finally:
            streams[whose] -= 1

    lowlevel.add_notification_handler("notifications/initialized", NotificationParams, initialized)
    lowlevel.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
    lowlevel.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)
    lowlevel.add_request_handler("subscriptions/listen", SubscriptionsListenRequestParams, listen)
    server.middleware.append(_what_changes)


class _Told:
    """One session's or stream's. What it has not been told yet waits here: as much as it named at most."""

    def __init__(self, tasks: TaskGroup, tell: Callable[[Event], Awaitable[None]]) -> None:
        self._tasks, self._tell = tasks, tell
        self._paths: dict[str, str] = {}  # by URI
        self._untold: dict[Event, None] = {}
        self._telling = False

    def add(self, more: Mapping[str, str]) -> None:
        """All or none. Raises MCPError."""
        paths = {**self._paths, **more}
        if len(paths) > MOST_URIS:
            message = f"expected subscriptions to at most {MOST_URIS:,} resources: unsubscribe from some of them first"
            raise MCPError(INVALID_PARAMS, message)
        self._paths = paths

    def remove(self, uri: str) -> None:
        self._paths.pop(uri, None)
        self._untold.pop(ResourceUpdated(uri), None)

    def hear(self, changed: Changed) -> None:
        self._untold.update({ResourceUpdated(uri): None for uri, path in self._paths.items() if path in changed.paths})
        if changed.listing:
            self._untold[ResourcesListChanged()] = None
        if self._untold and not self._telling:
            self._telling = True
            self._tasks.start_soon(self._tell_all)

    async def _tell_all(self) -> None:
        try:
            while self._untold:
                while self._untold:
                    event = next(iter(self._untold))
                    del self._untold[event]
                    await self._tell(event)
                await anyio.sleep(PAUSE_S)
        except Exception:
            # One client must not end the others.
            logger.exception("a client could not be told of a change")
        finally:
            self._telling = False


def _to_session(ctx: Context) -> Callable[[Event], Awaitable[None]]:
    async def tell(event: Event) -> None:
        if isinstance(event, ResourceUpdated):
            await ctx.session.send_resource_updated(event.uri)
        else:
            await ctx.session.send_resource_list_changed()

    return tell


def _path(uri: str) -> str:
    try:
        return read_uri(uri)[0]
    except BadInput as error:
        raise MCPError(INVALID_PARAMS, str(error), {"uri": uri[:200]}) from error


async def _what_changes(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The SDK says in one era that every list may change, in the other that none does."""
    result = await call_next(ctx)
    if ctx.method in ("initialize", "server/discover") and isinstance(result, dict):
        for name in ("tools", "prompts", "resources"):
            result["capabilities"][name]["listChanged"] = name == "resources"
    return result
