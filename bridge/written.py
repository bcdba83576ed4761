"""Files that are their user's alone, and whole: written beside, flushed to the disk, then put in place."""

import os
from pathlib import Path


def write_private(file: Path, data: bytes) -> None:
    beside = file.with_name(f"{file.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(data)
        written.flush()
        os.fsync(descriptor)
    put_in_place(beside, file)


def put_in_place(beside: Path, file: Path) -> None:
    beside.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
