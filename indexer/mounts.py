"""The system's table of mounts becomes the folders whose changes it does not report."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
# What is changed from another machine, or from outside of a container or virtual machine, makes no events in this one.
_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs ncpfs afs coda ceph glusterfs lustre gpfs beegfs orangefs pvfs2 ocfs2 gfs2 davfs davfs2"
    " sshfs".split()
)
_SHARED = frozenset("9p virtiofs drvfs vboxsf vmhgfs prl_fs grpcfuse osxfs fakeowner fuse".split())
_PSEUDO = frozenset(
    "proc sysfs devtmpfs devpts cgroup cgroup2 debugfs tracefs securityfs configfs pstore bpf mqueue hugetlbfs efivarfs"
    " fusectl binfmt_misc rpc_pipefs selinuxfs nsfs".split()
)


def parse(mountinfo: str) -> dict[str, str]:
    """Mount point -> kind of file system, of /proc/self/mountinfo's text. Of two on one point the later is seen."""
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if dash and len(fields) > 4 and right:
            found[_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4])] = right.split(" ")[0]
    return found


def mounted() -> dict[str, str]:
    """As `parse`, of the system as it is now; empty where it has no such table (macOS)."""
    try:
        return parse(_TABLE.read_text(errors="surrogateescape"))
    except OSError:
        return {}


def silent(root: str, mounts: Mapping[str, str]) -> dict[str, str]:
    """The root or the folders beneath it whose changes the system does not report -> why, in words."""
    real = os.path.realpath(root)
    at = max((point for point in mounts if _beneath(real, point)), key=len, default=None)
    if at is not None and (why := _why(mounts[at])):
        return {root: why}
    beneath = {root.rstrip("/") + point[len(real.rstrip("/")) :]: _why(mounts[point]) for point in _in(real, mounts)}
    return {folder: why for folder, why in beneath.items() if why}


def pseudo(roots: Iterable[str]) -> frozenset[str]:
    """Mounts beneath the roots that hold the system's own figures (/proc, /sys) and no files."""
    mounts = {point: kind for point, kind in mounted().items() if kind in _PSEUDO}
    return frozenset(point for root in roots for point in _in(root, mounts))


def _why(kind: str) -> str | None:
    if kind in _NETWORK or kind.startswith("fuse."):
        return f"a network file system ({kind})"
    return f"a folder shared from outside ({kind})" if kind in _SHARED else None


def _in(folder: str, mounts: Mapping[str, str]) -> list[str]:
    return [point for point in mounts if point != folder and _beneath(point, folder)]


def _beneath(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
