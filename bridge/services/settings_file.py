"""The settings of a service, one `NAME=value` a line, as systemd or python-dotenv reads them. Pure."""

from collections.abc import Mapping

from bridge.services.kept import is_untouched, marked


class Unwritable(Exception):
    """A value that such a file cannot hold; the message says which and why."""


def merged(before: bytes | None, values: Mapping[str, str], *, is_dotenv: bool = False) -> bytes:
    """`before` with these values; what else stands in it stays. Raises Unwritable."""
    lines = (before or b"").decode(errors="surrogateescape").splitlines()
    ours = before is None or is_untouched(before)
    lines = lines[1:] if before is not None and ours else lines
    for name, value in values.items():
        line = f"{name}={(_for_dotenv if is_dotenv else _for_systemd)(name, value)}"
        places = [n for n, one in enumerate(lines) if one.strip().partition("=")[0].strip() == name]
        if places:
            lines[places[-1]] = line
        else:
            lines.append(line)
    text = "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
    return marked(text) if ours else text


def _for_systemd(name: str, value: str) -> str:
    escaped = _checked(name, value)
    for character in '\\"`$':
        escaped = escaped.replace(character, f"\\{character}")
    return f'"{escaped}"'


def _for_dotenv(name: str, value: str) -> str:
    if "${" in value:
        raise Unwritable(f"{name} has ${{ in it, which .env takes for a variable: choose another value")
    return "'" + _checked(name, value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def _checked(name: str, value: str) -> str:
    if not value.isprintable():
        raise Unwritable(f"{name} was expected to have no line breaks and control characters")
    return value
