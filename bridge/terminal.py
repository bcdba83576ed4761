"""What a command says on stdout: words for people, or JSON."""

import dataclasses
from collections.abc import Sequence

import msgspec

# JSON leaves them as they are, and a terminal may obey them.
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def say_json(data: object) -> None:
    if dataclasses.is_dataclass(data):
        data = msgspec.to_builtins(data)
    say(msgspec.json.encode(data).decode().translate(_CONTROLS))


def printable(text: str) -> str:
    """A file may hold escape codes that would move the cursor or rename the window."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be, each cell on one line."""
    lines = [[" ".join(on_one_line(cell).split()) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
