"""Where the private Phoenix of a data folder answers, for other processes: true as long as the one lives that says so,
however it ends. Whoever takes its port then is not taken for it."""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def announced(path: Path, endpoint: str) -> Generator[None]:
    """Raises OSError where it cannot be written."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(endpoint)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def announced_in(path: Path) -> str | None:
    """None where nobody says so any more."""
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read() or None
    except OSError:
        pass
    return None
