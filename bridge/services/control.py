"""The service managers: systemctl and loginctl, launchctl. Each method raises Refused in the manager's own words."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.install.files import Refused
from bridge.services import Kind
from bridge.services.launchd import label
from bridge.services.places import Places

_LIMIT_S = 330.0  # a daemon has 300 s to be ready
_LINGERING = Path("/var/lib/systemd/linger")
_SHOWN = ("ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText", "Result", "ExecMainStatus")


@dataclass(frozen=True, slots=True)
class State:
    """`is_running`: None where no manager tells. `told`: in the manager's words; `says`: in the program's own."""

    is_running: bool | None
    told: str
    pid: int | None = None
    restarts: int = 0
    says: str = ""


UNKNOWN = State(None, "no service manager runs here")


@dataclass(frozen=True, slots=True)
class Systemd:
    is_system: bool

    @property
    def runs(self) -> bool:
        return Path("/run/systemd/system").is_dir()

    def words(self, *words: str) -> list[str]:
        return ["systemctl", *(() if self.is_system else ("--user",)), *words]

    def start(self, name: str, kind: Kind, file: Path, *, again: bool) -> None:
        """From now on and with each start of the machine. `again`: what it runs has changed."""
        unit = file.name
        _run(self.words("daemon-reload"))
        _run(self.words("enable", "--quiet", unit))
        # A worker is ready once its model is loaded, which is not waited for.
        patience = ("--no-block",) if kind == "worker" else ()
        _run(self.words("restart" if again else "start", *patience, unit))

    def stop(self, name: str, file: Path) -> None:
        _run(self.words("disable", "--quiet", "--now", file.name))

    def forget(self) -> None:
        _run(self.words("daemon-reload"))

    def state(self, name: str, file: Path) -> State:
        try:
            said = _run(self.words("show", f"--property={','.join(_SHOWN)}", file.name))
        except Refused as error:
            return State(None, str(error))
        found = _pairs(said, "=")
        active, now = found.get("ActiveState", ""), found.get("SubState", "")
        told = f"{active} ({now})"
        if active == "failed":
            told += f", {found.get('Result')}, exit status {found.get('ExecMainStatus')}"
        if (enabled := found.get("UnitFileState")) != "enabled":
            told += f", {enabled or 'not known to systemd'}"
        pid, restarts = _number(found.get("MainPID")), _number(found.get("NRestarts"))
        starts = active == "activating" and now != "auto-restart"
        return State(
            None if starts else active in ("active", "reloading"),
            told,
            pid or None,
            restarts,
            found.get("StatusText", ""),
        )

    def by_hand(self, file: Path) -> str:
        command = " ".join(self.words("enable", "--now", file.name))
        return f"{' '.join(self.words('daemon-reload'))} && {command}"


@dataclass(frozen=True, slots=True)
class Launchd:
    is_system: bool

    @property
    def runs(self) -> bool:
        return True

    @property
    def domain(self) -> str:
        return "system" if self.is_system else f"gui/{os.getuid()}"

    def start(self, name: str, kind: Kind, file: Path, *, again: bool) -> None:
        if self.state(name, file).is_running is not None:
            if not again:
                _run(["launchctl", "kickstart", f"{self.domain}/{label(name)}"])
                return
            self.stop(name, file)
        _run(["launchctl", "bootstrap", self.domain, str(file)])

    def stop(self, name: str, file: Path) -> None:
        if self.state(name, file).is_running is not None:
            _run(["launchctl", "bootout", f"{self.domain}/{label(name)}"])

    def forget(self) -> None:
        """launchd has nothing to read again."""

    def state(self, name: str, file: Path) -> State:
        try:
            said = _run(["launchctl", "print", f"{self.domain}/{label(name)}"])
        except Refused:
            return State(None, "not loaded")
        found = _pairs(said, " = ")
        told = found.get("state", "unknown")
        if status := found.get("last exit code"):
            told += f", last exit status {status}"
        return State(
            told.startswith("running"), told, _number(found.get("pid")) or None, max(0, _number(found.get("runs")) - 1)
        )

    def by_hand(self, file: Path) -> str:
        return f"launchctl bootstrap {self.domain} {file}"


Manager = Systemd | Launchd


def manager(places: Places) -> Manager:
    return Launchd(places.is_system) if places.is_launchd else Systemd(places.is_system)


def lingers(user: str) -> bool:
    """Whether this user's services run without somebody logged in."""
    return (_LINGERING / user).exists()


def linger(user: str) -> None:
    _run(["loginctl", "enable-linger", user])


def make_user(name: str, home: Path) -> None:
    _run(["systemd-sysusers", "--inline", f'u {name} - "Tandem" {home}'])


def make_folder(folder: Path, user: str) -> None:
    """That user's, made by that user where they may: nothing that root makes lies in their home. Raises Refused."""
    who = pwd.getpwnam(user)
    words, groups = ["mkdir", "-p", "-m", "700", str(folder)], os.getgrouplist(user, who.pw_gid)
    made = subprocess.run(  # noqa: S603
        words, stderr=subprocess.DEVNULL, check=False, user=who.pw_uid, group=who.pw_gid, extra_groups=groups
    )
    if made.returncode == 0:
        return
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, who.pw_uid, who.pw_gid)
    except FileExistsError:
        raise Refused(
            f"{folder} was expected to be a folder that {user} may enter: let them, or choose another"
        ) from None
    except OSError as error:
        raise Refused(f"{folder} cannot be made ({error.strerror}): make it, as {user}'s, and ask again") from error


def _run(command: Sequence[str]) -> str:
    """What it says on stdout. Raises Refused."""
    words = " ".join(command)
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise Refused(f"{command[0]} was expected on this machine, and is not there") from error
    except subprocess.TimeoutExpired as error:
        raise Refused(f"`{words}` was expected to end within {_LIMIT_S:g} s, and goes on") from error
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip() or f"exit status {ended.returncode}"
        raise Refused(f"`{words}` failed: {said}")
    return ended.stdout.decode(errors="replace")


def _pairs(said: str, sign: str) -> dict[str, str]:
    parted = (line.strip().partition(sign) for line in said.splitlines())
    return {name: value for name, found, value in parted if found}


def _number(word: str | None) -> int:
    return int(word) if word and word.isdecimal() else 0
