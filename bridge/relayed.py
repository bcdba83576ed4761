"""`tandem mcp`: the relay, told which daemon to join and how to start it.

Beside a daemon that runs, whose settings are its own, nothing is read but the place: up in half the time. A client
starts it in whatever folder somebody works in: no `.env` there is read, and the daemon is at home in the data folder.
"""
# pathlib would cost each relay 5 ms of its start.
# ruff: noqa: PTH100, PTH110, PTH111, PTH112, PTH118

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from bridge.dial import START_S
from bridge.relay import relay, say
from bridge.superseding import posted, supersede
from bridge.whereabouts import Unusable, sockets, users_data

_GRACE_S = 1.0


def relayed(data: str | None, watch: Sequence[str]) -> int:
    """Serves until stdin ends; returns the exit status. stdout carries JSON-RPC only."""
    place = _served(data)
    if place:
        supersede(place, sockets(place), say)
    elif not (place := _checked(data)):
        return 1
    mcp_socket, http_socket = (os.path.join(sockets(place), name) for name in ("mcp.sock", "http.sock"))
    folders = [os.path.abspath(os.path.expanduser(one)) for one in watch]
    for missing in [one for one in folders if not os.path.isdir(one)]:
        # A disk that is not plugged in costs its own files, not the whole index.
        print(f"tandem: {missing} is no folder now; the daemon starts without it", file=sys.stderr)  # noqa: T201
        folders.remove(missing)
    # -P: a folder named `bridge` where we were started is not ours.
    daemon = [sys.executable, "-P", "-m", "bridge.cli", "up", *folders, "--data", place]
    if folders:
        threading.Thread(target=_add, args=(folders, http_socket), daemon=True).start()
    # `up` waits by itself for whoever has the data folder: where it ends, no other daemon is on its way for long.
    relay(mcp_socket, daemon, os.path.join(place, "daemon.log"), grace_s=_GRACE_S)
    return 0


def _served(data: str | None) -> str | None:
    """The data folder, where a daemon seems to serve it already."""
    named = data or os.environ.get("TANDEM_DATA", "").strip()
    place = os.path.realpath(os.path.expanduser(named or users_data()))
    try:
        return place if os.path.exists(os.path.join(sockets(place), "mcp.sock")) else None
    except Unusable:
        return None


def _checked(data: str | None) -> str | None:
    """The data folder, made, once the settings are found to be right: with them the daemon is started."""
    from bridge.folder import Folder
    from bridge.settings import WrongSetting, load

    try:
        folder = Folder(load(data, dotenv=False).data)
        folder.make()
        sockets(str(folder.data))
    except (WrongSetting, Unusable) as error:
        print(f"tandem: {error}", file=sys.stderr)  # noqa: T201
        return None
    return str(folder.data)


def _add(folders: Sequence[str], http_socket: str) -> None:
    """Names the folders to the daemon: one that ran before us, or that another relay started, has not heard of them."""
    with suppress(OSError), _daemon(http_socket) as connection:
        status, words = posted(connection, "/index", {"folders": folders})
        if status != 200:
            say(f"--watch: {words}")


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
