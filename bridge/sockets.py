"""Unix sockets by which only this user reaches the daemon."""

import socket
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


def bind(path: str) -> socket.socket:
    """A listening Unix socket that only this user may open. Its name appears once it listens, in one step.

    A socket of a daemon that ended without its clean-up is replaced; asking whether one still lives is the
    caller's (the lock on the data folder). Paths end at about 100 bytes.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    new = Path(f"{path}.new")
    try:
        new.unlink(missing_ok=True)
        listener.bind(str(new))
        # Nobody can connect before `listen`, so there is no moment with the mode that the umask gave.
        new.chmod(stat.S_IRUSR | stat.S_IWUSR)
        listener.listen(128)
        new.rename(path)
    except OSError:
        listener.close()
        raise
    return listener


@asynccontextmanager
async def bound(path: str) -> AsyncGenerator[socket.socket]:
    """`bind`, and the name goes away with it, unless another daemon's socket has it by then."""
    with bind(path) as listener:
        ours = Path(path).stat().st_ino
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                if Path(path).stat().st_ino == ours:
                    Path(path).unlink()
