"""What the conformance suite looks up by name: tools, resources and prompts that a document server has no use for.

A test puts them beside Tandem's own on the same server; the product never has them.
"""

from base64 import b64decode
from typing import Annotated, Any

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    ClientCapabilities,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

# One red point, and no sound at all.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="


def add_fixtures(server: MCPServer[Any]) -> None:
    _add_tools(server)
    _add_resources(server)
    _add_prompts(server)


def _add_tools(server: MCPServer[Any]) -> None:
    contents: dict[str, tuple[ContentBlock, ...]] = {
        "test_simple_text": (_text("a plain text"),),
        "test_image_content": (ImageContent(type="image", data=PNG, mime_type="image/png"),),
        "test_audio_content": (AudioContent(type="audio", data=WAV, mime_type="audio/wav"),),
        "test_embedded_resource": (_embedded("test://embedded-resource"),),
        "test_multiple_content_types": (
            _text("a text, an image and a resource"),
            ImageContent(type="image", data=PNG, mime_type="image/png"),
            _embedded("test://mixed-content-resource"),
        ),
        # Both named by server-stateless: a stream that carries no request of the server's, and no unasked log line.
        "test_streaming_elicitation": (_text("nothing is asked of the client"),),
        "test_logging_tool": (_text("nothing is logged to the client"),),
    }
    for name, content in contents.items():
        _add_constant(server, name, content)

    @server.tool(description="Tells its progress three times.")
    async def test_tool_with_progress(ctx: Context) -> str:
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100, f"{done} of 100")
            await anyio.lowlevel.checkpoint()
        return "done"

    @server.tool(description="Always fails, in words.")
    async def test_error_handling() -> str:
        raise ToolError("this tool fails on purpose")

    @server.tool(description="Wants a client that samples.")
    async def test_missing_capability() -> str:
        wanted = MissingRequiredClientCapabilityErrorData(
            required_capabilities=ClientCapabilities(sampling=SamplingCapability())
        ).model_dump(by_alias=True, exclude_none=True)
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "this tool needs a client that samples", wanted)

    @server.tool(description="Takes an argument that must stand in a header too.")
    async def test_custom_headers(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        return region


def _add_constant(server: MCPServer[Any], name: str, content: tuple[ContentBlock, ...]) -> None:
    @server.tool(name=name, description="Returns what never changes.")
    async def constant() -> CallToolResult:
        return CallToolResult(content=list(content))


def _add_resources(server: MCPServer[Any]) -> None:
    @server.resource("test://static-text", description="A text.", mime_type="text/plain")
    async def static_text() -> str:
        return "a text that never changes"

    @server.resource("test://watched-resource", description="A text to subscribe to.", mime_type="text/plain")
    async def watched() -> str:
        return "a text that never changes either"

    @server.resource("test://static-binary", description="An image.", mime_type="image/png")
    async def static_binary() -> bytes:
        return b64decode(PNG)

    @server.resource("test://template/{id}/data", description="A text for each id.", mime_type="application/json")
    async def template(id: str) -> str:  # noqa: A002 (the template's name for it)
        return f'{{"id": "{id}"}}'


def _add_prompts(server: MCPServer[Any]) -> None:
    @server.prompt(description="A plain text.")
    async def test_simple_prompt() -> str:
        return "a prompt that never changes"

    @server.prompt(description="A text of two arguments.")
    async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"{arg1} and {arg2}"

    @server.prompt(description="A resource and a text.")
    async def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 (the suite's name)
        return [UserMessage(_embedded(resourceUri)), UserMessage("what does the resource above say?")]

    @server.prompt(description="An image and a text.")
    async def test_prompt_with_image() -> list[UserMessage]:
        image = ImageContent(type="image", data=PNG, mime_type="image/png")
        return [UserMessage(image), UserMessage("what does the image above show?")]


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _embedded(uri: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type="text/plain", text="the text of a resource")
    return EmbeddedResource(type="resource", resource=contents)
