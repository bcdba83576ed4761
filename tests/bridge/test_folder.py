import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from bridge import sockets
from bridge.folder import Folder, Held, held, holding
from bridge.whereabouts import Unusable

HOLD = """
import sys, pathlib
from bridge.folder import Folder, holding
sys.argv[1:2] = ["up"]
with holding(Folder(pathlib.Path(sys.argv[2]))):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data")


@pytest.fixture
def deep(tmp_path: Path) -> Generator[Folder]:
    """Too long a path for a Unix socket in it."""
    folder = Folder(tmp_path / ("deep" * 30) / "data")
    folder.make()
    yield folder
    for path in (folder.http_socket, folder.mcp_socket):
        path.unlink(missing_ok=True)
    folder.http_socket.parent.rmdir()


def test_the_folder_is_made_for_this_user_alone(folder: Folder) -> None:
    with holding(folder):
        assert stat.S_IMODE(folder.data.stat().st_mode) == 0o700


def test_one_process_holds_the_folder_until_it_leaves(folder: Folder) -> None:
    assert not held(folder)
    with holding(folder):
        assert held(folder)
        with pytest.raises(Held), holding(folder):
            pass
        assert held(folder)
    assert not held(folder)
    with holding(folder):
        pass


def test_whoever_comes_second_is_told_who_holds_it_and_a_dead_holder_lets_go(folder: Folder) -> None:
    command = [sys.executable, "-c", HOLD, "up", str(folder.data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"holds\n"
        with pytest.raises(Held) as refused, holding(folder):
            pass
        process.kill()
    said = str(refused.value)
    assert f"{folder.data} is in use by process {process.pid} (`tandem up`, since " in said
    assert "stop it with `tandem down`, or use another folder with --data" in said
    with holding(folder):
        pass


@pytest.mark.parametrize("told", ["", "[]", "1", '{"pid": 5}', "no JSON"])
def test_a_lock_that_says_nothing_readable_still_locks(folder: Folder, told: str) -> None:
    with holding(folder):
        folder.lock.write_text(told)
        with pytest.raises(Held, match="is in use by another process; let it end, or use another"), holding(folder):
            pass


@pytest.mark.parametrize("name", ["file", "file/data"])
def test_a_place_where_no_folder_can_be_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unusable) as refused, holding(Folder(tmp_path / name)):
        pass
    assert f"{tmp_path / name} was expected to be a folder that Tandem can write to" in str(refused.value)
    assert "use another with --data or TANDEM_DATA" in str(refused.value)


def test_a_folder_that_cannot_be_locked_is_named_with_the_remedy(folder: Folder) -> None:
    folder.lock.mkdir(parents=True)
    with pytest.raises(Unusable, match=r"Tandem can write to \(Is a directory\); use another"), holding(folder):
        pass


async def test_sockets_stand_in_the_folder_where_their_path_is_short_enough() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Folder(Path(short))
        assert folder.http_socket.parent == folder.mcp_socket.parent == folder.data
        async with sockets.bound(str(folder.mcp_socket)):
            pass


async def test_of_a_long_path_the_sockets_stand_elsewhere_in_a_folder_for_this_user_alone(deep: Folder) -> None:
    place = deep.http_socket.parent
    assert place == deep.mcp_socket.parent != deep.data
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert place != Folder(deep.data.with_name("other")).http_socket.parent
    async with sockets.bound(str(deep.http_socket)), sockets.bound(str(deep.mcp_socket)):
        assert deep.http_socket.is_socket()


@pytest.mark.parametrize("mode", [0o750, 0o701])
def test_a_sockets_folder_that_others_may_open_is_refused(deep: Folder, mode: int) -> None:
    place = deep.http_socket.parent
    place.chmod(mode)
    with pytest.raises(Unusable, match="that only this user may open; remove it"):
        _ = deep.mcp_socket
    place.chmod(0o700)
