"""`tandem mcp`: the relay, told which daemon to join and how to start it."""

import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bridge.dial import START_S
from bridge.folder import Folder, Unusable
from bridge.relay import relay, say
from bridge.settings import WrongSetting, load

_GRACE_S = 1.0


def relayed(data: str | None, watch: Sequence[str]) -> int:
    """Serves until stdin ends; returns the exit status. stdout carries JSON-RPC only."""
    try:
        settings = load(data)
        folder = Folder(settings.data)
        folder.make()
        sockets = str(folder.mcp_socket), str(folder.http_socket)
    except (WrongSetting, Unusable) as error:
        print(f"tandem: {error}", file=sys.stderr)  # noqa: T201
        return 1
    folders = [str(Path(one).expanduser().absolute()) for one in watch]
    for missing in [one for one in folders if not Path(one).is_dir()]:
        # A disk that is not plugged in costs its own files, not the whole index.
        print(f"tandem: {missing} is no folder now; the daemon starts without it", file=sys.stderr)  # noqa: T201
        folders.remove(missing)
    daemon = [sys.executable, "-m", "bridge.cli", "up", *folders, "--data", str(settings.data)]
    if folders:
        threading.Thread(target=_add, args=(folders, sockets[1]), daemon=True).start()
    # `up` waits by itself for whoever has the data folder: where it ends, no other daemon is on its way for long.
    relay(sockets[0], daemon, str(folder.log), grace_s=_GRACE_S)
    return 0


def _add(folders: Sequence[str], http_socket: str) -> None:
    """Names the folders to the daemon: one that ran before us, or that another relay started, has not heard of them."""
    body = json.dumps({"folders": folders}).encode()
    head = f"POST /index HTTP/1.1\r\nHost: tandem\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with suppress(OSError), _daemon(http_socket) as connection, connection.makefile("rb") as reply:
        connection.sendall(head.encode() + body)
        status, _, words = reply.read().partition(b"\r\n\r\n")
        if b" 200 " not in status[:20]:
            say(f"--watch: {words.decode(errors='replace')}")


def _daemon(http_socket: str) -> socket.socket:
    """A connection to it, as soon as it listens."""
    give_up = time.monotonic() + START_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(http_socket)
        except OSError:
            connection.close()
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)
        else:
            return connection
