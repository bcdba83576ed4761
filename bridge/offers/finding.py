"""The files themselves as tools: search finds passages, read gives what stands around them, status what there is."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

import msgspec
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import RootModel

from bridge.citing import excerpt_text, found_text, status_text
from bridge.excerpt import shown_tokens, tokens
from bridge.offers.arguments import (
    LEAST_TOKENS,
    MOST_TOKENS,
    Around,
    Limit,
    MaxTokens,
    Query,
    Since,
    Types,
    Uri,
    Within,
    filtered,
)
from bridge.offers.fitting import Passages, fitted
from bridge.offers.links import linked
from bridge.offers.progress import Progress
from bridge.offers.results import READ_ONLY, offered, result, spoken
from bridge.offers.traced import ended, tool_span
from bridge.service import READ_TOKENS, BadInput, Excerpt, Library, Status
from indexer.filters import Filters

SEARCH = """Find passages in the user's own files: notes, documents, PDFs, code. Both exact words and meaning count. \
Use this whenever the user's files may hold the answer, then answer from the passages yourself and cite path and lines \
or page.

Returns passages, best first, and as of when the index speaks. `read` gives what stands around one, or all of one that \
was shortened. Where nothing fits, ask again in other words, or without filters."""

READ = """Read a document that `search` found: from its beginning, from a place on, or around one. Returns its text as \
the index has it with lines or page, and as `next` the uri to go on from. Use this where a passage is too short to \
answer from; only files in the index can be read."""

STATUS = """How many files the index holds, from which folders, as of when, what is pending, and which files failed \
and why. Use this where a search finds nothing, or where the user asks whether a file is indexed."""


_TRIES = 3


class SearchOutput(RootModel[Passages]):
    pass


class ReadOutput(RootModel[Excerpt]):
    pass


class StatusOutput(RootModel[Status]):
    pass


def tools(service: Library) -> list[Tool]:
    async def search(
        ctx: Context,
        query: Query,
        limit: Limit = 10,
        within: Within = None,
        types: Types = None,
        since: Since = None,
        max_tokens: MaxTokens = READ_TOKENS,
    ) -> Annotated[CallToolResult, SearchOutput]:
        arguments = {"query": query, "limit": limit, **filtered(within, types, since)}
        with spoken(), tool_span(ctx, "search", arguments) as span:
            _check_room(max_tokens)
            async with Progress(ctx).while_it_takes("searching"):
                found = await service.search(query, limit, Filters.asked(within, types, since))
            fit = fitted(found, max_tokens)
            text = found_text(fit.found, fit.shortened, fit.left_out)
            ended(span, text)
            return result(text, fit.data, linked(fit.found.hits))

    async def read(
        ctx: Context, uri: Uri, around: Around = None, max_tokens: MaxTokens = READ_TOKENS
    ) -> Annotated[CallToolResult, ReadOutput]:
        with spoken(), tool_span(ctx, "read", {"uri": uri, "around": around, "max_tokens": max_tokens}) as span:
            _check_room(max_tokens)
            place = None if around is None else str(around)
            async with Progress(ctx).while_it_takes("reading"):
                excerpt = await _within(max_tokens, partial(service.read, uri, place))
            text = excerpt_text(excerpt)
            ended(span, text)
            return result(text, excerpt)

    async def status() -> Annotated[CallToolResult, StatusOutput]:
        with spoken():
            state = await service.status()
            return result(status_text(state), state)

    return [
        offered(search, "Search your files", SEARCH, READ_ONLY, deep=2),
        offered(read, "Read a document", READ, READ_ONLY),
        offered(status, "State of the index", STATUS, READ_ONLY),
    ]


async def _within(max_tokens: int, read: Callable[[int], Awaitable[Excerpt]]) -> Excerpt:
    """With what is told beside the text: that differs with where the text ends."""
    excerpt, room = await read(max_tokens), max_tokens
    for _ in range(_TRIES):
        over = max(tokens(excerpt_text(excerpt)), tokens(msgspec.json.encode(excerpt).decode())) - max_tokens
        if over <= 0:
            break
        room = max(1, min(room, shown_tokens(excerpt.text)) - over)
        excerpt = await read(room)
    return excerpt


def _check_room(max_tokens: int) -> None:
    if not LEAST_TOKENS <= max_tokens <= MOST_TOKENS:
        raise BadInput(f"max_tokens was expected to be {LEAST_TOKENS} to {MOST_TOKENS:,}, it is {max_tokens:,}")
