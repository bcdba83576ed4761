"""A JSON text with comments, edited in place."""

import json
import random
from typing import Any

import pytest

from bridge.install.editing import set_member, without_member
from bridge.install.jsonc import Broken, parse

OURS = {"command": "/opt/tandem", "args": ["mcp"]}
PATH = ("mcpServers", "tandem")

SPREAD = """{
  // what I use
  "theme": "dark", /* of course */
  "mcpServers": {
    "files": { "command": "npx", "args": ["-y", "files"] }, // keep
    "notes": {
      "command": "notes" // no comma here
    }
    // "away": {},
  }
}
"""


def test_a_member_is_added_last_in_the_layout_of_its_neighbours() -> None:
    assert (
        set_member(SPREAD, PATH, OURS)
        == """{
  // what I use
  "theme": "dark", /* of course */
  "mcpServers": {
    "files": { "command": "npx", "args": ["-y", "files"] }, // keep
    "notes": {
      "command": "notes" // no comma here
    },
    // "away": {},
    "tandem": {
      "command": "/opt/tandem",
      "args": [
        "mcp"
      ]
    }
  }
}
"""
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a":1}', '{"a":1,"mcpServers":{"tandem":1}}'),
        ('{"a": 1,}', '{"a": 1, "mcpServers": {"tandem": 1},}'),
        ('{ "mcpServers": { "x": 1 /* y */ } }', '{ "mcpServers": { "x": 1, "tandem": 1 /* y */ } }'),
        ('{\n\t"mcpServers": {}\n}', '{\n\t"mcpServers": {\n\t\t"tandem": 1\n\t}\n}'),
        ('{\n\t"mcpServers": {\n\t\t"x": 1,\n\t}\n}', '{\n\t"mcpServers": {\n\t\t"x": 1,\n\t\t"tandem": 1,\n\t}\n}'),
        ('{\r\n    "a": 1\r\n}', '{\r\n    "a": 1,\r\n    "mcpServers": {\r\n        "tandem": 1\r\n    }\r\n}'),
        ('{"mcpServers": {"tandem": {"x": [1, 2]}, "y": 0}}', '{"mcpServers": {"tandem": 1, "y": 0}}'),
        ("", '{\n  "mcpServers": {\n    "tandem": 1\n  }\n}\n'),
        ("// mine", '// mine\n{\n  "mcpServers": {\n    "tandem": 1\n  }\n}\n'),
        ("\ufeff{}", '\ufeff{\n  "mcpServers": {\n    "tandem": 1\n  }\n}'),
    ],
)
def test_every_layout_is_kept(before: str, after: str) -> None:
    assert set_member(before, PATH, 1) == after


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1 "b": 2}', "line 1, column 9: a comma or } was expected, '\"' came"),
        ('{\n  "a": {\n', "line 3, column 1: a name in double quotes, or } was expected, the end of the file came"),
        ("{'a': 1}", 'line 1, column 2: a name in double quotes, or } was expected, "\'" came'),
        ('{"a": 1} x', "line 1, column 10: the end of the file was expected, 'x' came"),
        ('{"a": tru}', "line 1, column 7: a value"),
        ('{"a": NaN}', "line 1, column 7: a value"),
        ('{"a": "open}', "line 1, column 7: a value"),
        ('{"a": [1 2]}', "line 1, column 10: a comma or ]"),
        ('{"a": 1, /* no end }', "line 1, column 10: a comment that ends in */"),
        ("{,}", "line 1, column 2: a name in double quotes, or }"),
        ('{"a" 1}', "line 1, column 6: a colon"),
        ("[" * 100_000, "line 1, column 202: a value at most 200 levels deep"),
        ("[1]", "line 1, column 1: an object"),
        ('{\n "mcpServers": [1]}', 'line 2, column 16: an object, {…}, as "mcpServers" was expected'),
    ],
)
def test_a_broken_text_is_refused_and_the_place_is_named(text: str, message: str) -> None:
    with pytest.raises(Broken) as refusal:
        set_member(text, PATH, OURS)
    assert str(refusal.value).startswith(message)


def test_strings_that_look_like_comments_and_brackets_are_strings() -> None:
    text = '{"url": "http://x//y", "glob": "**/*.{md,\\"txt\\"}", "mcpServers": {"a": "/* */ }"}}'
    after = set_member(text, PATH, OURS)
    assert json.loads(after) == {**json.loads(text), "mcpServers": {"a": "/* */ }", "tandem": OURS}}
    assert without_member(after, PATH) == text


def test_of_two_members_of_one_name_the_last_counts_as_it_does_for_every_reader() -> None:
    text = '{"mcpServers": {"tandem": 1}, "mcpServers": {"tandem": 2}}'
    assert set_member(text, PATH, 3) == '{"mcpServers": {"tandem": 1}, "mcpServers": {"tandem": 3}}'


def test_only_ours_is_taken_out_wherever_it_stands() -> None:
    for text in ('{"tandem": 1, "b": 2}', '{"a": 0, "tandem": 1}', '{"a": 0, "tandem": 1, "b": 2,}', '{"tandem": 1,}'):
        assert parse(without_member(text, ("tandem",))).data == {
            key: value for key, value in parse(text).data.items() if key != "tandem"
        }


def test_two_thousand_random_files_come_back_to_the_byte_and_say_what_they_should_meanwhile() -> None:
    chance = random.Random(8)
    for _ in range(2_000):
        newline = chance.choice(["\n", "\r\n"])
        text = (
            chance.choice(["", "\ufeff"])
            + _written(chance, newline)
            + chance.choice(["", newline, f"{newline} // end"])
        )
        before = parse(text).data
        after = set_member(text, PATH, OURS)
        said = parse(after).data
        assert said["mcpServers"].pop("tandem") == OURS, text
        assert said == {**before, "mcpServers": before["mcpServers"]}, text
        assert list(said) == list(before)
        assert without_member(after, PATH) == text, after
        assert set_member(after, PATH, OURS) == after


def _written(chance: random.Random, newline: str) -> str:
    """An object with servers of other names, in a layout of chance."""
    unit = chance.choice(["  ", "\t", "    "])
    servers = [
        (f"s{n}", chance.choice(['{"command": "x"}', "{}", "1", '"a // b"'])) for n in range(chance.randint(1, 3))
    ]
    inner = _object(chance, servers, newline, unit, 2)
    members = [(f"k{n}", chance.choice(["[1, 2,]", "null", '{"tandem": 0}'])) for n in range(chance.randint(0, 3))]
    members.insert(chance.randint(0, len(members)), ("mcpServers", inner))
    return _object(chance, members, newline, unit, 1)


def _object(chance: random.Random, members: list[tuple[str, Any]], newline: str, unit: str, depth: int) -> str:
    is_spread = chance.random() < 0.7
    gap = newline + unit * depth if is_spread else " "
    note = f" // {chance.choice(['note', '{', ','])}{newline}" if is_spread else " /* } , */ "
    parts = [f"{gap}{json.dumps(key)}: {value}" for key, value in members]
    text = f",{note if chance.random() < 0.4 else ''}".join(parts)
    text += chance.choice(["", ",", f" {note.rstrip()}" if is_spread else note])
    return "{" + text + (newline + unit * (depth - 1) if is_spread else "") + "}"
