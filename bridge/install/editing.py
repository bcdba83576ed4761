"""One member of a JSON text is set or taken out; what nobody asked to change keeps its bytes.

Comments, order, indentation, trailing commas, line ends and a byte order mark stay. Pure.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.install.jsonc import Value, after_comma, fail, parse


def set_member(text: str, path: Sequence[str], data: Any) -> str:
    """`data` under `path`: where it is there already in its place, else as the last member. Raises Broken."""
    root = parse(text)
    if root.start == root.end:
        head = f"{text}\n" if text.strip("\ufeff \t\r\n") and not text.endswith("\n") else text
        return f"{head}{_in_words(_nested(path, data), _Layout())}\n"
    layout = _layout(text, root)
    at, rest = _object(text, root, "the whole file"), list(path)
    while found := at.find(rest[0]):
        if len(rest) == 1:
            layout = layout.at(_indent(text, found.start))
            if "\n" not in text[at.start : at.members[-1].start]:
                layout = replace(layout, unit=None)
            words = _in_words(data, layout)
            return text[: found.value.start] + words + text[found.value.end :]
        at, rest = _object(text, found.value, json.dumps(rest[0])), rest[1:]
    return _added(text, at, rest[0], _nested(rest[1:], data), layout)


def without_member(text: str, path: Sequence[str]) -> str:
    """Without what `path` names and the comma that came with it; of `set_member`'s text what it had been given, where
    the last object of the path was there and had members. Raises Broken."""
    at = parse(text)
    for key in path[:-1]:
        if not (found := at.find(key)):
            return text
        at = found.value
    ours = at.find(path[-1])
    if not ours:
        return text
    before, end = _before_blanks(text, ours.start), after_comma(text, ours.value.end)
    n = at.members.index(ours)
    if n and ours is at.members[-1] and not at.has_comma:
        comma = after_comma(text, at.members[n - 1].value.end)
        return text[: comma - 1] + text[comma:before] + text[end:]
    if len(at.members) == 1 and not (text[at.start + 1 : ours.start] + text[end : at.end - 1]).strip():
        return f"{text[: at.start]}{{}}{text[at.end :]}"
    return text[:before] + text[end:]


@dataclass(frozen=True, slots=True)
class _Layout:
    """`unit` is one step of indentation, None where all stands on one line; `indent` that of the line at hand."""

    unit: str | None = "  "
    newline: str = "\n"
    indent: str = ""
    is_dense: bool = False

    def at(self, indent: str) -> "_Layout":
        return replace(self, indent=indent)


def _layout(text: str, root: Value) -> _Layout:
    newline = "\r\n" if "\r\n" in text else "\n"
    if not root.members:
        return _Layout(newline=newline)
    first = root.members[0]
    if "\n" in text[root.start : first.start]:
        return _Layout(_indent(text, first.start) or "  ", newline)
    unit = "  " if "\n" in text[root.start : root.end] else None
    return _Layout(unit, newline, is_dense=text[first.colon : first.value.start] == ":")


def _added(text: str, at: Value, key: str, data: Any, layout: _Layout) -> str:
    last = at.members[-1] if at.members else None
    if layout.unit is None or (last and "\n" not in text[at.start : last.start]):
        return _added_in_line(text, at, key, data, replace(layout, unit=None))
    outer = _indent(text, at.start)
    inner = _indent(text, last.start) if last else outer + layout.unit
    words = f"{inner}{_name(key)}: {_in_words(data, layout.at(inner))}"
    close = _before_blanks(text, at.end - 1)
    tail = text[close : at.end - 1]
    if "\n" not in tail:
        tail = layout.newline + outer
    head = text[:close]
    if last and not at.has_comma:
        head = f"{text[: last.value.end]},{text[last.value.end : close]}"
    return head + layout.newline + words + "," * at.has_comma + tail + text[at.end - 1 :]


def _added_in_line(text: str, at: Value, key: str, data: Any, layout: _Layout) -> str:
    words = f"{_name(key)}{':' if layout.is_dense else ': '}{_in_words(data, layout)}"
    if not at.members:
        return text[: at.end - 1] + words + text[at.end - 1 :]
    end = after_comma(text, at.members[-1].value.end) if at.has_comma else at.members[-1].value.end
    blank = "" if layout.is_dense else " "
    return f"{text[:end]}{',' * (not at.has_comma)}{blank}{words}{',' * at.has_comma}{text[end:]}"


def _in_words(data: Any, layout: _Layout) -> str:
    if layout.unit is None:
        return json.dumps(data, ensure_ascii=False, separators=(",", ":") if layout.is_dense else (", ", ": "))
    lines = json.dumps(data, ensure_ascii=False, indent=layout.unit).split("\n")
    return f"{layout.newline}{layout.indent}".join(lines)


def _name(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _nested(path: Sequence[str], data: Any) -> Any:
    for key in reversed(path):
        data = {key: data}
    return data


def _indent(text: str, at: int) -> str:
    """Of the line in which `at` stands."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _before_blanks(text: str, at: int) -> int:
    return len(text[:at].rstrip(" \t\r\n"))


def _object(text: str, value: Value, name: str) -> Value:
    if not isinstance(value.data, Mapping):
        fail(text, value.start, f"an object, {{…}}, as {name}")
    return value
