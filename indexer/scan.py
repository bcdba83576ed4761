"""Folders become the list of files that belong in the index, each with what tells whether it has changed."""

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.catalog import Stat

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})


@dataclass(frozen=True, slots=True)
class Seen:
    """Regular files by absolute path. `unlisted`: folders that are there or should be, but cannot be listed now:
    what was indexed beneath them is kept."""

    files: dict[str, Stat]
    unlisted: tuple[str, ...] = ()


def scan(roots: Sequence[str], excluded: str | None = None) -> Seen:
    """Everything under the roots; hidden files, symlinks and `excluded` are left out."""
    found: dict[str, Stat] = {}
    unlisted: set[str] = set()
    for root in roots:
        files, not_listed = _walk(root, excluded)
        found |= files
        unlisted |= set(not_listed)
    # A root that is gone from within another root which is there has been deleted, not unmounted.
    return Seen(found, tuple(sorted(path for path in unlisted if not _gone_within(path, roots))))


def look(paths: Iterable[str], roots: Sequence[str], excluded: str | None = None) -> Seen:
    """What of `paths` (files, or folders and all that lies in them) a scan of the roots would find now."""
    found: dict[str, Stat] = {}
    unlisted = {root for root in roots if not Path(root).is_dir() and not _gone_within(root, roots)}
    for path in paths:
        if not by_name(path, roots, excluded) or _through_a_link(path, roots):
            continue
        try:
            now = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(now.st_mode):
            files, not_listed = _walk(path, excluded)
            found |= files
            unlisted |= set(not_listed)
        elif stat.S_ISREG(now.st_mode):
            found[path] = _stat(now)
    return Seen(found, tuple(sorted(unlisted)))


def by_name(path: str, roots: Iterable[str], excluded: str | None = None) -> bool:
    """Whether a scan of the roots would look at a file of that name. Asks nothing of the disk."""
    if excluded and beneath(path, excluded):
        return False
    return any(
        beneath(path, root) and not any(_skipped(part) for part in path[len(root) :].split("/")) for root in roots
    )


def _gone_within(path: str, roots: Iterable[str]) -> bool:
    return not os.path.lexists(path) and any(
        root != path and beneath(path, root) and Path(root).is_dir() for root in roots
    )


def beneath(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _through_a_link(path: str, roots: Iterable[str]) -> bool:
    """Whether a folder between the path and its root is a symlink."""
    within = [root for root in roots if beneath(path, root)]
    return all(
        any(parent.is_symlink() for parent in Path(path).parents if str(parent) != root and beneath(str(parent), root))
        for root in within
    )


def _skipped(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS


def _walk(folder: str, excluded: str | None) -> tuple[dict[str, Stat], list[str]]:
    """(files, folders that could not be listed)."""
    files: dict[str, Stat] = {}
    unlisted: list[str] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = os.scandir(here)
        except OSError as error:
            # Gone between the listing and the look: nothing is there. A root that is not there is kept.
            if here == folder or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                unlisted.append(here)
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.path == excluded:
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name not in SKIPPED_FOLDERS:
                            waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        files[entry.path] = _stat(entry.stat(follow_symlinks=False))
                except OSError:
                    continue
    return files, unlisted


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
