"""JSON with comments becomes data, and each value's place in the text.

Comments (// and /* */), trailing commas and a byte order mark are taken as they come. Pure.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

_DEEPEST = 200
_BLANK = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"[-+.\w]+")


class Broken(Exception):
    """A text that is no JSON with comments, or not of the shape that was needed; the message has line and column."""


@dataclass(frozen=True, slots=True)
class Value:
    """`text[start:end]`. `members` are an object's; `has_comma`: one follows the last of them."""

    start: int
    end: int
    data: Any
    members: tuple["Member", ...] = ()
    has_comma: bool = False

    def find(self, key: str) -> "Member | None":
        """The last of that name, which is the one that readers of JSON take."""
        return next((member for member in reversed(self.members) if member.key == key), None)


@dataclass(frozen=True, slots=True)
class Member:
    """`colon` is where the blanks before it begin, or it itself."""

    start: int
    key: str
    colon: int
    value: Value


def parse(text: str) -> Value:
    """Of a text without a value: None, of no length, at its end. Raises Broken."""
    start = after_blanks(text, 1 if text.startswith("\ufeff") else 0)
    if start == len(text):
        return Value(start, start, None)
    value = _value(text, start, 0)
    if (after := after_blanks(text, value.end)) < len(text):
        fail(text, after, "the end of the file")
    return value


def after_blanks(text: str, at: int) -> int:
    """Past blanks and comments. Raises Broken where a comment has no end."""
    found = _BLANK.match(text, at)
    end = found.end() if found else at
    if text.startswith("/*", end):
        fail(text, end, "a comment that ends in */")
    return end


def after_comma(text: str, end: int) -> int:
    """Past the comma that follows a value which ends at `end`; `end` where none does."""
    at = after_blanks(text, end)
    return at + 1 if text[at : at + 1] == "," else end


def fail(text: str, at: int, expected: str) -> NoReturn:
    line, column = text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
    came = repr(text[at]) if at < len(text) else "the end of the file"
    raise Broken(f"line {line}, column {column}: {expected} was expected, {came} came")


def _value(text: str, at: int, depth: int) -> Value:
    if depth > _DEEPEST:
        fail(text, at, f"a value at most {_DEEPEST} levels deep")
    if text[at : at + 1] == "{":
        return _object(text, at, depth)
    if text[at : at + 1] == "[":
        return _array(text, at, depth)
    word = _STRING.match(text, at) or _WORD.match(text, at)
    return Value(at, word.end(), _data(text, at, word[0])) if word else fail(text, at, "a value")


def _data(text: str, at: int, word: str) -> Any:
    try:
        return json.loads(word, parse_constant=_no_constant)
    except ValueError:
        return fail(text, at, "a value (true, false, null, a number, or text in double quotes)")


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def _object(text: str, start: int, depth: int) -> Value:
    members: list[Member] = []
    at, may_go_on = after_blanks(text, start + 1), True
    while text[at : at + 1] != "}":
        if not may_go_on:
            fail(text, at, "a comma or }")
        if not (name := _STRING.match(text, at)):
            fail(text, at, "a name in double quotes, or }")
        colon = after_blanks(text, name.end())
        if text[colon : colon + 1] != ":":
            fail(text, colon, "a colon")
        value = _value(text, after_blanks(text, colon + 1), depth + 1)
        members.append(Member(at, _data(text, at, name[0]), name.end(), value))
        at, may_go_on = _next(text, value.end)
    data = {member.key: member.value.data for member in members}
    return Value(start, at + 1, data, tuple(members), bool(members) and may_go_on)


def _array(text: str, start: int, depth: int) -> Value:
    data: list[Any] = []
    at, may_go_on = after_blanks(text, start + 1), True
    while text[at : at + 1] != "]":
        if not may_go_on:
            fail(text, at, "a comma or ]")
        value = _value(text, at, depth + 1)
        data.append(value.data)
        at, may_go_on = _next(text, value.end)
    return Value(start, at + 1, data)


def _next(text: str, end: int) -> tuple[int, bool]:
    """Where the next item or the closing bracket is, and whether a comma came before."""
    comma = after_comma(text, end)
    return after_blanks(text, comma), comma > end
