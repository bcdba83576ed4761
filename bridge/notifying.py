"""What systemd is told of this process where it asked to be (`NOTIFY_SOCKET`); elsewhere nothing happens."""

import os
import socket
from contextlib import suppress


def notify(*lines: str) -> None:
    """`READY=1`, `STOPPING=1`, `STATUS=…`, as in sd_notify(3). Who does not listen is not waited for."""
    if not (where := os.environ.get("NOTIFY_SOCKET")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        # A name that begins with @ is in no file system.
        sender.sendto("\n".join(lines).encode(), f"\0{where[1:]}" if where.startswith("@") else where)


def status(words: str) -> str:
    """The line by which `systemctl status` shows these words."""
    return f"STATUS={' '.join(words.split())}"
