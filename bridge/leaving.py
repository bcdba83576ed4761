"""`tandem pair --leave`: this machine forgets how it came to a queue. The queue forgets it by `--revoke` only."""

import argparse
import logging

from bridge import paired
from bridge.folder import Folder, running
from bridge.service import BadInput
from bridge.settings import Settings
from bridge.terminal import say, say_json
from bridge.whereabouts import unwritable

logger = logging.getLogger("tandem")


def leave(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raises BadInput where no code let this machine in."""
    roles = paired.BY_CODE if arguments.leave == "all" else (arguments.leave,)
    left = [role for role in roles if _came_by_code(settings, role)]
    if not left:
        raise BadInput(f"no code let this machine in as {' or '.join(roles)}: nothing to leave")
    for role in left:
        _leave(arguments, settings, role)
    if "bridge" in left and running(str(Folder(settings.data).http_socket)):
        logger.info("the daemon that runs goes on with it until it ends: `tandem down`, then `tandem up`")
    if "worker" in left:
        logger.info("a worker that runs goes on with it until it is stopped")


def _came_by_code(settings: Settings, role: str) -> bool:
    """Also where the file is none that can be read."""
    unreadable = paired.file(settings.data, role).exists() and not paired.read(settings.data, role)
    return unreadable or role in paired.by_code(settings.data)


def _leave(arguments: argparse.Namespace, settings: Settings, role: str) -> None:
    entry, place = paired.read(settings.data, role), paired.folder(settings.data)
    ca = place / "ca.crt"
    try:
        paired.file(settings.data, role).unlink()
        if not any(one.ca == ca for one in paired.ways(settings.data).values()):
            ca.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(place, error) from error
    if arguments.json:
        say_json({"user": entry and entry.user, "role": role, "queue": entry and entry.where})
    elif entry:
        say(f"this machine is {entry.user} at the queue at {entry.where} no more: its password is removed")
    else:
        say(f"what stood in {paired.file(settings.data, role)} is removed: it was no pairing that could be read")
    if entry:
        logger.info("the queue still lets %s in: on its machine, `tandem pair --revoke %s`", entry.user, entry.user)
