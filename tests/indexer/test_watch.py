"""Events become paths worth a look."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from indexer.events import Observed
from indexer.mounts import mounted, parse, silent
from indexer.scan import scan
from indexer.watch import Watch, watching

linux = pytest.mark.skipif(sys.platform != "linux", reason="this is how Linux tells of changes")
PROJECT = Path(__file__).parents[2]


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncGenerator[Watch]:
    async with watching() as watch:
        await watch.watch([str(tmp_path)])
        yield watch


async def until_dirty(watch: Watch, *paths: Path) -> set[str]:
    seen: set[str] = set()
    with anyio.fail_after(30):
        while not seen >= {str(path) for path in paths}:
            seen |= await watch.dirty() or set()
    return seen


async def silence(watch: Watch) -> None:
    with anyio.move_on_after(0.3) as waited:
        assert await watch.dirty() == set()
    assert waited.cancelled_caught


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("lantern")


def folders_armed() -> int:
    told = (path.read_text() for path in Path("/proc/self/fdinfo").iterdir() if path.exists())
    return sum(text.count("inotify wd:") for text in told)


async def test_a_write_makes_its_path_dirty(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    await until_dirty(watch, tmp_path / "a.txt")


async def test_a_rename_makes_both_names_dirty(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    await until_dirty(watch, tmp_path / "a.txt")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    await until_dirty(watch, tmp_path / "a.txt", tmp_path / "b.txt")


async def test_a_deletion_makes_its_path_dirty(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    await until_dirty(watch, tmp_path / "a.txt")
    (tmp_path / "a.txt").unlink()
    await until_dirty(watch, tmp_path / "a.txt")


@linux
async def test_a_change_of_rights_makes_its_path_dirty(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", tmp_path / "sub" / "b.txt")
    await until_dirty(watch, tmp_path / "a.txt", tmp_path / "sub")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "sub").chmod(0o700)
    await until_dirty(watch, tmp_path / "a.txt", tmp_path / "sub")


async def test_reading_wakes_nobody(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "a.txt")
    await until_dirty(watch, tmp_path / "a.txt")
    with anyio.move_on_after(0.5):
        assert await watch.dirty() == {str(tmp_path / "a.txt")}  # a late event of the write itself
    (tmp_path / "a.txt").read_text()
    scan([str(tmp_path)])
    await silence(watch)


async def test_what_a_new_folder_held_before_it_was_heard_of_is_seen_by_a_look_at_it(
    watch: Watch, tmp_path: Path
) -> None:
    write(tmp_path / "outside" / "deep" / "a.txt")
    root = tmp_path / "root"
    root.mkdir()
    await watch.watch([str(root)])
    (tmp_path / "outside").rename(root / "inside")
    await until_dirty(watch, root / "inside")
    write(root / "inside" / "deep" / "b.txt")
    await until_dirty(watch, root / "inside" / "deep" / "b.txt")


async def test_a_folder_that_is_renamed_goes_on_under_its_new_name(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "old" / "deep" / "a.txt")
    await until_dirty(watch, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    await until_dirty(watch, tmp_path / "old", tmp_path / "new")
    write(tmp_path / "new" / "deep" / "b.txt")
    seen = await until_dirty(watch, tmp_path / "new" / "deep" / "b.txt")
    assert str(tmp_path / "old" / "deep" / "b.txt") not in seen


async def test_a_file_moved_from_one_root_to_another_makes_both_names_dirty(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write(one / "sub" / "a.txt", other / "b.txt")
    async with watching() as watch:
        await watch.watch([str(one), str(other)])
        (one / "sub").rename(other / "sub")
        await until_dirty(watch, one / "sub", other / "sub")
        write(other / "sub" / "c.txt")
        await until_dirty(watch, other / "sub" / "c.txt")


async def test_exactly_the_roots_given_last_are_watched(watch: Watch, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write(one / "a.txt", other / "a.txt")
    await until_dirty(watch, one, other)
    await watch.watch([str(other)])
    write(one / "b.txt", other / "b.txt")
    assert not any("/one/" in path for path in await until_dirty(watch, other / "b.txt"))
    await watch.watch([str(one)])
    write(one / "c.txt", other / "c.txt")
    assert not any("/other/" in path for path in await until_dirty(watch, one / "c.txt"))


@pytest.mark.parametrize("left", ["", "inner", ".inner"])
async def test_of_a_root_in_another_each_is_heard_without_the_other(watch: Watch, tmp_path: Path, left: str) -> None:
    write(tmp_path / "a.txt", tmp_path / "inner" / "a.txt", tmp_path / ".inner" / "a.txt")
    roots = [str(tmp_path), str(tmp_path / "inner"), str(tmp_path / ".inner")]
    await watch.watch(roots)
    await watch.watch([str(tmp_path / left)])
    write(tmp_path / "b.txt", tmp_path / "inner" / "b.txt", tmp_path / ".inner" / "b.txt")
    expected = {"": ["b.txt", "inner/b.txt"], "inner": ["inner/b.txt"], ".inner": [".inner/b.txt"]}[left]
    seen = await until_dirty(watch, *(tmp_path / path for path in expected))
    assert {path for path in seen if path.endswith("b.txt")} == {str(tmp_path / path) for path in expected}


async def test_what_a_root_ignores_is_heard_of_in_a_root_within_it(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "inner" / "a.log")
    await watch.watch([str(tmp_path / "inner"), str(tmp_path)])
    (tmp_path / ".gitignore").write_text("*.log\n")
    await until_dirty(watch, tmp_path / ".gitignore")
    write(tmp_path / "b.log", tmp_path / "inner" / "b.log")
    assert str(tmp_path / "b.log") not in await until_dirty(watch, tmp_path / "inner" / "b.log")


async def test_a_folder_with_a_root_in_it_that_goes_and_comes_back_is_watched_again(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "sub" / "inner"
    write(inner / "a.txt")
    async with watching() as watch:
        await watch.watch([str(outer), str(inner)])
        (outer / "sub").rename(tmp_path / "away")
        await until_dirty(watch, outer / "sub")
        (tmp_path / "away").rename(outer / "sub")
        await until_dirty(watch, outer / "sub")
        write(inner / "b.txt")
        await until_dirty(watch, inner / "b.txt")


async def test_what_a_scan_leaves_out_wakes_nobody(watch: Watch, tmp_path: Path) -> None:
    for name in (".cache", "data", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / ".gitignore").write_text("out/\n*.log\n")
    await watch.watch([str(tmp_path)], {str(tmp_path / "data"), str(tmp_path / "forgotten.txt")})
    await until_dirty(watch, tmp_path / ".gitignore")
    for name in (".cache/a.txt", "data/b.txt", ".hidden", "forgotten.txt", "out/c.txt", "d.log", "seen.txt"):
        write(tmp_path / name)
    assert await until_dirty(watch, tmp_path / "seen.txt") == {str(tmp_path / "seen.txt")}


@linux
async def test_folders_that_a_scan_does_not_enter_cost_no_watch(tmp_path: Path) -> None:
    for name in ("node_modules", ".git", "out", "data", "sub"):
        for number in range(20):
            (tmp_path / name / str(number)).mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("out/\n")
    before = folders_armed()
    async with watching() as watch:
        await watch.watch([str(tmp_path)], {str(tmp_path / "data")})
        assert folders_armed() - before == 22
        shutil.rmtree(tmp_path / "sub")
        await until_dirty(watch, tmp_path / "sub")
        assert folders_armed() - before == 1
        await watch.watch([])
        assert folders_armed() == before


@linux
async def test_an_edited_ignore_file_decides_what_wakes_from_then_on(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / ".notes" / "a.txt", tmp_path / "out" / "b.txt")
    await until_dirty(watch, tmp_path / "out")
    (tmp_path / ".tandemignore").write_text("!.notes\nout\n")
    await until_dirty(watch, tmp_path / ".tandemignore")
    write(tmp_path / "out" / "c.txt", tmp_path / ".notes" / "d.txt")
    seen = await until_dirty(watch, tmp_path / ".notes" / "d.txt")
    assert str(tmp_path / "out" / "c.txt") not in seen
    (tmp_path / ".tandemignore").unlink()
    await until_dirty(watch, tmp_path / ".tandemignore")
    write(tmp_path / ".notes" / "e.txt", tmp_path / "out" / "f.txt")
    assert str(tmp_path / ".notes" / "e.txt") not in await until_dirty(watch, tmp_path / "out" / "f.txt")


async def test_a_root_moved_away_and_made_anew_is_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with watching() as watch:
        await watch.watch([str(root)])
        root.rename(tmp_path / "elsewhere")
        root.mkdir()
        await watch.watch([str(root)])
        write(root / "a.txt", tmp_path / "elsewhere" / "b.txt")
        assert await until_dirty(watch, root / "a.txt") <= {str(root), str(root / "a.txt")}


@linux
async def test_a_root_deleted_and_made_anew_is_watched_again_by_itself(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "a.txt")
    async with watching(poll_s=0.2) as watch:
        await watch.watch([str(root), str(tmp_path / "later")])
        shutil.rmtree(root)
        await until_dirty(watch, root)
        for folder in (root, tmp_path / "later"):
            write(folder / "b.txt")
            await until_dirty(watch, folder)
            write(folder / "c.txt")
            await until_dirty(watch, folder / "c.txt")


async def test_no_watch_is_left_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    async with watching() as watch:
        await watch.watch([str(tmp_path)])
    left = [thread for thread in threading.enumerate() if "AnyIO" not in thread.name]
    assert len(left) <= before


async def test_watching_changes_nothing(watch: Watch, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", tmp_path / ".gitignore", tmp_path / "sub" / "b.txt")
    for path in tmp_path.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in (tmp_path, *tmp_path.rglob("*"))}
    await until_dirty(watch, tmp_path / "sub")
    await watch.watch([str(tmp_path)], {str(tmp_path / "sub")})
    scan([str(tmp_path)])
    after = {path: (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in (tmp_path, *tmp_path.rglob("*"))}
    assert after == before


WATCHER = """
import subprocess, sys, anyio
from indexer.watch import watching
async def main():
    async with watching(poll_s=float(sys.argv[2])) as watch:
        await watch.watch([sys.argv[1]])
        for folder in sys.argv[3:]:
            subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        print("armed", watch.polled, flush=True)
        while True:
            dirty = await watch.dirty()
            print("everything" if dirty is None else sorted(dirty)[:3], flush=True)
anyio.run(main)
"""


def watcher(folder: Path, poll_s: float, prefix: tuple[str, ...] = (), mounted: str = "") -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", WATCHER, str(folder), str(poll_s), *([mounted] if mounted else [])]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


async def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)


@linux
async def test_after_more_events_than_the_system_keeps_everything_is_looked_at(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip(f"this system keeps {most} events")
    process = watcher(tmp_path, poll_s=60)
    try:
        with anyio.fail_after(60):
            assert await said(process) == "armed {}\n"
            process.send_signal(signal.SIGSTOP)
            for number in range(most):  # each is two events
                (tmp_path / f"{number}.txt").touch()
            (tmp_path / "late").mkdir()
            process.send_signal(signal.SIGCONT)
            while await said(process) != "everything\n":
                pass  # what came before the loss
            write(tmp_path / "late" / "a.txt")  # in a folder whose coming was lost
            while (line := await said(process)) == "everything\n":
                pass
            assert line == f"{[str(tmp_path / 'late' / 'a.txt')]}\n"
    finally:
        process.kill()
        process.wait()


@linux
async def test_where_the_systems_limit_is_reached_the_root_is_polled_and_says_so(tmp_path: Path) -> None:
    limited = ("unshare", "--user", "--map-root-user", "sh", "-c")
    limit = "echo 5 > /proc/sys/user/max_inotify_watches"
    if not shutil.which("unshare") or (await anyio.run_process([*limited, limit], check=False)).returncode:
        pytest.skip("no limit can be set here")
    for number in range(10):
        (tmp_path / str(number)).mkdir()
    process = watcher(tmp_path, 0.1, (*limited, f'{limit}; exec "$@"', "sh"))
    try:
        with anyio.fail_after(60):
            line = await said(process)
            reason = "the system's watch limit is reached: raise fs.inotify.max_user_watches"
            assert line == f"armed { ({str(tmp_path): reason}) }\n"
            for _ in range(2):
                assert await said(process) == f"{[str(tmp_path)]}\n"
    finally:
        process.kill()
        process.wait()


@linux
async def test_a_disk_that_is_mounted_in_a_root_is_watched_from_then_on(tmp_path: Path) -> None:
    apart = ("unshare", "--user", "--map-root-user", "--mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounts = [*apart, "mount", "-t", "tmpfs", "none", str(disk)]
    if not shutil.which("unshare") or (await anyio.run_process(mounts, check=False)).returncode:
        pytest.skip("nothing can be mounted here")
    process = watcher(tmp_path, 0.1, apart, str(disk))
    try:
        with anyio.fail_after(60):
            assert await said(process) == "armed {}\n"
            assert await said(process) == f"{[str(tmp_path)]}\n"
            write(Path(f"/proc/{process.pid}/root{disk}/a.txt"))  # as it is seen from within
            assert await said(process) == f"{[str(disk / 'a.txt')]}\n"
    finally:
        process.kill()
        process.wait()


async def test_polling_makes_the_root_itself_dirty_from_time_to_time(tmp_path: Path) -> None:
    async with watching(poll_s=0.05, poll_all=True) as watch:
        await watch.watch([str(tmp_path)])
        assert watch.polled == {str(tmp_path): "polling is asked for"}
        with anyio.fail_after(30):
            assert [await watch.dirty() for _ in range(3)] == [{str(tmp_path)}] * 3
        await watch.watch([])
        assert watch.polled == {}


async def test_polling_costs_a_twentieth_of_the_time_at_most(tmp_path: Path) -> None:
    async with watching(poll_s=0.01, poll_all=True) as watch:
        await watch.watch([str(tmp_path)])
        with anyio.fail_after(30):
            await watch.dirty()
            time.sleep(0.05)  # a look that takes long  # noqa: ASYNC251
            began = anyio.current_time()
            await watch.dirty()
            assert anyio.current_time() - began >= 1


MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 27 0:40 / /home/me/team rw - nfs4 server:/team rw,vers=4.2
31 27 0:41 / /home/me/two\040words\134x rw shared:7 master:3 - fuse.sshfs me@there: rw
32 27 0:42 / /home/me/docs/remote rw - cifs //there/share rw
33 27 0:43 / /home/me/docs/local rw - overlay overlay rw,lowerdir=/a
34 27 0:44 / /home/me/shared rw - virtiofs tag rw
35 27 259:1 /some/where /home/me/bound rw - ext4 /dev/root rw
36 30 0:45 / /home/me/team/fast rw - tmpfs none rw
37 27 0:46 / /home/me/twice rw - nfs a:/b rw
38 27 0:47 / /home/me/twice rw - ext4 /dev/sdb rw
a line of no sense
"""


def test_a_table_of_mounts_is_read_with_odd_names_and_the_later_of_two_on_one_point() -> None:
    mounts = parse(MOUNTS)
    assert mounts["/home/me/two words\\x"] == "fuse.sshfs"
    assert mounts["/home/me/twice"] == "ext4"
    assert len(mounts) == 10


def test_network_and_shared_folders_are_polled_and_local_ones_are_not() -> None:
    mounts = parse(MOUNTS)
    assert silent("/home/me/team", mounts) == {"/home/me/team": "a network file system (nfs4)"}
    assert silent("/home/me/team/sub", mounts) == {"/home/me/team/sub": "a network file system (nfs4)"}
    assert silent("/home/me/docs", mounts) == {"/home/me/docs/remote": "a network file system (cifs)"}
    assert silent("/home/me/shared/x", mounts) == {"/home/me/shared/x": "a folder shared from outside (virtiofs)"}
    for local in ("/home/me/bound", "/home/me/docs/local", "/home/me/team/fast", "/home/me/twice", "/home/me/teamwork"):
        assert silent(local, mounts) == {}
    assert silent("/", mounts).keys() == {
        "/home/me/docs/remote",
        "/home/me/shared",
        "/home/me/team",
        "/home/me/two words\\x",
    }


@linux
def test_this_system_has_a_root_that_is_mounted() -> None:
    assert "/" in mounted()


def test_elsewhere_watchdogs_observer_tells_of_changes(tmp_path: Path) -> None:
    told: set[str] = set()
    heard = threading.Event()

    def note(paths: object) -> None:
        told.update(map(str, paths if isinstance(paths, list) else ()))
        if str(tmp_path / "b.txt") in told:
            heard.set()

    observed = Observed(note)
    try:
        assert observed.arm(str(tmp_path), {str(tmp_path / "a.txt")}, ()) is None
        assert "refuses" in (observed.arm(str(tmp_path / "missing"), (), ()) or "")
        observed.arm(str(tmp_path), {str(tmp_path / "a.txt")}, ())
        write(tmp_path / ".git" / "x", tmp_path / "a.txt", tmp_path / "b.txt")
        assert heard.wait(60)
        assert told == {str(tmp_path / "b.txt")}
    finally:
        observed.close()
