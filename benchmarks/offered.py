"""What a host pays for Tandem in a model's context: the list of its tools, and one search, by their parts.

`tokens`: one for every 4 bytes, as budgets count them. `wordpieces`: by MiniLM's tokenizer, which makes a token of
every bracket and quotation mark; models for chat make fewer. `for_a_model`: names, descriptions and input schemas;
output schemas and annotations are for the host.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec
from mcp import Client
from tokenizers import Tokenizer

from bridge.excerpt import tokens
from bridge.settings import load
from bridge.tandem import opened
from bridge.tools import mcp_server
from indexer.embed import weights
from observability.traces import Off

DOCS = Path(__file__).parent.parent / "examples" / "docs"
QUESTION = "How often is a worker's lease renewed?"
_READ = ("name", "description", "inputSchema")


def main() -> None:
    print(json.dumps(anyio.run(_measured)))


async def _measured() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(load(folder, {}, Path(folder)), Off()) as tandem:
            await tandem.index([str(DOCS)])
            async with Client(mcp_server(tandem, "0")) as client:
                listed = [_wire(tool) for tool in (await client.list_tools()).tools]
                search = {str(most): await _search(client, most) for most in (1_000, 2_000, 4_000)}
    for_a_model = [{name: tool[name] for name in _READ} for tool in listed]
    return {"tools_list": _size(listed), "for_a_model": _size(for_a_model), "search": search}


async def _search(client: Client, max_tokens: int) -> Mapping[str, Any]:
    found = await client.call_tool("search", {"query": QUESTION, "max_tokens": max_tokens})
    text, *links = map(_wire, found.content)
    data = found.structured_content or {}
    return {
        "text": tokens(text["text"]),
        "links": tokens(_json(links)),
        "data": tokens(_json(data)),
        "hits": len(data["hits"]),
        "shortened": sum(hit["shortened"] is not None for hit in data["hits"]),
        "left_out": data["left_out"],
    }


def _size(listed: Any) -> Mapping[str, int]:
    text = _json(listed)
    tokenizer = Tokenizer.from_file(str(weights.tokenizer(None)))
    tokenizer.no_truncation()
    pieces = tokenizer.encode(text, add_special_tokens=False).ids
    return {"bytes": len(text.encode()), "tokens": tokens(text), "wordpieces": len(pieces)}


def _wire(model: Any) -> dict[str, Any]:
    return model.model_dump(by_alias=True, exclude_none=True)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    main()
