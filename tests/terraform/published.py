"""What the provider's published types say of its resources: cdktf's package, made from the provider's own schema.

    {"digitalocean_vpc": Block(arguments={"name": Argument("string", is_required=True), …}, blocks={…})}

A type is as Terraform writes it in JSON: "string", ["list", "string"], ["map", "string"], ["object", {…}].
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

PACKAGE = Path(__file__).parent / "node_modules" / "@cdktf" / "provider-digitalocean"
_LINK = re.compile(r"/docs/(resources|data-sources)/(\w+)#(\w+)")
_PRIMITIVE = {"string": "string", "number": "number", "boolean": "bool"}
_OURS = "@cdktf/provider-digitalocean."

Kind = Literal["resource", "data"]


@dataclass(frozen=True, slots=True)
class Argument:
    """`is_given`: whether a configuration may set it; what it may not is only read."""

    type: Any
    is_required: bool = False
    is_given: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """`blocks`: name -> the block, how many there must be, whether there may be several."""

    arguments: Mapping[str, Argument] = field(default_factory=dict[str, Argument])
    blocks: Mapping[str, tuple["Block", int, bool]] = field(default_factory=dict[str, "tuple[Block, int, bool]"])


def version() -> str:
    return json.loads((PACKAGE / "package.json").read_text())["cdktf"]["provider"]["version"]


@cache
def published() -> dict[tuple[Kind, str], Block]:
    types = json.loads((PACKAGE / ".jsii").read_text())["types"]
    found: dict[tuple[Kind, str], Block] = {}
    for name, told in types.items():
        if name.endswith("Config") and (links := list(_links(told))):
            where, resource, _ = links[0]
            block = _block(types, told)
            read = _read(types.get(name.removesuffix("Config"), {}), block)
            kind: Kind = "data" if where == "data-sources" else "resource"
            found[kind, f"digitalocean_{resource}"] = Block({**read, **block.arguments}, block.blocks)
    return found


def _links(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for one in told.get("properties", []):
        if link := _LINK.search(json.dumps(one.get("docs", {}))):
            yield link[1], link[2], link[3]


def _block(types: Mapping[str, Any], told: Mapping[str, Any]) -> Block:
    arguments: dict[str, Argument] = {}
    blocks: dict[str, tuple[Block, int, bool]] = {}
    for one in told.get("properties", []):
        link = _LINK.search(json.dumps(one.get("docs", {})))
        if not link:
            continue  # cdktf's own: count, lifecycle
        name, is_required = link[3], not one.get("optional", False)
        nested, is_several = _nested(one["type"])
        if nested and one["docs"].get("summary", "") == f"{name} block.":
            blocks[name] = _block(types, types[nested]), int(is_required), is_several
        else:
            arguments[name] = Argument(_type(types, one["type"]), is_required)
    return Block(arguments, blocks)


def _read(told: Mapping[str, Any], given: Block) -> dict[str, Argument]:
    """What a resource has and a configuration does not set."""
    found: dict[str, Argument] = {}
    for one in told.get("properties", []):
        name = re.sub(r"([A-Z])", lambda letter: f"_{letter[1].lower()}", one["name"])
        is_read = one.get("immutable") and not one.get("static") and not name.endswith("_input")
        if is_read and name not in given.blocks and "primitive" in one["type"]:
            found[name] = Argument(_type({}, one["type"]), is_given=False)
    return found


def _nested(type_: Any) -> tuple[str | None, bool]:
    names = [name for name in re.findall(r'"fqn": "([^"]+)"', json.dumps(type_)) if name.startswith(_OURS)]
    return (names[0] if names else None), '"kind": "array"' in json.dumps(type_)


def _type(types: Mapping[str, Any], type_: Any) -> Any:
    if "primitive" in type_:
        return _PRIMITIVE.get(type_["primitive"], "string")
    if "collection" in type_:
        kind = "map" if type_["collection"]["kind"] == "map" else "list"
        return [kind, _type(types, type_["collection"]["elementtype"])]
    if "union" in type_:
        real = [one for one in type_["union"]["types"] if not one.get("fqn", "").startswith("cdktf.")]
        return _type(types, real[0])
    told = types.get(type_["fqn"], {})
    return ["object", {name: one.type for name, one in _block(types, told).arguments.items()}]
