"""`tandem service`: a part of Tandem that the system starts with the machine, and again when it failed.

asked     what was typed becomes a Service       kept      files of ours, told from those that somebody changed
systemd, launchd   a Service becomes text        control   systemctl, launchctl and loginctl are called
places    where it lies                          command   all of it in words
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["queue", "worker", "daemon"]
KINDS: tuple[Kind, ...] = ("queue", "worker", "daemon")
COMMANDS: dict[Kind, str] = {"queue": "queue", "worker": "worker", "daemon": "up"}
TITLES: dict[Kind, str] = {
    "queue": "Tandem's queue (Redis with TLS)",
    "worker": "A worker of Tandem",
    "daemon": "Tandem's daemon: watch, index, serve",
}


@dataclass(frozen=True, slots=True)
class Service:
    """`command`: absolute, and no secret in it: everybody on the machine reads it. `settings`: the file with those, for
    its user alone. `user`: None where the user's own service manager runs it. `reads`: where the program lies;
    `cache`: where it keeps what it computed of its model, outside of `data`."""

    name: str
    kind: Kind
    command: tuple[str, ...]
    data: Path
    settings: Path
    user: str | None = None
    reads: tuple[Path, ...] = ()
    cache: Path | None = None
    computes_on_gpu: bool = False
    makes_code: bool = False  # as torch and its kin do while they run
    groups: tuple[str, ...] = ()

    @property
    def stop_s(self) -> int:
        """A worker has 30 s to end or hand back what it took, vLLM some for itself; Redis writes its last file."""
        return {"queue": 60, "worker": 60, "daemon": 30}[self.kind]
