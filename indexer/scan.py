"""Folders become the list of files that belong in the index, each with what tells whether it has changed."""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from indexer.catalog import Stat

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})


def scan(roots: Sequence[str], excluded: str | None = None) -> dict[str, Stat]:
    """Every regular file under the roots by absolute path; hidden ones, symlinks and `excluded` are left out.

    A folder that cannot be listed contributes nothing. Roots that do not exist: see `absent`.
    """
    found: dict[str, Stat] = {}
    for root in roots:
        found.update(_walk(root, excluded))
    return found


def look(paths: Iterable[str], roots: Sequence[str], excluded: str | None = None) -> dict[str, Stat]:
    """What of `paths` (files, or folders and all that lies in them) a scan of the roots would find now."""
    found: dict[str, Stat] = {}
    for path in paths:
        if not any(_admits(root, path, excluded) for root in roots):
            continue
        try:
            now = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(now.st_mode):
            found.update(_walk(path, excluded))
        elif stat.S_ISREG(now.st_mode):
            found[path] = _stat(now)
    return found


def absent(roots: Iterable[str]) -> list[str]:
    """Roots that cannot be listed now: their documents are kept, not deleted."""
    return [root for root in roots if not _listable(root)]


def beneath(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _listable(root: str) -> bool:
    try:
        with os.scandir(root):
            return True
    except OSError:
        return False


def _admits(root: str, path: str, excluded: str | None) -> bool:
    if not beneath(path, root) or (excluded and beneath(path, excluded)):
        return False
    parts = Path(path).relative_to(root).parts
    return not any(_skipped(part) for part in parts) and not any(
        parent.is_symlink() for parent in Path(path).parents if beneath(str(parent), root) and str(parent) != root
    )


def _skipped(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS


def _walk(folder: str, excluded: str | None) -> Iterator[tuple[str, Stat]]:
    waiting = [folder]
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
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
                        yield entry.path, _stat(entry.stat(follow_symlinks=False))
                except OSError:  # gone between the listing and the look
                    continue


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
