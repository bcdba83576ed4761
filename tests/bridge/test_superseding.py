import json
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from bridge.folder import Folder, holding
from bridge.superseding import supersede
from tests.bridge.fake_service import FakeService, serving

OURS = "0.10.0"


@pytest.fixture
def place() -> Generator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


async def said(place: Path, service: FakeService, **held: Any) -> list[str]:
    """What a client's user is told, of a daemon whose lock says `held`."""
    (place / "lock").write_text(json.dumps({"pid": 1, "command": "tandem up", **held}))
    words: list[str] = []
    with anyio.fail_after(30):
        async with serving(service, place):
            await to_thread.run_sync(lambda: supersede(str(place), str(place), words.append, OURS))
    return words


@pytest.mark.parametrize("theirs", ["0.9.3", "0.9", "0", "0.9.3.dev4"])
async def test_an_older_daemon_that_is_idle_is_asked_to_end(place: Path, theirs: str) -> None:
    service = FakeService()
    told = await said(place, service, version=theirs)
    assert told == [f"the daemon (process 1) is of Tandem {theirs}, this is {OURS}: it ends, and ours is started"]
    assert service.calls == [("stop", "if idle")]


async def test_a_daemon_that_names_no_version_is_older(place: Path) -> None:
    service = FakeService()
    assert await said(place, service)
    assert service.calls == [("stop", "if idle")]


async def test_an_older_daemon_that_is_busy_stays_and_the_user_is_told_what_to_do(place: Path) -> None:
    service = FakeService()
    service.is_idle = False
    (told,) = await said(place, service, version="0.9")
    assert told.endswith("it is busy and stays, until a client starts while it is idle or until `tandem down`")


@pytest.mark.parametrize("theirs", [OURS, "0.10.1", "1.0"])
async def test_a_daemon_of_the_same_version_or_a_newer_one_is_let_be(place: Path, theirs: str) -> None:
    service = FakeService()
    assert await said(place, service, version=theirs) == []
    assert service.calls == []


async def test_a_short_command_that_has_the_folder_is_let_be(place: Path) -> None:
    service = FakeService()
    assert await said(place, service, version="0.1", command="tandem index") == []
    assert service.calls == []


@pytest.mark.parametrize("lock", [None, "", "[]", "no JSON", '{"pid": 5}', '{"pid": 5, "command": "tandem up"}'])
def test_where_no_daemon_can_be_asked_nothing_happens(place: Path, lock: str | None) -> None:
    if lock is not None:
        (place / "lock").write_text(lock)
    supersede(str(place), str(place), pytest.fail, OURS)


def test_a_daemons_lock_tells_its_version(place: Path) -> None:
    folder = Folder(place)
    with holding(folder):
        assert json.loads(folder.lock.read_text())["version"]
