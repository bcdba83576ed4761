"""The machine: Python, the data folder and its disk, the folders that are indexed and how they are watched."""

import ctypes
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from bridge.doctor.check import Check, existing, in_thread, size
from bridge.doctor.recorded import Recorded
from bridge.settings import Settings

_LEAST_PYTHON = (3, 11)
_LEAST_FREE = 100 << 20  # as `Catalog.require_room`
_LITTLE_FREE = 1000 << 20
_COUNT_S, _COUNT = 2.0, 300_000
_INOTIFY = Path("/proc/sys/fs/inotify")
_LEAST_QUEUE = 16_384  # Linux's default


async def python(_settings: Settings, _recorded: Recorded) -> list[Check]:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _LEAST_PYTHON:
        return [Check("python", "failed", f"3.11 or newer was expected, this is {found}", "install a newer Python")]
    return [Check("python", "ok", found)]


async def data(settings: Settings, _recorded: Recorded) -> list[Check]:
    return [await in_thread(partial(_data, settings.data))]


def _data(place: Path) -> Check:
    at = existing(place)
    remedy = "let this user write there, or use another folder with --data or TANDEM_DATA"
    if not at.is_dir():
        return Check("data", "failed", f"{place} was expected to be a folder, but {at} is a file", remedy)
    if not os.access(at, os.R_OK | os.W_OK | os.X_OK):
        return Check("data", "failed", f"{at} was expected to be writable; this user may not write there", remedy)
    return Check("data", "ok", f"{place}{'' if at == place else ' (not made yet)'}, writable")


async def disk(settings: Settings, _recorded: Recorded) -> list[Check]:
    return [await in_thread(partial(room, settings.data))]


def room(place: Path, least_bytes: int = _LEAST_FREE, little_bytes: int = _LITTLE_FREE) -> Check:
    """What is free where the index is written."""
    at = existing(place)
    free = shutil.disk_usage(at).free
    found = f"{size(free)} free at {at}"
    if free < least_bytes:
        remedy = "make room; indexing then goes on by itself, and what is indexed stays searchable until then"
        return Check("disk", "failed", f"{found}; indexing needs {size(least_bytes)}", remedy)
    if free < little_bytes:
        return Check("disk", "warning", f"{found}, which is little", "make room before indexing much more")
    return Check("disk", "ok", found)


async def folders(_settings: Settings, recorded: Recorded) -> list[Check]:
    if not recorded.roots:
        return [Check("folders", "off", "none is indexed yet", "add one: `tandem up DIR` or `tandem index DIR`")]
    away = await in_thread(lambda: [root for root in recorded.roots if not _readable(root)])
    remedy = "connect its disk, or allow reading it; if it is gone for good: `tandem forget` with that path"
    troubles = [
        Check("folders", "warning", f"{root} cannot be read now: its documents are kept as they were", remedy)
        for root in away
    ]
    there = [root for root in recorded.roots if root not in away]
    return ([Check("folders", "ok", ", ".join(there))] if there else []) + troubles


def _readable(folder: str) -> bool:
    return Path(folder).is_dir() and os.access(folder, os.R_OK | os.X_OK)


async def watch(settings: Settings, recorded: Recorded) -> list[Check]:
    if settings.poll == "all":
        found = "TANDEM_POLL=all: every folder is looked at every few seconds, none is watched"
        return [Check("watch", "warning", found, "set TANDEM_POLL=auto, where folders can be watched")]
    return await in_thread(partial(_watch, recorded.roots))


def _watch(roots: Sequence[str]) -> list[Check]:
    from indexer.mounts import mounted, silent

    mounts = mounted()
    polled = {folder: why for root in roots for folder, why in silent(root, mounts).items()}
    remedy = "nothing need be done: its changes are seen some seconds later"
    found = [
        Check("watch", "warning", f"{folder} is looked at every few seconds instead of watched: {why}", remedy)
        for folder, why in polled.items()
    ]
    if not _INOTIFY.is_dir():
        return [Check("watch", "ok", "this system has no limit of watched folders"), *found]
    watched = [root for root in roots if root not in polled]
    if (refused := refusal(*spare_instance())) is not None:
        found.append(refused)
    return [limits(*count(watched), *(_limit(name) for name in ("max_user_watches", "max_queued_events"))), *found]


def limits(folders: int, whole: bool, watches: int, queued: int) -> Check:
    """`folders` are to be watched, or more, where they are not counted to the `whole`."""
    found = f"{folders:,} folder{'' if folders == 1 else 's'}{'' if whole else ' or more'}"
    found += f", and the system lets each user watch {watches:,}"
    if folders > watches:
        return Check(
            "watch",
            "warning",
            f"{found}: the rest is looked at every few seconds instead",
            f"sudo sysctl fs.inotify.max_user_watches={max(524_288, 2 * folders)} (and in /etc/sysctl.d, to keep it)",
        )
    if queued < _LEAST_QUEUE:
        return Check(
            "watch",
            "warning",
            f"{found}; its queue holds {queued:,} events, so that many changes at once mean a look at everything",
            f"sudo sysctl fs.inotify.max_queued_events={_LEAST_QUEUE} (and in /etc/sysctl.d, to keep it)",
        )
    return Check("watch", "ok", found)


def refusal(error: int, instances: int) -> Check | None:
    """`error`: what a further program that watches is refused with, 0 where it is not; `instances`: how many may."""
    if not error:
        return None
    found = f"the system lets each user have {instances:,} programs that watch, and no more is to be had"
    return Check(
        "watch",
        "warning",
        f"{found} ({os.strerror(error)}): a daemon that starts now looks at its folders every few seconds instead",
        "sudo sysctl fs.inotify.max_user_instances=1024 (and in /etc/sysctl.d, to keep it)",
    )


def spare_instance() -> tuple[int, int]:
    """Tried, for nobody tells how many are taken; and let go at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    error = ctypes.get_errno() if descriptor < 0 else 0
    if descriptor >= 0:
        os.close(descriptor)
    return error, _limit("max_user_instances")


def count(roots: Iterable[str]) -> tuple[int, bool]:
    """How many folders there are, ignored ones left out by name only; and whether all were counted."""
    from indexer.rules import SKIPPED_FOLDERS

    until, seen = time.monotonic() + _COUNT_S, 0
    for root in roots:
        for _, names, _ in os.walk(root):
            seen += 1
            names[:] = [name for name in names if not name.startswith(".") and name not in SKIPPED_FOLDERS]
            if seen >= _COUNT or time.monotonic() > until:
                return seen, False
    return seen, True


def _limit(name: str) -> int:
    return int((_INOTIFY / name).read_text())
