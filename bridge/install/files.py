"""A client's file is replaced in one step, with what it was beside it."""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BACKUP = ".tandem-backup"
_TRIES = 5


class Refused(Exception):
    """Nothing was written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """`backup`: what the file was; None where there was none."""

    backup: Path | None


def replaced(file: Path, edit: Callable[[bytes | None], bytes | None]) -> Written | None:
    """`edit` makes the new content of the old, None meaning no file; None comes back where both are the same.

    A link stays one: the file that it leads to is written, and its mode and owner stay. Clients write their files too:
    where one has done so meanwhile, `edit` is asked again. Raises Refused, and what `edit` raises.
    """
    try:
        real = file.resolve()
        for _ in range(_TRIES):
            before = content(real)
            after = edit(before)
            if after == before:
                return None
            if (written := _replaced(real, before, after)) is not None:
                return written
    except OSError as error:
        raise Refused(f"{file} cannot be changed ({error.strerror}): let this user read and write it") from error
    raise Refused(f"{file} is written again and again by another program: quit the client, then try once more")


def content(file: Path) -> bytes | None:
    """Raises OSError, but not where there is no file."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def backups(file: Path) -> list[Path]:
    """Those of this file, the latest first."""
    real = file.resolve()
    found = [one for one in real.parent.iterdir() if one.name.startswith(f"{real.name}.") and one.name.endswith(BACKUP)]
    return sorted(found, key=lambda one: (one.stat().st_mtime_ns, one.name), reverse=True)


def _replaced(real: Path, before: bytes | None, after: bytes | None) -> Written | None:
    """None where somebody else has written it since `before` was read."""
    real.parent.mkdir(parents=True, exist_ok=True)
    like = real.stat() if before is not None else None
    new = None if after is None else _beside(real, after, like)
    old = None if before is None else _beside(real, before, like)
    try:
        if content(real) != before:
            return None
        backup = old.rename(_backup_name(real)) if old else None
        if new:
            new.replace(real)
        else:
            real.unlink()
        _settle(real.parent)
        return Written(backup)
    finally:
        for left in (new, old):
            if left:
                left.unlink(missing_ok=True)


def _beside(real: Path, data: bytes, like: os.stat_result | None) -> Path:
    """A file of this content, on the disk, with the mode and owner of `like`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    beside = Path(name)
    with open(descriptor, "wb") as file:  # noqa: PTH123 (it is open already)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if like:
        beside.chmod(like.st_mode & 0o7777)
        if hasattr(os, "chown"):
            with suppress(PermissionError):
                os.chown(beside, like.st_uid, like.st_gid)
    return beside


def _backup_name(real: Path) -> Path:
    told = time.strftime("%Y%m%d-%H%M%S")
    names = (real.with_name(f"{real.name}.{told}{n}{BACKUP}") for n in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(name for name in names if not name.exists())


def _settle(folder: Path) -> None:
    """A name that was changed is on the disk. Windows has no such thing."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
