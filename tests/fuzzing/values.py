"""Values for what a server says that it takes: right ones, wrong ones, and ones that break programs."""

from random import Random
from typing import Any

from tests.fuzzing.ground import Ground
from tests.fuzzing.uris import path_of, uri
from tests.hostile import HOSTILE

_WORDS = (
    "kiln",
    "How long does the kiln cool?",
    "lease",
    "shaft 7",
    '"kiln cools"',
    "loom -kiln",
    "\u7a91",
    "caf\u00e9",
    "a",
)
_GLOBS = (
    "*.md", "**/*.pdf", "docs/", "*" * 5_000, "*a" * 40 + "x", "a*" * 25 + "b", "**/" * 40 + "x", "[!" * 300, "[a-",
    "[z-a]", "[[:alpha:]]", "!*", "\\", "\\\\", "/", "//", "../*", "../../**", "{a,b}" * 40, "(a+)+$", "^(a|a)*$",
    "(?i)x", "*\x00", "**", "***/***", "?" * 9_000, "*?" * 200 + "z", "[]", "[^]]", "#x", " ", "a/**/b/**/c/**/" * 20,
    "*/" * 400, "~", "\ud800*", "**" + "a**" * 20 + "x", "a" * 30_000, "[" + "a" * 9_000 + "]", "[\\",
    "*" + "[a]*" * 30 + "x", "*a?" * 20 + "x",
)  # fmt: skip
_DATES = (
    "2026-01-31", "7d", "0h", "99999y", "00000w", "2026-02-30", "0001-01-01", "9999-12-31T23:59:59.999999+23:59",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "-1d", "1e9d", "2026-W01-1", "20260131", "now",
    "\u0663d", "7 d", "7d\n", "2026-01-31T24:00", "2026-01-31T08:30Z", "inf", "999999999999999999d",
)  # fmt: skip
_IDS = (
    "0-0", "1-20", "9" * 18 + "-" + "9" * 18, "-1--1", "1-", "00000000-0000-0000-0000-000000000000", "f" * 32,
    "0" * 32, "../../x", "x\r\nSet-Cookie: a", "__proto__", "{0}", "%s%n", "${jndi:ldap://x}", "' OR 1=1 --", "\x00",
    "*", "session:*", "1" * 300,
)  # fmt: skip
_STRANGE = (
    "", " ", "\n", "\x00", "\x1b[2J", "\ud800", "\udfff\ud800", "\ufffe", "\u202eabc", "\u0000" * 50, "a" * 10_001,
    "\U0001f468\u200d" * 900, "\u0301" * 3_000, "NaN", "null", "true", "-0", "1e999", "<script>", "]]>", "\\u0000",
    '"' * 200, "\\" * 999, "a " * 5_000, "%", "\ufdfa" * 500, "\u0130" * 100, "\u1e9e\ufb03", "\r", "\u2028\u2029",
    "md,pdf," * 900, "," * 200, ".md", "text", "other", "code,\x00",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 2, 10, 100, 101, 300, 4_000, 20_000, 20_001, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**400, 1.0, 0.5,
    -0.0, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
_LISTS: tuple[Any, ...] = ([], [[]], [None], ["kiln"], [1] * 2_000, [{}], [[[[[[[[[[1]]]]]]]]]])
_OBJECTS: tuple[Any, ...] = (
    {}, {"": ""}, {"a": {"a": {"a": {}}}}, {"__class__": "x"}, {"$ref": "#"}, {str(n): n for n in range(500)},
    {"\ud800": 1}, {"kiln": "kiln"},
)  # fmt: skip


def string(rng: Random, ground: Ground, hint: str = "") -> str:
    """`hint`: what the server calls it, which decides what is drawn more often."""
    draws = {
        "words": lambda: rng.choice(_WORDS),
        "uri": lambda: uri(rng, ground),
        "path": lambda: path_of(rng, ground),
        "glob": lambda: rng.choice(_GLOBS),
        "date": lambda: rng.choice(_DATES),
        "id": lambda: rng.choice(_IDS),
        "strange": lambda: rng.choice(_STRANGE),
        "hostile": lambda: rng.choice(HOSTILE),
        "letters": lambda: _letters(rng),
    }
    likely = _LIKELY.get(hint)
    return draws[likely if likely and rng.random() < 0.6 else rng.choice(list(draws))]()


_LIKELY = {
    "query": "words",
    "question": "words",
    "around": "words",
    "in": "glob",
    "folder": "glob",
    "since": "date",
    "id": "id",
    "after": "id",
    "session": "id",
    "trace_id": "id",
    "uri": "uri",
    "path": "path",
    "first": "path",
    "second": "path",
}


def _letters(rng: Random) -> str:
    most = rng.choice((0x7F, 0x7F, 0xFF, 0x2FFF, 0xFFFF, 0x10FFFF))
    return "".join(chr(rng.randint(0, most)) for _ in range(rng.choice((1, 3, 20, 200))))


def anything(rng: Random, ground: Ground) -> Any:
    return rng.choice(
        (
            lambda: string(rng, ground),
            lambda: rng.choice(_NUMBERS),
            lambda: rng.choice((True, False, None)),
            lambda: rng.choice(_LISTS),
            lambda: rng.choice(_OBJECTS),
        )
    )()


def fitting(rng: Random, ground: Ground, name: str, schema: dict[str, Any]) -> Any:
    """Of the type that its schema names, within its bounds or not."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    match schema.get("type"):
        case "integer" | "number":
            bounds = [
                schema[bound] + step for bound in ("minimum", "maximum") if bound in schema for step in (-1, 0, 1)
            ]
            return rng.choice([*bounds, *_NUMBERS[:14]])
        case "boolean":
            return rng.random() < 0.5
        case "array":
            items = schema.get("items", {})
            return [fitting(rng, ground, name, items) for _ in range(rng.choice((0, 1, 2, 50)))]
        case "object":
            return arguments(rng, ground, schema)
        case _:
            return string(rng, ground, name)


def arguments(rng: Random, ground: Ground, schema: dict[str, Any]) -> dict[str, Any]:
    """Those of an object's schema; some wrong, missing, or not in it."""
    required = schema.get("required", [])
    given: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        if rng.random() < (0.95 if name in required else 0.3):
            given[name] = fitting(rng, ground, name, field) if rng.random() < 0.85 else anything(rng, ground)
    if rng.random() < 0.1:
        given[string(rng, ground)[:50]] = anything(rng, ground)
    return given
