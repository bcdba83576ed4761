"""JSON can carry half a surrogate pair, which no file, store or trace takes: who sends one is told so at the door."""

import json
from typing import Any

from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types import INVALID_PARAMS


async def whole_characters(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """A middleware. Over stdio the line is refused before it comes here."""
    try:
        json.dumps(ctx.params, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise MCPError(INVALID_PARAMS, "expected Unicode text; what came holds half a surrogate pair") from error
    return await call_next(ctx)
