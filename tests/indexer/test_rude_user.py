"""Files that change around the very moment of their reading, each case as `converging` has found or might find it."""

import os
import time
from pathlib import Path

import anyio
import msgspec
from anyio import fail_after

from indexer.pipeline import Indexer
from indexer.read import Moved, Reading, Unreadable
from indexer.sandbox import Reader
from tests.indexer.conftest import Library


def is_believed(library: Library, path: Path) -> bool:
    """Whether a file that failed is left alone while its own stat stays the same."""
    known = library.index.catalog.known()[str(path)]
    assert known.state == "failed"
    return known.read_at > 0


async def test_a_failure_is_not_believed_where_another_file_may_have_stood_in_this_ones_place(
    library: Library, reader: Reader
) -> None:
    path = library.write("papers/a.txt", "The lantern hangs in the barn.")
    papers, away = path.parent, path.parent.with_name("away")

    async def read(name: str) -> Reading:
        papers.rename(away)
        path.mkdir(parents=True)
        try:
            return await reader.read(name)
        finally:
            path.rmdir()
            papers.rmdir()
            away.rename(papers)

    await Indexer(library.index, read).sync()
    assert not is_believed(library, path)
    await library.sync()
    assert library.index.catalog.failed() == []
    assert await library.names("lantern") == ["a.txt"]


async def test_a_failure_is_not_believed_where_a_folder_above_was_closed_for_a_moment(library: Library) -> None:
    path = library.write("papers/old/a.txt", "The lantern hangs in the barn.")

    async def read(name: str) -> Reading:
        library.folder.joinpath("papers").chmod(0)
        library.folder.joinpath("papers").chmod(0o755)
        raise Unreadable("permission was denied")

    await Indexer(library.index, read).sync()
    assert not is_believed(library, path)


async def test_a_failure_is_believed_where_nothing_has_changed(library: Library) -> None:
    path = library.write("papers/a.txt", "The lantern hangs in the barn.")
    with fail_after(30):
        while time.time() < library.folder.joinpath("papers").stat().st_ctime + 0.1:  # noqa: ASYNC110
            await anyio.sleep(0.01)  # the clock tells nobody

    async def read(name: str) -> Reading:
        raise Unreadable("the parser crashed on it")

    await Indexer(library.index, read).sync()
    assert is_believed(library, path)


async def test_a_file_that_changes_just_after_it_failed_is_read_once_more_in_the_same_run(
    library: Library, reader: Reader
) -> None:
    path = library.write("a.txt", "")
    path.write_bytes(b"\0\1\2" * 50)

    async def read(name: str) -> Reading:
        try:
            return await reader.read(name)
        finally:
            if path.stat().st_size == 150:
                path.write_text("The lantern hangs in the barn.")

    await Indexer(library.index, read).sync()
    assert await library.names("lantern") == ["a.txt"]


async def test_a_file_that_becomes_unreadable_after_it_was_seen_is_listed_as_failed_by_the_same_run(
    library: Library, reader: Reader
) -> None:
    path = library.write("a.txt", "The lantern hangs in the barn.")

    async def read(name: str) -> Reading:
        if path.stat().st_size != 150:
            path.write_bytes(b"\0\1\2" * 50)
        return await reader.read(name)

    await Indexer(library.index, read).sync()
    assert [name for name, _ in library.index.catalog.failed()] == [str(path)]


async def test_a_change_in_the_tick_of_its_reading_is_seen_also_when_the_old_time_stamp_is_put_back(
    library: Library, reader: Reader
) -> None:
    path = library.write("a.txt", "The lantern hangs in the barn.")

    async def read(name: str) -> Reading:
        found = await reader.read(name)
        before = path.stat()
        path.write_text("The candle stands in the hall.")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        # As a clock gives it that has not ticked since.
        return msgspec.structs.replace(found, ctime_ns=path.stat().st_ctime_ns)

    await Indexer(library.index, read).sync()
    await library.sync()
    assert "candle" in (await library.find("candle")).hits[0].text


async def test_a_file_that_never_came_to_rest_is_no_longer_waited_for_once_it_is_gone(
    library: Library, reader: Reader
) -> None:
    path = library.write("papers/a.txt", "The lantern hangs in the barn.")

    async def read(name: str) -> Reading:
        raise Moved("it changes")

    indexer = Indexer(library.index, read)
    await indexer.sync()
    assert indexer.pending == 1
    path.unlink()
    path.parent.rmdir()
    await indexer.sync([str(path.parent)])
    assert indexer.pending == 0


async def test_names_that_are_not_utf8_come_and_go_like_others(library: Library) -> None:
    note, secret = (os.fsencode(library.folder) + name for name in (b"/caf\xe9.txt", b"/caf\xe9.env"))
    for name in (note, secret):
        os.close(os.open(name, os.O_CREAT))
    await library.sync()
    ((path, reason),) = library.index.catalog.left_out()
    assert path.endswith("caf\\udce9.env")
    assert "a line !caf\\udce9.env" in reason
    os.unlink(note)  # noqa: PTH108
    os.unlink(secret)  # noqa: PTH108
    await library.indexer.sync([os.fsdecode(note), os.fsdecode(secret)])
    assert (library.index.catalog.failed(), library.index.catalog.left_out()) == ([], [])
