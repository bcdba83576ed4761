"""Events become paths worth a look."""

from pathlib import Path

import anyio
import pytest

from indexer.watch import Watch, watching


@pytest.fixture
async def watch(tmp_path: Path):
    async with watching([str(tmp_path)]) as watch:
        yield watch


async def until_dirty(watch: Watch, path: Path) -> set[str]:
    seen: set[str] = set()
    with anyio.fail_after(5):
        while str(path) not in seen:
            seen |= await watch.dirty()
    return seen


async def test_a_write_makes_its_path_dirty(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("lantern")
    assert str(tmp_path / "a.txt") in await until_dirty(watch, tmp_path / "a.txt")


async def test_a_rename_makes_both_names_dirty(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("lantern")
    await until_dirty(watch, tmp_path / "a.txt")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert str(tmp_path / "a.txt") in await until_dirty(watch, tmp_path / "b.txt")


async def test_a_deletion_makes_its_path_dirty(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("lantern")
    await until_dirty(watch, tmp_path / "a.txt")
    (tmp_path / "a.txt").unlink()
    await until_dirty(watch, tmp_path / "a.txt")


async def test_reading_wakes_nobody(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("lantern")
    await until_dirty(watch, tmp_path / "a.txt")
    with anyio.move_on_after(0.5):
        assert await watch.dirty() <= {str(tmp_path / "a.txt")}  # a late event of the write itself
    (tmp_path / "a.txt").read_text()
    with anyio.move_on_after(0.3) as silence:
        await watch.dirty()
    assert silence.cancelled_caught


async def test_a_root_added_later_is_watched_from_then_on(watch: Watch, tmp_path: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("other")
    assert watch.add([str(other)]) == []
    (other / "a.txt").write_text("lantern")
    await until_dirty(watch, other / "a.txt")


async def test_a_root_that_cannot_be_watched_is_told(watch: Watch, tmp_path: Path) -> None:
    assert watch.add([str(tmp_path / "missing")]) == [str(tmp_path / "missing")]


async def test_what_a_scan_leaves_out_wakes_nobody(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / "data").mkdir()
    async with watching([str(tmp_path)], str(tmp_path / "data")) as watch:
        for name in (".cache/a.txt", "data/b.txt", ".hidden"):
            (tmp_path / name).write_text("lantern")
        (tmp_path / "seen.txt").write_text("lantern")
        assert await until_dirty(watch, tmp_path / "seen.txt") == {str(tmp_path / "seen.txt")}


async def test_a_root_moved_away_and_made_anew_is_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    async with watching([str(root)]) as watch:
        root.rename(tmp_path / "elsewhere")
        root.mkdir()
        assert watch.add([str(root)]) == []
        (root / "a.txt").write_text("lantern")
        await until_dirty(watch, root / "a.txt")
