"""Files that change around the very moment of their reading, each case as `converging` has found or might find it."""

import os

import msgspec

from indexer.pipeline import Indexer
from indexer.read import Moved, Reading
from indexer.sandbox import Reader
from tests.indexer.conftest import Library


async def test_a_file_that_was_another_one_when_it_failed_and_came_back_is_indexed(
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
    await library.sync()
    assert library.index.catalog.failed() == []
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
