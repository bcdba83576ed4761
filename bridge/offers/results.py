"""What the service says becomes a tool's result, or the error that a model reads."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ResourceLink, TextContent, ToolAnnotations
from pydantic import ValidationError

from bridge.offers.schemas import given, taken
from bridge.service import BadInput, Unavailable

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ACTS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class Offered(Tool):
    """Whose words on wrong arguments are ours: a model is told what to give instead, and nothing of our parts."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError(f"Error executing tool {self.name}: {self._expected(error.__cause__)}") from error.__cause__

    def _expected(self, error: ValidationError) -> str:
        takes: dict[str, dict[str, Any]] = self.parameters["properties"]
        wrong = dict.fromkeys(str(one["loc"][0]) for one in error.errors() if one["loc"])
        told = [f"`{name}` was expected to be of type {takes[name]['type']}" for name in wrong if name in takes]
        needs = ", ".join(self.parameters.get("required", ())) or "nothing"
        return f"{'; '.join(told)}. It takes {', '.join(takes)}, and needs {needs}"


def offered(
    function: Callable[..., Any], title: str, description: str, annotations: ToolAnnotations, deep: int = 1
) -> Tool:
    """`deep`: how far its output schema tells what the objects in it hold."""
    tool = Offered.from_function(function, title=title, description=description, annotations=annotations)
    tool.parameters = taken(tool.parameters)
    tool.fn_metadata.output_schema = given(tool.fn_metadata.output_schema or {}, deep)
    return tool


def result(text: str, data: Any, links: Sequence[ResourceLink] = ()) -> CallToolResult:
    content = TextContent(type="text", text=text)
    return CallToolResult(content=[content, *links], structured_content=msgspec.to_builtins(data))


@contextmanager
def spoken() -> Generator[None]:
    """The words of what the service refuses reach the model; those of anything else the SDK keeps back."""
    try:
        yield
    except (BadInput, Unavailable) as error:
        raise ToolError(str(error)) from error
