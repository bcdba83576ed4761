"""What lies where in the data folder, and the lock that makes one process its owner."""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge import VERSION
from bridge.whereabouts import sockets, unwritable

_CONNECT_S = 5.0


class Held(Exception):
    """Another process owns the data folder; the message says which."""


class Folder:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.catalog = data / "catalog.sqlite3"
        self.stores = data / "store"
        self.lock = data / "lock"
        self.log = data / "daemon.log"
        self.tokens = data / "tokens.json"

    @property
    def http_socket(self) -> Path:
        return self._sockets() / "http.sock"

    @property
    def mcp_socket(self) -> Path:
        return self._sockets() / "mcp.sock"

    def make(self) -> None:
        """What lies in it is the user's alone, also in a folder that was there before: see the umask in `cli`."""
        with _worded(self.data):
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _sockets(self) -> Path:
        return Path(sockets(str(self.data)))


def running(socket_path: str) -> bool:
    """Whether a daemon listens there, a hanging one included. Returns at once."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_S)
        with suppress(OSError):
            connection.connect(socket_path)
            return True
    return False


def held(folder: Folder) -> bool:
    """Whether some process owns the data folder now."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def holding(folder: Folder) -> Generator[None]:
    """Owns the data folder until left, or until the process dies. Raises Held at once where another does."""
    folder.make()
    with _worded(folder.data):
        descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Held(_holder(folder)) from error
        command = " ".join(["tandem", *sys.argv[1:2]])
        told = {"pid": os.getpid(), "command": command, "since": time.strftime("%H:%M:%S"), "version": VERSION}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(told).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(folder: Folder) -> str:
    try:
        told = json.loads(folder.lock.read_text())
        who = f"process {told['pid']} (`{told['command']}`, since {told['since']})"
        is_daemon = told["command"] == "tandem up"
    except (OSError, ValueError, KeyError, TypeError):
        who, is_daemon = "another process", False
    remedy = "stop it with `tandem down`" if is_daemon else "let it end"
    return f"{folder.data} is in use by {who}; {remedy}, or use another folder with --data"


@contextmanager
def _worded(place: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(place, error) from error
