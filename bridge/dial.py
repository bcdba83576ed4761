"""A connection to the daemon, which is started where none listens.

Only the standard library: the relay uses it, once for each client, and must be up at once.
"""
# pathlib would cost each relay 5 ms of its start.
# ruff: noqa: PTH103, PTH120, PTH123, PTH202

import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence

START_S = 30.0
DIAL_S = 5.0
DYING_S = 0.5


class CannotStart(Exception):
    """No daemon to talk to; the message gives the reason and names the daemon's log file."""


def connect(
    socket_path: str,
    start_daemon: Sequence[str],
    log_path: str,
    wanted: Callable[[], bool],
    say: Callable[[str], None],
    grace_s: float,
) -> socket.socket | None:
    """A connection to the daemon, which is started where none listens; None once it is no longer wanted.

    However many relays want one at once, one daemon is started: by who holds the lock, while the others watch
    for its socket. A daemon that ends may have found the data folder taken by one that is still on its way to
    its socket: that has `grace_s`.
    """
    try:
        os.makedirs(os.path.dirname(socket_path) or ".", mode=0o700, exist_ok=True)
        with open(socket_path + ".starting", "ab") as lock:
            return _connect_or_start(
                socket_path, lambda: _Start(start_daemon, log_path, say, grace_s), log_path, wanted, lock.fileno()
            )
    except OSError as error:
        raise CannotStart(f"cannot start the daemon at {socket_path}: {error}; its log: {log_path}") from error


def peer(connection: socket.socket) -> int:
    """The process that listens there; 0 where the system cannot tell."""
    try:
        if sys.platform == "linux":
            told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        else:
            told = connection.getsockopt(0, 2, 4)  # macOS: SOL_LOCAL, LOCAL_PEERPID
    except OSError:
        return 0
    return int.from_bytes(told[:4], sys.byteorder)


def let_die(socket_path: str, gone: int) -> None:
    """Waits while the socket of the process `gone`, whose connection has ended, may outlive it by moments: a
    request sent there would be lost with it. Returns at the latest when the process is plainly alive."""
    until = time.monotonic() + DYING_S
    while time.monotonic() < until:
        connection = _dial(socket_path)
        if connection is None:
            return
        with connection:
            if peer(connection) != gone:
                return
        time.sleep(0.02)


def _connect_or_start(
    socket_path: str, start: Callable[[], "_Start"], log_path: str, wanted: Callable[[], bool], lock: int
) -> socket.socket | None:
    daemon: _Start | None = None
    locked = False
    give_up = time.monotonic() + START_S
    while wanted():
        connection = _dial(socket_path)
        if connection:
            return connection
        # Between this lock and the start stands one more look: the holder before us has just succeeded.
        if locked and not daemon:
            daemon = start()
            give_up = time.monotonic() + START_S
        if daemon and daemon.has_news():
            give_up = time.monotonic() + START_S
        locked = locked or _locks(lock)
        if daemon and daemon.has_failed():
            raise CannotStart(f"the daemon {daemon.reason()}; its log: {log_path}")
        if time.monotonic() > give_up:
            raise CannotStart(f"no daemon listens at {socket_path} after {START_S:.0f} s; its log: {log_path}")
        time.sleep(0.01)
    return None


def _dial(socket_path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        # Only a daemon that hangs with a full backlog makes a connect wait.
        connection.settimeout(DIAL_S)
        connection.connect(socket_path)
        connection.settimeout(None)
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


class _Start:
    """A daemon on its way, in a session of its own: hosts kill the whole process group of the relay, and
    wait for the end of every pipe that a child of it holds."""

    def __init__(self, command: Sequence[str], log_path: str, say: Callable[[str], None], grace_s: float) -> None:
        import subprocess

        with open(log_path, "ab") as log:
            self._log_path, self._log_start, self._log_end = log_path, log.tell(), log.tell()
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=os.path.dirname(log_path) or None,  # where we were started, a stranger's `.env` may lie
            )
        self._grace_s = grace_s
        self._ended_at: float | None = None
        say(f"starting the daemon (process {self._process.pid}); its log: {log_path}")

    def has_news(self) -> bool:
        """Whether it has said something since: a model may be on its way, for minutes."""
        before, self._log_end = self._log_end, os.path.getsize(self._log_path)
        return self._log_end > before

    def has_failed(self) -> bool:
        if self._process.poll() is None:
            return False
        self._ended_at = self._ended_at or time.monotonic()
        return time.monotonic() - self._ended_at > self._grace_s

    def reason(self) -> str:
        with open(self._log_path, "rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        # Python frames the tracebacks of groups: the last line with a letter in it is the error.
        last = next((line for line in reversed(lines) if any(map(str.isalpha, line))), "it said nothing")
        return f"ended with status {self._process.returncode}: {last.strip(' |')[-500:]}"


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
