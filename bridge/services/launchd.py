"""A service as a property list of launchd, on macOS. Pure. Keys as in launchd.plist(5)."""

import plistlib
from pathlib import Path
from typing import Any

from bridge.services import Service


def plist(service: Service, logs: Path) -> bytes:
    """launchd has no file of settings: the program reads `.env` in its working folder, which only its user may read."""
    log = str(logs / f"{service.name}.log")
    made: dict[str, Any] = {
        "Label": label(service.name),
        "ProgramArguments": list(service.command),
        "WorkingDirectory": str(service.settings.parent),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": service.stop_s,
        "Umask": 0o077,
        # launchd's own limit is 256 open files.
        "SoftResourceLimits": {"NumberOfFiles": 8192},
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
    if service.user:
        made["UserName"] = service.user
    return plistlib.dumps(made, sort_keys=False)


def label(name: str) -> str:
    return f"tandem.{name}"
