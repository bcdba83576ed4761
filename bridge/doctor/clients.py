"""What the clients' own files say of us: can they be read, does what they start exist, is it this index."""

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from bridge.doctor.check import Check, in_thread
from bridge.doctor.recorded import Recorded
from bridge.install import Refused, Target, target
from bridge.install.entry import arguments_of, data_of
from bridge.install.places import CLIENTS, Name
from bridge.settings import Settings
from bridge.whereabouts import users_data


async def clients(settings: Settings, _recorded: Recorded) -> list[Check]:
    return await in_thread(partial(_clients, settings.data))


def _clients(data: Path) -> list[Check]:
    found = [check for name in CLIENTS if (check := examined(name, target(name), data))]
    if found:
        return found
    remedy = f"add it: `tandem install {'|'.join(CLIENTS)}`"
    return [Check("clients", "off", "no client's file names tandem", remedy)]


def examined(name: Name, ours: Target, data: Path) -> Check | None:
    """None where the file does not name us."""
    again = f"`tandem install {name}` writes it anew"
    try:
        entry = ours.entry()
    except Refused as error:
        return Check("clients", "failed", f"{ours.client.title} cannot read its servers: {error}", "correct that file")
    if entry is None:
        return None
    where = f"{ours.client.title} ({ours.file})"
    if not isinstance(entry, Mapping):
        return Check("clients", "failed", f"{where} was expected to name a command for tandem", again)
    told = cast("Mapping[str, Any]", entry)
    if "command" not in told and told.get("url"):
        return Check("clients", "ok", f"{where} asks the daemon at {told['url']}; it must run: `tandem up`")
    command = str(told.get("command", ""))
    if (problem := _unusable(command)) is not None:
        return Check("clients", "failed", f"{where} was expected to start tandem: {problem}", again)
    theirs = Path(data_of(told) or users_data()).expanduser().resolve()
    if theirs != data:
        found = f"{where} has the index in {theirs}, the settings here have it in {data}"
        return Check("clients", "warning", found, f"where that is not meant: `tandem install {name} --data {data}`")
    if not os.path.isabs(command):  # noqa: PTH117 (a word, not a path, until then)
        found = f"{where} starts {command} by the PATH, which a client may have another one of"
        return Check("clients", "warning", found, again)
    away = [folder for folder in _watched(told) if not Path(folder).is_dir()]
    if away:
        found = f"{where} watches {', '.join(away)}, which cannot be read now"
        return Check("clients", "warning", found, "connect its disk; if it is gone, take it out of that file")
    return Check("clients", "ok", f"{where} starts {command}")


def _unusable(command: str) -> str | None:
    if not command:
        return "no command is named"
    if shutil.which(command) is None:
        return f"{command} is not there, or no program"
    return None


def _watched(entry: Mapping[str, Any]) -> list[str]:
    words = arguments_of(entry)
    return [words[n + 1] for n, word in enumerate(words[:-1]) if word == "--watch"]
