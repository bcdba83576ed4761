"""What a client's file says of Tandem: the command that it starts, from any folder and without a shell's PATH."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

NAME = "tandem"
# Another kind of entry's, and what is said anew each time.
_REPLACED = ("type", "url", "serverUrl", "headers", "env")


def entry(command: Sequence[str], data: Path | None, watch: Sequence[str], has_type: bool) -> dict[str, Any]:
    """`data`: the index's folder, where it is not the one that `tandem mcp` finds by itself."""
    folders = [word for folder in watch for word in ("--watch", folder)]
    made: dict[str, Any] = {"type": "stdio"} if has_type else {}
    made |= {"command": command[0], "args": [*command[1:], "mcp", *folders]}
    return made | ({"env": {"TANDEM_DATA": str(data)}} if data else {})


def merged(old: object, new: Mapping[str, Any]) -> dict[str, Any]:
    """`new`, with what somebody has added to `old`: settings in `env`, and keys that a client has of its own."""
    kept = {key: value for key, value in _object(old).items() if key not in (*_REPLACED, *new)}
    own = {key: value for key, value in _object(_object(old).get("env")).items() if key != "TANDEM_DATA"}
    settings = own | _object(new.get("env"))
    return dict(new) | kept | ({"env": settings} if settings else {})


def own_command(
    environment: Mapping[str, str], executable: str = sys.executable, platform: str = sys.platform
) -> list[str]:
    """How this very Tandem is started again."""
    uv = environment.get("UV")
    if uv and any(part.startswith("archive-v") for part in Path(executable).parts):
        # `uvx` has put us into its cache, which it may empty: it is to be asked again.
        came_from = _wheel()
        uvx = str(Path(uv).with_name("uvx.exe" if platform == "win32" else "uvx"))
        return [uvx, *(("--from", came_from) if came_from else ()), "tandem-rag"]
    script = Path(executable).with_name("tandem.exe" if platform == "win32" else "tandem")
    # -P: a folder named `bridge` in the client's working folder is not to be taken for ours.
    return [str(script)] if script.is_file() else [executable, "-P", "-m", "bridge.cli"]


def _wheel() -> str | None:
    """The file that we were installed from, where it was one."""
    try:
        told = json.loads(distribution("tandem-rag").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return None
    place = urlsplit(str(told.get("url", "")))
    return unquote(place.path) if place.scheme == "file" else None


def data_of(entry: Mapping[str, Any]) -> str | None:
    """The folder that an entry names; None where it leaves it to Tandem."""
    words = arguments_of(entry)
    for n, word in enumerate(words):
        if word == "--data" and n + 1 < len(words):
            return words[n + 1]
        if word.startswith("--data="):
            return word.removeprefix("--data=")
    named = _object(entry.get("env")).get("TANDEM_DATA")
    return str(named) if named else None


def arguments_of(entry: Mapping[str, Any]) -> list[str]:
    words: Any = entry.get("args")
    return [str(word) for word in cast("list[object]", words)] if isinstance(words, list) else []


def _object(data: object) -> dict[str, Any]:
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
