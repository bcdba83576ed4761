"""`tandem install`: a client's file names this Tandem, or no more, and keeps every other byte.

places    which file, on which system         jsonc, editing   its text, changed in place
entry     what it says of us                  files            written in one step, with a backup
"""

import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.install.editing import set_member, without_member
from bridge.install.entry import NAME, merged
from bridge.install.files import Refused, Written, backups, content, replaced
from bridge.install.jsonc import Broken, Member, parse
from bridge.install.places import CLIENTS, Client, Name, project_file, user_files

__all__ = ["Refused", "Target", "target"]


def target(name: Name, project: Path | None = None) -> "Target":
    """The user's own file, or that of a `project`'s folder. Raises Refused where a client has no such file."""
    client = CLIENTS[name]
    if project is not None:
        if (file := project_file(name, project)) is None:
            raise Refused(f"{client.title} has no servers of a project: leave --project out")
        return Target(client, Path(file))
    places = [Path(file) for file in user_files(name, sys.platform, os.environ, str(Path.home()))]
    return Target(client, next((file for file in places if file.parent.is_dir()), places[-1]))


@dataclass(frozen=True, slots=True)
class Target:
    """One client's file. Each method raises Refused, and has then changed nothing."""

    client: Client
    file: Path

    def install(self, entry: Mapping[str, Any]) -> Written | None:
        """None where the file says this already."""
        return replaced(self.file, lambda before: self.with_entry(before, entry))

    def uninstall(self) -> Written | None:
        """None where the file does not name us."""
        return replaced(self.file, self.without_entry)

    def with_entry(self, before: bytes | None, entry: Mapping[str, Any]) -> bytes:
        with self._worded():
            text = (before or b"").decode()
            ours = self._ours(text)
            wanted = merged(ours.value.data if ours else None, entry)
            if before is not None and ours and ours.value.data == wanted:
                return before
            return set_member(text, self._path, wanted).encode()

    def without_entry(self, before: bytes | None) -> bytes | None:
        """The bytes from before us, where nothing but our entry came since; else what is there, without us."""
        with self._worded():
            text = (before or b"").decode()
            ours = self._ours(text)
            if before is None or ours is None:
                return before
            for former in (*(content(backup) for backup in backups(self.file)), None):
                if self._becomes(former, ours.value.data, before):
                    return former
            while self._ours(text):
                text = without_member(text, self._path)
            return text.encode()

    def entry(self) -> Any:
        """What the file says of us; None where it does not."""
        with self._worded():
            ours = self._ours((content(self.file) or b"").decode())
        return ours.value.data if ours else None

    def _becomes(self, former: bytes | None, entry: Any, now: bytes) -> bool:
        try:
            text = (former or b"").decode()
            return self._ours(text) is None and set_member(text, self._path, entry).encode() == now
        except (Broken, UnicodeError):
            return False

    def _ours(self, text: str) -> Member | None:
        servers = parse(text).find(self.client.servers)
        return servers.value.find(NAME) if servers else None

    @property
    def _path(self) -> tuple[str, str]:
        return self.client.servers, NAME

    @contextmanager
    def _worded(self) -> Generator[None]:
        try:
            yield
        except Broken as error:
            raise Refused(f"{self.file}, {error}; correct it, or move the file away: nothing was written") from error
        except UnicodeError as error:
            raise Refused(f"{self.file} was expected to be text in UTF-8 ({error}): save it as that") from error
        except OSError as error:
            raise Refused(f"{self.file} cannot be read ({error.strerror}): allow it") from error
