"""Folders become the list of files that belong in the index, each with what tells whether it has changed.

A user's files are looked at here and never written, moved or deleted. Symlinks are not followed, but for a root that
is one; FIFOs, sockets and devices are not opened, and file systems that hold the system's own figures are not entered.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from indexer.catalog import Stat
from indexer.mounts import pseudo
from indexer.rules import IGNORE_FILES, Rules, above, by_default

_IGNORE_FILES = tuple(f"/{name}" for name in IGNORE_FILES)
_Entered = Callable[[str, str], Rules | None]  # (folder, its root): see _entered


@dataclass(frozen=True, slots=True)
class Seen:
    """`files`: regular files by absolute path. `unlisted`: folders that are there or should be, but cannot be listed
    now: what was indexed at or beneath them is kept. `left_out`: files and folders taken for secrets -> why, in words.
    `looked`: the files and folders whose whole content `files` tells: a known document at or beneath one of them and
    neither in `files` nor at or beneath one of `unlisted` is gone."""

    files: dict[str, Stat]
    unlisted: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    looked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Listing:
    """What a scan takes of one folder, and the rules that hold in it."""

    rules: Rules
    folders: list[str]
    files: list["os.DirEntry[str]"]
    left_out: dict[str, str]


def scan(roots: Sequence[str], excluded: Collection[str] = ()) -> Seen:
    """Everything under the roots that belongs in the index. `excluded`: files and folders that are never looked at."""
    found = _Found(_never(roots, excluded))
    for root in roots:
        if not among(root, found.excluded):
            found.walk(root, above(root))
    # A root that is gone from within another root which is there has been deleted, not unmounted.
    return found.seen({path for path in found.unlisted if not _gone_within(path, roots)}, frozenset(roots))


def look(paths: Iterable[str], roots: Sequence[str], excluded: Collection[str] = ()) -> Seen:
    """What of `paths` (files, or folders and all that lies in them) a scan of the roots would find now. Where a path
    is an ignore file, its folder is looked at, whose files it decides about."""
    found = _Found(_never(roots, excluded))
    missing = {root for root in roots if not Path(root).is_dir() and not _gone_within(root, roots)}

    @cache
    def entered(folder: str, root: str) -> Rules | None:
        return _entered(folder, root, found.excluded, entered)

    looked = _targets(paths, roots)
    for path in looked:
        for root in [root for root in roots if beneath(path, root)]:
            if not among(path, found.excluded):
                _look_at(path, root, entered, found)
    return found.seen(found.unlisted | missing, frozenset(looked))


def by_name(path: str, roots: Iterable[str], excluded: Collection[str] = ()) -> bool:
    """Whether a scan of the roots might look at a file of that name, or follow what it says (ignore files). Asks
    nothing of the disk: what an ignore file leaves out or takes in is known to `scan` and `look` alone."""
    if among(path, excluded):
        return False
    for root in roots:
        if path == root:
            return True
        if beneath(path, root):
            *folders, name = path[len(root.rstrip("/")) + 1 :].split("/")
            if (name in IGNORE_FILES or not by_default(name, False)) and not any(
                by_default(part, True) for part in folders
            ):
                return True
    return False


def beneath(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def among(path: str, places: Collection[str]) -> bool:
    """Whether a path or a folder it lies in is one of them."""
    while places and path not in places:
        if not path.strip("/"):
            return False
        path = path.rpartition("/")[0] or "/"
    return bool(places)


def listing(folder: str, outside: Rules, excluded: Collection[str]) -> Listing:
    """`outside`: the rules where the folder lies. Raises OSError where it cannot be listed in full."""
    with os.scandir(folder) as found:
        entries = list(found)
    rules = outside.inside(folder, {entry.name for entry in entries if entry.name.startswith(".")})
    listed = Listing(rules, [], [], {})
    for entry in entries:
        if entry.path in excluded:
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not entry.is_file(follow_symlinks=False):
            continue
        why = rules.leave_out(entry.path, entry.name, is_folder)
        if why:
            listed.left_out[entry.path] = why
        elif why is None and is_folder:
            listed.folders.append(entry.path)
        elif why is None:
            listed.files.append(entry)
    return listed


class _Found:
    """What a look has come upon until now."""

    def __init__(self, excluded: frozenset[str]) -> None:
        self.excluded = excluded
        self.files: dict[str, Stat] = {}
        self.unlisted: set[str] = set()
        self.left_out: dict[str, str] = {}

    def walk(self, top: str, outside: Rules) -> None:
        waiting = [(top, outside)]
        while waiting:
            here, outside = waiting.pop()
            try:
                listed = listing(here, outside, self.excluded)
                for entry in listed.files:
                    try:
                        self.files[entry.path] = _stat(entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue
            except (FileNotFoundError, NotADirectoryError):
                # Gone between the listing and the look: nothing is there. A root that is not there is kept.
                if here == top:
                    self.unlisted.add(here)
            except OSError:
                self.unlisted.add(here)
            else:
                self.left_out |= listed.left_out
                waiting += [(folder, listed.rules) for folder in listed.folders]

    def seen(self, unlisted: set[str], looked: frozenset[str]) -> Seen:
        left_out = {path: why for path, why in self.left_out.items() if path not in self.files}
        return Seen(self.files, tuple(sorted(unlisted)), left_out, looked)


def _look_at(path: str, root: str, entered: _Entered, found: _Found) -> None:
    if path == root:
        found.walk(root, above(root))
        return
    folder, _, name = path.rpartition("/")
    try:
        rules = entered(folder or "/", root)
        now = os.lstat(path) if rules and _spelt(path) else None
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        found.unlisted.add(path)
        return
    if not rules or not now or not (stat.S_ISDIR(now.st_mode) or stat.S_ISREG(now.st_mode)):
        return
    why = rules.leave_out(path, name, stat.S_ISDIR(now.st_mode))
    if why:
        found.left_out[path] = why
    elif why is None and stat.S_ISDIR(now.st_mode):
        found.walk(path, rules)
    elif why is None:
        found.files[path] = _stat(now)


def _entered(folder: str, root: str, excluded: Collection[str], entered: _Entered) -> Rules | None:
    """The rules in a folder beneath a root; None where a scan would not get there. Raises OSError."""
    if folder == root:
        return above(root).inside(root)
    outer, _, name = folder.rpartition("/")
    outside = entered(outer or "/", root)
    if outside is None or folder in excluded or not stat.S_ISDIR(os.lstat(folder).st_mode) or not _spelt(folder):
        return None
    return outside.inside(folder) if outside.leave_out(folder, name, True) is None else None


def _targets(paths: Iterable[str], roots: Sequence[str]) -> set[str]:
    wanted = set(paths)
    wanted |= {str(Path(path).parent) for path in wanted if path.endswith(_IGNORE_FILES)}
    # A root within a folder is looked at by rules of its own, all else in a folder with the folder.
    within = {root for root in roots if among(root, wanted)}
    inside = {path for path in wanted if any(beneath(path, root) for root in roots)}
    return within | {path for path in inside if not among(path.rpartition("/")[0] or "/", wanted)}


def _spelt(path: str) -> bool:
    """Whether its folder lists a path by just this name: a disk that takes A.txt for a.txt has one file, not two."""
    folder, _, name = path.rpartition("/")
    other = name.swapcase()
    if other == name or not os.path.lexists(f"{folder}/{other}"):
        return True
    return any(entry.name == name for entry in Path(folder or "/").iterdir())


def _never(roots: Sequence[str], excluded: Collection[str]) -> frozenset[str]:
    return frozenset(path.rstrip("/") for path in excluded) | pseudo(roots)


def _gone_within(path: str, roots: Iterable[str]) -> bool:
    return not os.path.lexists(path) and any(
        root != path and beneath(path, root) and Path(root).is_dir() for root in roots
    )


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
