"""What was typed becomes a Service, or is refused before anything is written."""

import grp
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.install.files import Refused
from bridge.services import COMMANDS, Kind, Service

SYSTEM_USER = "tandem"
SYSTEM_DATA = Path("/var/lib/tandem")
# What a worker's engine reads besides our own settings.
ENGINES_OWN = (
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
)
_ON_GPU = ("vllm", "sentence-transformers")
_PASSING = ("archive-v0", "builds-v0", "environments-v2")  # of uv's cache
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True)
class Asked:
    """`paths`: the words that name files or folders. `engine`: a worker's. `data`: where --data or TANDEM_DATA told."""

    kind: Kind
    name: str
    words: Sequence[str]
    paths: Collection[str] = ()
    engine: str | None = None
    has_phoenix: bool = False
    data: Path | None = None
    user: str | None = None
    reads: tuple[Path, ...] = ()


def users_service(asked: Asked, program: Sequence[str], settings: Path, usual_data: Path) -> Service:
    """Raises Refused."""
    _check_name(asked.name)
    if asked.user:
        raise Refused("--user is for --system; a service of your own runs as you")
    return _service(asked, program, settings, asked.data or usual_data, None)


def systems_service(asked: Asked, program: Sequence[str], settings: Path, environment: Mapping[str, str]) -> Service:
    """Raises Refused."""
    _check_name(asked.name)
    person = asked.user or environment.get("SUDO_USER")
    if asked.kind != "daemon":
        return _service(asked, program, settings, asked.data or SYSTEM_DATA, asked.user or SYSTEM_USER)
    if not person or person == "root":
        raise Refused("the daemon of --system reads somebody's files: say whose with --user NAME (not root)")
    home = home_of(person)
    made = _service(asked, program, settings, asked.data or home / ".local/share/tandem", person)
    return replace(made, cache=home / ".cache/tandem")


def home_of(user: str) -> Path:
    """Raises Refused."""
    try:
        return Path(pwd.getpwnam(user).pw_dir)
    except KeyError:
        raise Refused(f"--user was expected to name a user of this machine, there is no {user}") from None


def check_lasting(prefix: Path) -> None:
    """Raises Refused for an environment that will be gone."""
    passing = any(part in _PASSING for part in prefix.parts) or prefix.is_relative_to(tempfile.gettempdir())
    if passing:
        raise Refused(
            f"a service needs a Tandem that stays, this one runs from {prefix}, which may be emptied at any time: "
            "install it (`uv tool install tandem-rag`, or pip into an environment), and ask again with that one"
        )


def barred(path: Path, user: str) -> Path | None:
    """The first folder on the way to `path` that this user may not enter; of a user that is still to be made, none
    that only its owner or group may."""
    try:
        who = pwd.getpwnam(user)
        uid, groups = who.pw_uid, set(os.getgrouplist(user, who.pw_gid))
    except KeyError:
        uid, groups = -1, set[int]()
    return next((one for one in (*reversed(path.parents), path) if not _enters(one, uid, groups)), None)


def _enters(path: Path, uid: int, groups: Collection[int]) -> bool:
    try:
        found = path.stat()
    except OSError:
        return True  # what is not there is told elsewhere
    if uid in (0, found.st_uid):
        return uid == 0 or bool(found.st_mode & stat.S_IXUSR)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid in groups else stat.S_IXOTH))


def _service(asked: Asked, program: Sequence[str], settings: Path, data: Path, user: str | None) -> Service:
    words = [_absolute(word, asked.paths) for word in asked.words]
    on_gpu = asked.engine in _ON_GPU
    return Service(
        asked.name,
        asked.kind,
        (*program, COMMANDS[asked.kind], "--data", str(data), *words),
        data,
        settings,
        user,
        asked.reads,
        computes_on_gpu=on_gpu,
        makes_code=on_gpu or asked.has_phoenix,
        groups=tuple(filter(_is_group, ("render", "video"))) if on_gpu and user else (),
    )


def _absolute(word: str, paths: Collection[str]) -> str:
    """The service does not start in the folder where this was typed."""
    name, sign, value = word.partition("=")
    if word in paths:
        return str(Path(word).expanduser().absolute())
    if name.startswith("--") and sign and value in paths:
        return f"{name}={Path(value).expanduser().absolute()}"
    return word


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refused(f"--name was expected to have small letters, digits and dashes, it is {name!r}")
