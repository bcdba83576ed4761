"""Which of the known documents are gone, and which only seem to be.

Deletions are applied, also those that happened while nothing ran. They are held back, and said, where a disk is more
likely to be away than its files: a folder that cannot be listed, a root on another device than before, or a look
that misses more than 30 % and more than 100 of the documents. What only moved is not missing.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from indexer.records import Known, Stat
from indexer.scan import Seen, among, beneath

_MANY_SHARE, _MANY = 0.3, 100


@dataclass(frozen=True, slots=True)
class Missing:
    """`deleted`: to be forgotten now, `moved` of them because their content came back elsewhere in this run. `held`:
    kept for now, for `reason`. `devices`: where the roots lie now, null while one is in doubt."""

    deleted: tuple[str, ...]
    moved: int
    held: tuple[str, ...]
    reason: str | None
    devices: Mapping[str, str] | None


def missing(
    known: Mapping[str, Known],
    read: Mapping[str, str],
    found: Seen,
    seen: Mapping[str, Stat],
    before: Mapping[str, str],
    now: Mapping[str, str],
    accept: bool = False,
) -> Missing:
    """`known` as before the run, `read`: the hashes by path of what the run has read, `seen`: what the look found,
    `before` and `now`: on which device each root lies. `accept`: hold nothing back."""
    gone = [path for path in _at_or_beneath(known, found.looked) if path not in seen]
    gone = [path for path in gone if not any(beneath(path, folder) for folder in found.unlisted)]
    if not gone:
        return Missing((), 0, (), None, now)
    came = Counter(sha256 for path, sha256 in read.items() if path not in known)
    moved = sum((Counter(known[path].sha256 for path in gone if known[path].sha256) & came).values())
    # Content that stands elsewhere is not lost, whatever became of this path.
    standing = {known[path].sha256 for path in seen if path in known} | set(read.values())
    lost = [path for path in gone if known[path].sha256 and known[path].sha256 not in standing]
    held, reason = ([], None) if accept else _held(lost, known, before, now)
    keep = set(held)
    deleted = tuple(path for path in gone if path not in keep)
    return Missing(deleted, moved, tuple(held), reason, None if held else now)


def _held(
    lost: Collection[str], known: Mapping[str, Known], before: Mapping[str, str], now: Mapping[str, str]
) -> tuple[list[str], str | None]:
    elsewhere = [root for root, device in now.items() if _other_disk(before.get(root), device)]
    away = [path for path in lost if any(beneath(path, root) for root in elsewhere)]
    if len(lost) > _MANY and len(lost) > _MANY_SHARE * len(known):
        return list(lost), f"{_files(lost)} that were indexed are missing, more than 30 % of all"
    if away:
        return away, f"{_files(away)} are missing and {elsewhere[0]} is on another device than before"
    return [], None


def _files(paths: Collection[str]) -> str:
    common = os.path.commonpath(list(paths))
    return f"{len(paths)} files under {common}" if len(paths) > 1 else f"the file {common}"


def devices_of(roots: Iterable[str]) -> dict[str, str]:
    """The device's number and its file system's id, of the roots that are there: the first may change with a reboot,
    both change with the disk."""
    found: dict[str, str] = {}
    for root in roots:
        with suppress(OSError):
            found[root] = f"{Path(root).stat().st_dev}:{os.statvfs(root).f_fsid}"
    return found


def _other_disk(before: str | None, now: str) -> bool:
    if before is None:
        return False
    return all(old != new for old, new in zip(before.split(":"), now.split(":"), strict=True))


def _at_or_beneath(known: Mapping[str, Known], looked: Collection[str]) -> list[str]:
    return [path for path in known if among(path, looked)]
