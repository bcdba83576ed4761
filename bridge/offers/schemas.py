"""Schemas as every host takes them (pure): without $ref, titles, or a null among the types of what goes in.

Hosts hand an input schema on to models whose own dialects know fewer words. An output schema only tells programs what
comes, and every word of it is read by nobody else.
"""

from typing import Any, cast

Schema = dict[str, Any]
_TOLD = ("type", "description", "enum", "minimum", "maximum", "minLength", "maxLength", "default", "required")


def taken(schema: Schema) -> Schema:
    """Of arguments: one that may be left out has its own type."""
    return _plain(schema, schema.get("$defs", {}), _TOLD, nullable=False, deep=1)


def given(schema: Schema, deep: int = 1) -> Schema:
    """Of results: names and types, `deep` objects down."""
    return _plain(schema, schema.get("$defs", {}), ("type", "enum"), nullable=True, deep=deep)


def _plain(schema: Schema, known: Schema, told: tuple[str, ...], nullable: bool, deep: int) -> Schema:
    if "$ref" in schema:
        schema = {**known[schema["$ref"].rpartition("/")[2]], **schema}
    options = cast(list[Schema], schema.get("anyOf", []))
    if options:
        plain = _plain(options[0], known, told, nullable, deep)
        if nullable and isinstance(plain.get("type"), str) and any(one.get("type") == "null" for one in options):
            plain["type"] = [plain["type"], "null"]
        schema = {key: value for key, value in schema.items() if value is not None}
        return {**plain, **{key: schema[key] for key in told if key in schema}}
    plain = {key: schema[key] for key in told if schema.get(key) is not None}
    if deep and "properties" in schema:
        fields = schema["properties"].items()
        plain["properties"] = {name: _plain(field, known, told, nullable, deep - 1) for name, field in fields}
    if isinstance(schema.get("items"), dict):
        plain["items"] = _plain(schema["items"], known, told, nullable, deep)
    return plain
