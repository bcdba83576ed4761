"""Folders become the list of files that belong in the index."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from indexer.scan import Seen, by_name, look, scan


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("lantern")


def names(seen: Seen, folder: Path) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in sorted(seen.files)]


def looked_at(folder: Path, *paths: str) -> Seen:
    return look({str(folder / path) for path in paths}, [str(folder)])


def as_nobody(code: str, *arguments: str) -> str:
    """What a program prints that rights are checked for, as they are not for root."""
    rights = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if rights and not shutil.which("setpriv"):
        pytest.skip("run by root and without setpriv")
    command = [*rights, sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_scan_tells_all_of_its_roots_and_what_tells_a_change(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "sub/b.txt")
    seen = scan([str(tmp_path)])
    assert names(seen, tmp_path) == ["a.txt", "sub/b.txt"]
    now = (tmp_path / "a.txt").stat()
    found = seen.files[str(tmp_path / "a.txt")]
    assert (found.size, found.mtime_ns, found.ctime_ns, found.inode) == (
        now.st_size,
        now.st_mtime_ns,
        now.st_ctime_ns,
        now.st_ino,
    )
    assert (seen.looked, seen.unlisted) == ({str(tmp_path)}, ())


def test_links_are_not_followed_but_for_a_root_that_is_one(tmp_path: Path) -> None:
    write(tmp_path, "outside/a.txt", "root/b.txt")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "c.txt").symlink_to(tmp_path / "outside" / "a.txt")
    (tmp_path / "way").symlink_to(tmp_path / "root")
    assert names(scan([str(tmp_path / "root")]), tmp_path) == ["root/b.txt"]
    assert names(scan([str(tmp_path / "way")]), tmp_path) == ["way/b.txt"]
    assert looked_at(tmp_path / "root", "out/a.txt", "loop/b.txt", "c.txt", "out").files == {}


async def test_pipes_sockets_and_devices_are_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.key")
    with socket.socket(socket.AF_UNIX) as open_socket:
        open_socket.bind(str(tmp_path / "socket"))
        with anyio.fail_after(30):
            seen = await anyio.to_thread.run_sync(scan, [str(tmp_path)])
            looked = await anyio.to_thread.run_sync(looked_at, tmp_path, "pipe.key", "socket")
    assert (names(seen, tmp_path), looked.files, looked.left_out) == (["a.txt"], {}, {})


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_file_systems_of_the_systems_own_figures_are_not_entered() -> None:
    with anyio.fail_after(30):
        assert (await anyio.to_thread.run_sync(look, {"/proc/self/status", "/sys"}, ["/"])).files == {}


def test_what_is_excluded_is_not_looked_at_and_counts_as_gone(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "b.txt", "data/c.txt", "data/deep/d.txt")
    excluded = (str(tmp_path / "b.txt"), str(tmp_path / "data") + "/")
    assert names(scan([str(tmp_path)], excluded), tmp_path) == ["a.txt"]
    assert scan([str(tmp_path / "data" / "deep")], excluded).files == {}
    path = str(tmp_path / "data" / "deep" / "d.txt")
    seen = look({path, str(tmp_path / "b.txt")}, [str(tmp_path)], excluded)
    assert (seen.files, seen.looked) == ({}, {path, str(tmp_path / "b.txt")})


def test_a_look_finds_what_a_scan_would_find_of_the_same_paths(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "sub/b.txt", "sub/.c.txt", "node_modules/d.txt", "out/e.txt", ".env", "f.txt")
    (tmp_path / ".gitignore").write_text("out/\n")
    assert names(looked_at(tmp_path, "a.txt", "sub", "out/e.txt", "node_modules/d.txt", ".env"), tmp_path) == [
        "a.txt",
        "sub/b.txt",
    ]
    assert looked_at(tmp_path, ".env").left_out.keys() == {str(tmp_path / ".env")}


def test_a_look_tells_which_paths_it_can_speak_of(tmp_path: Path) -> None:
    write(tmp_path, "root/a.txt", "other/b.txt")
    root = tmp_path / "root"
    seen = look({str(root / "gone"), str(root / "a.txt"), str(tmp_path / "other")}, [str(root)])
    assert seen.looked == {str(root / "gone"), str(root / "a.txt")}
    assert look({str(tmp_path)}, [str(root)]).looked == {str(root)}


def test_a_look_at_a_folder_finds_what_a_root_within_it_takes_in(tmp_path: Path) -> None:
    write(tmp_path, "sub/.notes/a.txt", "sub/b.txt")
    roots = [str(tmp_path), str(tmp_path / "sub" / ".notes")]
    assert look({str(tmp_path / "sub")}, roots).files == scan(roots).files


@pytest.mark.parametrize("name", [".gitignore", ".tandemignore"])
def test_an_edited_ignore_file_has_its_whole_folder_looked_at(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.txt", "sub/b.log", "sub/deep/c.log", "sub/d.txt")
    (tmp_path / "sub" / name).write_text("*.log\n")
    seen = looked_at(tmp_path, f"sub/{name}")
    assert names(seen, tmp_path) == ["sub/d.txt"]
    assert str(tmp_path / "sub") in seen.looked
    (tmp_path / "sub" / name).unlink()
    assert names(looked_at(tmp_path, f"sub/{name}"), tmp_path) == ["sub/b.log", "sub/d.txt", "sub/deep/c.log"]


def test_a_root_that_is_not_there_is_kept_and_one_deleted_from_another_root_is_gone(tmp_path: Path) -> None:
    write(tmp_path, "outer/a.txt")
    outer, inner, away = (str(tmp_path / name) for name in ("outer", "outer/inner", "away"))
    assert scan([outer, inner, away]).unlisted == (away,)
    assert look({f"{away}/a.txt", f"{inner}/b.txt"}, [outer, inner, away]).unlisted == (away,)
    assert scan([inner]).unlisted == (inner,)


def test_folders_that_cannot_be_listed_or_searched_are_named_and_not_taken_for_empty(tmp_path: Path) -> None:
    write(tmp_path, "open/a.txt", "shut/b.txt", "unsearchable/c.txt")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    (tmp_path / "shut").chmod(0)
    (tmp_path / "unsearchable").chmod(0o744)
    code = (
        "import sys; from indexer.scan import scan, look; root = sys.argv[1]; s = scan([root]);"
        "l = look({root + '/shut/b.txt', root + '/unsearchable/c.txt'}, [root]);"
        "print([p[len(root):] for p in (*s.files, *s.unlisted, *l.files, *l.unlisted)])"
    )
    expected = ["/open/a.txt", "/shut", "/unsearchable", "/shut/b.txt", "/unsearchable/c.txt"]
    if os.geteuid() != 0:
        (tmp_path / "unsearchable").chmod(0o600)
    try:
        assert as_nobody(code, str(tmp_path)) == str(expected)
    finally:
        for name in ("shut", "unsearchable"):
            (tmp_path / name).chmod(0o755)


def test_on_a_disk_that_ignores_case_a_file_has_one_name(tmp_path: Path) -> None:
    write(tmp_path, "Notes/A.txt")
    if not (tmp_path / "nOTES").exists():
        pytest.skip("this disk tells a from A")
    assert looked_at(tmp_path, "Notes/a.txt", "nOTES/A.txt", "Notes/A.txt").files == scan([str(tmp_path)]).files


def test_names_that_differ_in_case_alone_are_two_files_where_the_disk_says_so(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "A.TXT")
    seen = looked_at(tmp_path, "a.txt", "A.TXT")
    assert seen.files == scan([str(tmp_path)]).files


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/r/a.txt", True),
        ("/r/sub/.gitignore", True),
        ("/r/.tandemignore", True),
        ("/r", True),
        ("/r/venv", True),
        ("/r/.hidden", False),
        ("/r/.git/.gitignore", False),
        ("/r/node_modules/a.txt", False),
        ("/r/data/a.txt", False),
        ("/r/forgotten.txt", False),
        ("/rest/a.txt", False),
        ("/.notes/a.txt", True),
    ],
)
def test_by_its_name_alone_most_of_what_is_not_indexed_is_told(path: str, taken: bool) -> None:
    assert by_name(path, ["/r", "/.notes"], {"/r/data", "/r/forgotten.txt"}) is taken
    assert by_name("/r/a.txt", ["/"])


def test_looking_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", ".env", "sub/b.key", "sub/.gitignore")
    before = {path: (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in (tmp_path, *tmp_path.rglob("*"))}
    scan([str(tmp_path)])
    looked_at(tmp_path, "a.txt", "sub", "sub/.gitignore")
    after = {path: (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in (tmp_path, *tmp_path.rglob("*"))}
    assert after == before
