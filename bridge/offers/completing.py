"""What may stand in a template's variable or a prompt's argument, as it is typed: paths of the index, 100 at most."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from mcp.server.mcpserver import MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from bridge.offers.resources import DOCUMENT, PASSAGE
from bridge.service import BadInput, Library, Unavailable
from bridge.uris import document_uri

MOST = 100
_LOOKED_AT = 1_000  # documents whose folders are offered
_GLANCE_TOKENS = 300
_ROOT = "file:///"

Complete = Callable[[Library, str, dict[str, str]], Awaitable[Sequence[str]]]


def serve_completions(server: MCPServer[None], service: Library) -> None:
    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion | None:
        of = ref.uri if isinstance(ref, ResourceTemplateReference) else ref.name
        known = _KNOWN.get((of, argument.name))
        if known is None:
            return None
        try:
            values = await known(service, argument.value, (context and context.arguments) or {})
        except (BadInput, Unavailable):
            return None
        return Completion(values=list(values[:MOST]), has_more=len(values) > MOST)


async def _documents(service: Library, value: str, given: dict[str, str]) -> Sequence[str]:
    """By how their path begins, else by what stands in it."""
    typed = value if value.startswith("/") else f"/{value}"
    found = await service.readable(limit=MOST + 1, prefix=typed)
    return [one.path for one in found or await service.readable(limit=MOST + 1, containing=value)]


async def _escaped(service: Library, value: str, given: dict[str, str]) -> Sequence[str]:
    """As a template takes them: what stands for itself in a URI does."""
    found = await _documents(service, unquote(value), given)
    return [document_uri(path).removeprefix(_ROOT) for path in found]


async def _folders(service: Library, value: str, given: dict[str, str]) -> Sequence[str]:
    if not value:
        return (await service.status()).roots
    found = await service.readable(limit=_LOOKED_AT, prefix=value)
    found = found or await service.readable(limit=_LOOKED_AT, containing=value)
    above = {str(folder) for one in found for folder in PurePosixPath(one.path).parents}
    return sorted(folder for folder in above if value in folder)


async def _places(service: Library, value: str, given: dict[str, str]) -> Sequence[str]:
    """The first places of a document, so that whoever types sees what its places look like."""
    excerpt = await service.read(f"{_ROOT}{given.get('path', '')}", max_tokens=_GLANCE_TOKENS)
    places = [uri.partition("#")[2] for uri in (excerpt.uri, excerpt.next) if uri]
    first = [f"page={excerpt.page}"] if excerpt.page is not None else []
    return [place for place in (*first, *places) if place and place.startswith(value)]


_KNOWN: dict[tuple[str, str], Complete] = {
    (DOCUMENT, "path"): _escaped,
    (PASSAGE, "path"): _escaped,
    (PASSAGE, "place"): _places,
    ("cited_answer", "folder"): _folders,
    ("compare_documents", "first"): _documents,
    ("compare_documents", "second"): _documents,
    ("summarise_folder", "folder"): _folders,
}
