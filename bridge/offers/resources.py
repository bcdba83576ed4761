"""Documents and passages as resources: each by its URI, the documents listed by pages.

The SDK's own lists hold all there is in memory, so these handlers stand before it; what is registered with the server
is served beside the index's documents.
"""
# pyright: reportPrivateUsage=false
# MCPServer has no page of a list and no media type of a resource; its lowlevel server is pinned in pyproject.toml.

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Awaitable
from pathlib import PurePath
from typing import Any

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Annotations,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from bridge.citing import one_line
from bridge.service import BadInput, Library, Readable, Unavailable
from bridge.uris import document_uri, text_type

PAGE = 100
# Of one resource; who wants more reads it in parts.
MOST_TOKENS = 250_000
DOCUMENT, PASSAGE = "file:///{+path}", "file:///{+path}#{place}"
TEMPLATES = [
    ResourceTemplate(
        name="document",
        title="A document",
        uri_template=DOCUMENT,
        description="The text of an indexed file. `path` is absolute, without its first slash and percent-encoded.",
    ),
    ResourceTemplate(
        name="passage",
        title="A passage",
        uri_template=PASSAGE,
        description="A part of it: `place` is L10-L20, or page=3 of a PDF or slides, or char=1200,1650 of other files.",
    ),
]

Context = ServerRequestContext[Any, Any]


def serve_resources(server: MCPServer[Any], service: Library) -> None:
    lowlevel = server._lowlevel_server
    registered = lowlevel.get_request_handler("resources/read")
    assert registered

    async def page(ctx: Context, params: PaginatedRequestParams) -> ListResourcesResult:
        after = _path(params.cursor) if params.cursor else ""
        own = [] if params.cursor else await server.list_resources()
        try:
            found = await service.readable(after, PAGE + 1)
        except (BadInput, Unavailable) as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error
        more = _cursor(found[PAGE - 1].path) if len(found) > PAGE else None
        return ListResourcesResult(resources=[*own, *map(_listed, found[:PAGE])], next_cursor=more)

    async def templates(ctx: Context, params: PaginatedRequestParams) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=[*TEMPLATES, *await server.list_resource_templates()])

    async def read(ctx: Context, params: ReadResourceRequestParams) -> Any:
        if params.uri[:5].lower() != "file:":
            return await _told(params.uri, registered.handler(ctx, params))
        return await _told(params.uri, _contents(service, params.uri))

    lowlevel.add_request_handler("resources/list", PaginatedRequestParams, page)
    lowlevel.add_request_handler("resources/templates/list", PaginatedRequestParams, templates)
    lowlevel.add_request_handler("resources/read", ReadResourceRequestParams, read)


async def _told(uri: str, reading: Awaitable[Any]) -> Any:
    try:
        return await reading
    except BadInput as error:
        raise MCPError(INVALID_PARAMS, str(error), {"uri": uri}) from error
    except Unavailable as error:
        raise MCPError(INTERNAL_ERROR, str(error), {"uri": uri}) from error
    except MCPError as error:
        if not error.message.startswith("Unknown resource"):
            raise
        message = f"no resource is {uri[:200]!a}: `resources/list` names the documents, `search` finds passages"
        raise MCPError(error.code, message, {"uri": uri}) from error


async def _contents(service: Library, uri: str) -> ReadResourceResult:
    excerpt = await service.read(uri, None, MOST_TOKENS, whole=True)
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=excerpt.media_type, text=excerpt.text)])


def _listed(one: Readable) -> Resource:
    return Resource(
        uri=document_uri(one.path),
        name=one_line(PurePath(one.path).name),
        mime_type=text_type(one.path),
        size=one.size,
        annotations=Annotations(last_modified=one.modified),
    )


def _cursor(path: str) -> str:
    return urlsafe_b64encode(path.encode()).decode()


def _path(cursor: str) -> str:
    try:
        return b64decode(cursor, b"-_", validate=True).decode()
    except ValueError as error:
        raise MCPError(
            INVALID_PARAMS,
            "expected a cursor as the last page named it: begin again without one",
            {"cursor": cursor[:80]},
        ) from error
