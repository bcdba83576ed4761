"""A daemon of an older Tandem makes way for ours. It may have been started long ago, or by another installation.

Only forwards, so that the relays of two installations never take turns; and only while nobody is being answered.
"""
# ruff: noqa: PTH118, PTH123  # pathlib would cost each relay 5 ms of its start

import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from bridge import VERSION
from bridge.dial import let_die

_REPLY_S = 5.0


def supersede(data: str, sockets: str, say: Callable[[str], None], ours: str = VERSION) -> None:
    """Returns once the older daemon that serves `data` has gone, or `say` was told why it stays; where it is none,
    at once."""
    theirs, pid = _daemon(data)
    if theirs is None or _parts(theirs) >= _parts(ours):
        return
    which = f"the daemon (process {pid}) is of Tandem {theirs}, this is {ours}"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_REPLY_S)
            connection.connect(os.path.join(sockets, "http.sock"))
            status, _ = posted(connection, "/stop?if=idle")
    except OSError:
        return  # it ends just now, or hangs: the relay finds out
    if status == 200:
        say(f"{which}: it ends, and ours is started")
        let_die(os.path.join(sockets, "mcp.sock"), pid)
    else:
        say(f"{which}; it is busy and stays, until a client starts while it is idle or until `tandem down`")


def posted(connection: socket.socket, path: str, body: Mapping[str, Sequence[str]] | None = None) -> tuple[int, str]:
    """(status, body) of what the daemon answers over its HTTP socket. Raises OSError."""
    sent = json.dumps(body).encode() if body else b""
    head = f"POST {path} HTTP/1.1\r\nHost: tandem\r\nConnection: close\r\nContent-Length: {len(sent)}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    with connection.makefile("rb") as reply:
        said, _, words = reply.read().partition(b"\r\n\r\n")
    _, _, status = said[:12].partition(b" ")
    return int(status) if status.isdigit() else 0, words.decode(errors="replace")


def _daemon(data: str) -> tuple[str | None, int]:
    """(version, process id) of the daemon that has the data folder, or had it last; no version where none did."""
    try:
        with open(os.path.join(data, "lock"), "rb") as lock:
            held = json.loads(lock.read())
        if held["command"] != "tandem up":
            return None, 0
        return str(held.get("version", "0")), int(held["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
