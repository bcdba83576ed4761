"""The services that are installed here: what their files say, and what is wrong with them."""

import os
import plistlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.services import COMMANDS, Kind
from bridge.services.control import UNKNOWN, State, manager
from bridge.services.kept import is_ours
from bridge.services.places import Places

_REDIS_URL = re.compile(rb"""^[ \t]*REDIS_URL[ \t]*=[ \t]*["']?[^"'\s]""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installed:
    """`problem`: what keeps it from running, None where nothing is known to."""

    name: str
    scope: str
    file: str
    program: str
    running: bool | None
    state: str
    pid: int | None
    restarts: int
    says: str
    problem: str | None


def installed(everywhere: Sequence[Places]) -> Iterator[Installed]:
    for places, name, file, starts in _units(everywhere):
        yield _examined(places, name, file, starts[0] if starts else "")


def naming_a_queue(everywhere: Sequence[Places], kind: Kind, data: Path) -> Iterator[tuple[str, Path]]:
    """The services of this kind on this data folder whose file of settings, which is told too, sets REDIS_URL. What
    may not be read is passed over."""
    for places, name, _, starts in _units(everywhere):
        settings = places.settings_of(name)
        if COMMANDS[kind] in starts and str(data) in starts and _REDIS_URL.search(_read(settings)):
            yield name, settings


def _units(everywhere: Sequence[Places]) -> Iterator[tuple[Places, str, Path, list[str]]]:
    for places in everywhere:
        for file in _named_ours(places.units):
            name = places.name_of(file)
            if name and is_ours(data := _read(file)):
                yield places, name, file, command(data)


def _named_ours(folder: Path) -> list[Path]:
    """None where it is not there, or may not be looked into."""
    try:
        return sorted(folder.glob("tandem*"))
    except OSError:
        return []


def _read(file: Path) -> bytes:
    """Nothing of what may not be read."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def command(unit: bytes) -> list[str]:
    """What a unit or property list of ours starts; empty where that cannot be read."""
    try:
        if unit.startswith(b"<?xml"):
            return [*map(str, plistlib.loads(unit[: unit.index(b"</plist>") + 8])["ProgramArguments"])]
        found = re.search(rb"^ExecStart=(.*)$", unit, re.MULTILINE)
        # Quotes and backslashes as a shell has them; of what systemd expands only the doubled signs are ours.
        words = shlex.split(found[1].decode()) if found else []
        return [word.replace("%%", "%").replace("$$", "$") for word in words]
    except (ValueError, KeyError, TypeError, plistlib.InvalidFileException):
        return []


def unusable(starts: Path) -> str | None:
    """Why this program cannot be started, of one that `pip` wrote also for its interpreter's sake."""
    if not os.access(starts, os.X_OK) or not starts.is_file():
        return "which is not there, or no program"
    with starts.open("rb") as file:
        first = file.read(256).partition(b"\n")[0].decode(errors="replace")
    interpreter = first.removeprefix("#!").split(" ")[0]
    if first.startswith("#!/") and not os.access(interpreter, os.X_OK):
        return f"whose interpreter {interpreter} is gone"
    return None


def _examined(places: Places, name: str, file: Path, starts: str) -> Installed:
    ours = manager(places)
    state = ours.state(name, file) if ours.runs else UNKNOWN
    scope = "system" if places.is_system else "user"
    problem = _problem(state, starts)
    return Installed(
        name, scope, str(file), starts, state.is_running, state.told, state.pid, state.restarts, state.says, problem
    )


def _problem(state: State, starts: str) -> str | None:
    if not starts:
        return "its file does not say what to start"
    if (broken := unusable(Path(starts))) is not None:
        return f"it starts {starts}, {broken}"
    if state.is_running is False:
        return f"it does not run: {state.told}"
    return None
