"""What a server lists, which is what it is asked for."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Offered:
    """What a server lists. `tools`: their input schemas; `prompts`: their arguments' names; `templates`: URIs."""

    tools: dict[str, dict[str, Any]]
    prompts: dict[str, list[str]]
    templates: tuple[str, ...]


LISTS = ("tools/list", "prompts/list", "resources/templates/list")


def offered(tools: Any, prompts: Any, templates: Any) -> Offered:
    """`LISTS`' results."""
    return Offered(
        {one["name"]: one["inputSchema"] for one in tools["tools"]},
        {one["name"]: [argument["name"] for argument in one.get("arguments", ())] for one in prompts["prompts"]},
        tuple(one["uriTemplate"] for one in templates["resourceTemplates"]),
    )
