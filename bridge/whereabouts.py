"""Where an index and its sockets lie. It imports next to nothing, for `tandem mcp` asks it once for each client."""
# pathlib, tempfile and hashlib would cost each relay 15 ms of its start.
# ruff: noqa: PTH103, PTH111, PTH116, PTH117, PTH118

import os
import sys

_LONGEST_SOCKET = 90  # bytes: a Unix socket's path ends at about 104, and a temporary name is longer than the name


class Unusable(Exception):
    """There can be no data folder at that place; the message says why and what to do."""


def users_data() -> str:
    """The index's folder where nobody names one."""
    if sys.platform == "linux" and os.path.isabs(os.environ.get("HOME", "")):
        # As platformdirs does, whose import takes 9 ms.
        named = os.environ.get("XDG_DATA_HOME", "")
        return os.path.join(named if os.path.isabs(named) else os.path.expanduser("~/.local/share"), "tandem")
    from platformdirs import user_data_dir

    return user_data_dir("tandem", appauthor=False)


def sockets(data: str) -> str:
    """The folder of the sockets: `data`, or a short one where its path is too long. Raises Unusable."""
    if len(os.fsencode(os.path.join(data, "http.sock"))) <= _LONGEST_SOCKET:
        return data
    import hashlib
    import tempfile

    name = hashlib.blake2b(os.fsencode(data), digest_size=8).hexdigest()
    short = os.path.join(tempfile.gettempdir(), f"tandem-{os.getuid()}-{name}")
    try:
        os.makedirs(short, mode=0o700, exist_ok=True)
        found = os.stat(short)
    except OSError as error:
        raise unwritable(short, error) from error
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Unusable(f"{short} was expected to be a folder that only this user may open; remove it")
    return short


def unwritable(place: object, error: OSError) -> Unusable:
    return Unusable(
        f"{place} was expected to be a folder that Tandem can write to ({error.strerror}); "
        "use another with --data or TANDEM_DATA"
    )
