"""`tandem mcp`: the relay, told which daemon to join and how to start it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from bridge.folder import Folder
from bridge.relay import relay
from bridge.settings import WrongSetting, load


def relayed(data: str | None, watch: Sequence[str]) -> int:
    """Serves until stdin ends; returns the exit status. stdout carries JSON-RPC only."""
    try:
        settings = load(data)
    except WrongSetting as error:
        print(f"tandem: {error}", file=sys.stderr)  # noqa: T201
        return 1
    folder = Folder(settings.data)
    folder.make()
    folders = [str(Path(one).expanduser().absolute()) for one in watch]
    daemon = [sys.executable, "-m", "bridge.cli", "up", *folders, "--data", str(settings.data)]
    relay(str(folder.mcp_socket), daemon, str(folder.log))
    return 0
