"""Deletions are applied; what looks like a disk that is away is held back, and said."""

import shutil
from pathlib import Path

from indexer.missing import missing
from indexer.records import Known, Stat
from indexer.scan import Seen
from tests.indexer.conftest import Library

STAT = Stat(1, 2, 3, 4)


def known(*paths: str) -> dict[str, Known]:
    return {path: Known(STAT, f"sha of {Path(path).name}", "indexed", 0.0, False) for path in paths}


def seen(*paths: str, unlisted: tuple[str, ...] = ()) -> Seen:
    return Seen(dict.fromkeys(paths, STAT), unlisted=unlisted, looked=frozenset({"/a"}))


MANY = [f"/a/{n}.txt" for n in range(300)]


def test_what_is_not_seen_is_deleted() -> None:
    found = seen("/a/1.txt")
    gone = missing(known("/a/1.txt", "/a/2.txt", "/b/3.txt"), {}, found, found.files, {}, {})
    assert (gone.deleted, gone.held) == (("/a/2.txt",), ())


def test_a_third_of_many_files_at_once_is_held_back_until_it_is_accepted() -> None:
    found = seen(*MANY[101:])
    gone = missing(known(*MANY), {}, found, found.files, {}, {})
    assert (len(gone.held), gone.deleted) == (101, ())
    assert "101 files under /a" in (gone.reason or "")
    accepted = missing(known(*MANY), {}, found, found.files, {}, {}, accept=True)
    assert (len(accepted.deleted), accepted.reason) == (101, None)


def test_a_hundred_files_or_less_than_a_third_are_deleted_at_once() -> None:
    for rest in (MANY[100:], [*MANY[101:], *(f"/a/more{n}.txt" for n in range(100))]):
        every = known(*MANY, *rest)
        found = seen(*rest)
        assert missing(every, {}, found, found.files, {}, {}).held == ()


def test_moves_are_not_missing_also_those_that_an_earlier_run_has_recorded() -> None:
    new = {path.replace("/a/", "/a/new/"): f"sha of {Path(path).name}" for path in MANY}
    found = seen(*new)
    gone = missing(known(*MANY), new, found, found.files, {}, {})
    assert (len(gone.deleted), gone.moved, gone.held) == (300, 300, ())
    before = known(*MANY, *new)
    assert missing(before, {}, found, found.files, {}, {}).held == ()


def test_files_that_are_missing_on_another_device_are_held_back_however_few() -> None:
    found = seen("/a/1.txt")
    every = known("/a/1.txt", "/a/2.txt")
    gone = missing(every, {}, found, found.files, {"/a": "64:11"}, {"/a": "65:22"})
    assert (gone.held, gone.devices) == (("/a/2.txt",), None)
    assert "another device" in (gone.reason or "")


def test_a_device_number_that_changed_with_a_reboot_is_the_same_disk() -> None:
    found = seen("/a/1.txt")
    gone = missing(known("/a/1.txt", "/a/2.txt"), {}, found, found.files, {"/a": "64:11"}, {"/a": "65:11"})
    assert (gone.deleted, gone.devices) == (("/a/2.txt",), {"/a": "65:11"})


def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_missing() -> None:
    found = seen(unlisted=("/a/locked",))
    gone = missing(known("/a/locked/1.txt", "/a/2.txt"), {}, found, found.files, {}, {})
    assert gone.deleted == ("/a/2.txt",)


async def test_a_folder_emptied_behind_our_back_stays_searchable_until_that_is_accepted(library: Library) -> None:
    for n in range(120):
        library.write(f"{n}.txt", f"The lantern number{n} hangs here.")
    await library.sync()
    shutil.rmtree(library.folder)
    library.folder.mkdir()
    assert (await library.sync()).deleted == 0
    assert "120 files" in (library.index.catalog.meta("held") or "")
    assert await library.names("number7")
    assert (await library.indexer.sync(accept_deletions=True)).deleted == 120
    assert library.index.catalog.meta("held") is None
    assert await library.names("number7") == []


async def test_files_that_come_back_end_the_wait_by_themselves(library: Library, tmp_path: Path) -> None:
    for n in range(120):
        library.write(f"in/{n}.txt", f"The lantern number{n} hangs here.")
    await library.sync()
    (library.folder / "in").rename(tmp_path / "away")
    await library.sync()
    assert library.index.catalog.meta("held")
    (tmp_path / "away").rename(library.folder / "in")
    summary = await library.sync()
    assert (summary.unchanged, summary.embedded_chunks) == (120, 0)
    assert library.index.catalog.meta("held") is None
