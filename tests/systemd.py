"""A real systemd as the first process of namespaces of its own: nothing of this machine is changed by it.

Its files are this machine's, read-only, under empty /tmp, /run, /var, /home and a copy of /etc; its network is an empty
one; of the system's units it has none but the targets that ours name. Needs root, util-linux and systemd.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SYSTEMD = Path("/usr/lib/systemd/systemd")
_TARGETS = ("basic", "sysinit", "multi-user", "network-online", "shutdown", "umount", "default")
_NAMESPACES = ("unshare", "--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc", "--net", "--kill-child")
_LIMIT_S = 60
# The units of users: what PAM and logind would do is done here.
_MANAGER = """[Service]
Type=notify
User=%i
Delegate=yes
Environment=XDG_RUNTIME_DIR=/run/user/%i
ExecStart=/usr/lib/systemd/systemd --user
KillMode=mixed
"""
_SETUP = r"""
set -e
new=$1; shift
mount --make-rprivate /
mount --bind / $new
mount -o remount,bind,ro $new
# A folder that others may not enter hides the interpreter from the users of services.
for shut in "$@"; do
  mount -t tmpfs -o mode=755 tmpfs $new$shut
done
for kept in $KEPT; do
  mkdir -p $new$kept 2>/dev/null || true
  mount --bind $kept $new$kept && mount -o remount,bind,ro $new$kept
done
for folder in tmp run var home; do mount -t tmpfs -o mode=755 tmpfs $new/$folder; done
chmod 1777 $new/tmp
mkdir -p $new/var/lib $new/var/tmp $new/run/user
mount -t tmpfs -o mode=755 tmpfs $new/mnt
cp -a /etc $new/mnt/etc && mount --bind $new/mnt/etc $new/etc
rm -rf $new/etc/systemd/system/* $new/etc/systemd/user/*
cp -r $UNITS/* $new/etc/systemd/system/
mount -t proc proc $new/proc
mount -t sysfs -o ro sysfs $new/sys
mount -t cgroup2 cgroup2 $new/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $new/dev
for node in null zero full random urandom tty; do touch $new/dev/$node; mount --bind /dev/$node $new/dev/$node; done
mkdir -m 1777 $new/dev/shm; mkdir $new/dev/pts $new/dev/mqueue $new/dev/hugepages
ln -s /proc/self/fd $new/dev/fd; ln -s pts/ptmx $new/dev/ptmx; touch $new/dev/console
cd $new
pivot_root . .
umount -l .
exec chroot . env -i container=lxc PATH=$PATH SYSTEMD_UNIT_PATH=/etc/systemd/system \
  /usr/lib/systemd/systemd --system --unit=basic.target --log-target=null
"""


@dataclass(frozen=True, slots=True)
class Machine:
    pid: int

    def run(
        self, *words: str, user: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Ends before it comes back, whatever its exit status."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd=/"]
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if user else []
        told = [
            f"{name}={value}" for name, value in {"PATH": os.environ["PATH"], "HOME": "/root", **(env or {})}.items()
        ]
        return subprocess.run(
            [*inside, *as_user, "env", "-i", *told, *words],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )

    def says(self, *words: str, **how: object) -> str:
        ended = self.run(*words, **how)  # type: ignore[arg-type]
        assert ended.returncode == 0, (words, ended.stdout, ended.stderr)
        return ended.stdout

    def until(self, words: Sequence[str], expected: str, within_s: float = 30, **how: object) -> str:
        """What the command says once that is in it: another manager's state has no event for us."""
        ends = time.monotonic() + within_s
        while expected not in (said := (ended := self.run(*words, **how)).stdout + ended.stderr):  # type: ignore[arg-type]
            assert time.monotonic() < ends, f"{expected!r} was expected of {words}, it says {said}"
            time.sleep(0.1)
        return said


@contextmanager
def machine() -> Generator[Machine]:
    if not os.environ.get("TANDEM_TEST_SYSTEMD_REQUIRED"):
        pytest.skip("a second systemd is started only where TANDEM_TEST_SYSTEMD_REQUIRED asks for it")
    if Path(sys.prefix).is_relative_to("/tmp"):
        pytest.skip("this Tandem lies below /tmp, which a machine of its own has empty")
    if reason := _missing():
        pytest.fail(reason)
    with tempfile.TemporaryDirectory() as folder:
        units = Path(folder, "units")
        units.mkdir()
        for name in _TARGETS:
            (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n")
        (units / "user@.service").write_text(_MANAGER)
        (units / "service.d").mkdir()
        (units / "service.d" / "log.conf").write_text(
            "[Service]\nStandardError=append:/run/log.%N\n"
        )  # no journal here
        root = Path(folder, "root")
        root.mkdir()
        kept = [sys.base_prefix, sys.prefix]
        environment = {"PATH": os.environ["PATH"], "UNITS": str(units), "KEPT": " ".join(_hidden(kept))}
        with subprocess.Popen(
            [*_NAMESPACES, "sh", "-c", _SETUP, "sh", str(root), *_shut(kept)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                made = Machine(_child(process))
                made.until(["systemctl", "is-system-running"], "running")
                yield made
            finally:
                process.kill()


def _missing() -> str | None:
    if os.geteuid() != 0:
        return "root is needed to give systemd namespaces of its own"
    if not SYSTEMD.exists():
        return f"{SYSTEMD} is not here"
    tools = [tool for tool in ("unshare", "nsenter", "setpriv") if not shutil.which(tool)]
    if tools:
        return f"{', '.join(tools)} of util-linux is not here"
    tried = subprocess.run(
        [*_NAMESPACES, "mount", "-t", "cgroup2", "cgroup2", "/mnt"], capture_output=True, check=False
    )
    return f"no namespaces are to be had here: {tried.stderr.decode()}" if tried.returncode else None


def _shut(paths: Sequence[str]) -> list[str]:
    """The outermost folders on the way that other users may not enter."""
    found = {
        next((str(one) for one in reversed(Path(path).parents) if not one.stat().st_mode & 1), "") for path in paths
    }
    return sorted(found - {""})


def _hidden(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if any(Path(path).is_relative_to(shut) for shut in _shut(paths))]


def _child(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    ends = time.monotonic() + _LIMIT_S
    while not (pids := children.read_text().split()) or Path(f"/proc/{pids[0]}/comm").read_text() != "systemd\n":
        assert time.monotonic() < ends and process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)
    return int(pids[0])
