"""What the index says is what the folders say, over both stores; what is known is not embedded again."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest

from indexer.embed import Done, EmbedderAway, TextsRefused, Vectors
from indexer.hits import Summary
from indexer.pipeline import Indexer
from indexer.sandbox import Moved, Reader, Reading
from tests.indexer.conftest import Library
from tests.indexer.embedders import WordEmbedder

PROSE = "\n\n".join(
    f"Paragraph {n} speaks of subject{n} at some length. It goes on for a few sentences, so that it fills a part of a "
    f"chunk. The keeper of subject{n} wrote this down in the year {1900 + n}." * 3
    for n in range(40)
)


def timeless(summary: Summary) -> Summary:
    return replace(summary, seconds=0.0)


async def test_a_new_file_is_found_with_its_place(library: Library) -> None:
    path = library.write("notes/boiler.md", "# Heating\n\n## Pressure\n\nKeep the boiler at 1.5 bar.\n")
    summary = await library.sync()
    (hit, *_) = (await library.find("boiler pressure in bar")).hits
    assert (summary.added, summary.failed) == (1, 0)
    assert (hit.path, hit.uri) == (str(path), path.as_uri())
    assert "1.5 bar" in hit.text
    assert hit.start_line is not None
    assert hit.start_line <= 5 == hit.end_line
    assert "Heating" in (hit.heading or "")
    assert hit.sha256 and hit.modified.endswith("+00:00")


async def test_a_second_run_with_nothing_changed_reads_and_embeds_nothing(library: Library) -> None:
    library.write("a.txt", PROSE)
    library.write("b.md", "# Title\n\nText.\n")
    await library.sync()
    before = len(library.embedder.embedded)
    summary = await library.sync()
    assert (summary.unchanged, summary.added, summary.changed, summary.embedded_chunks) == (2, 0, 0, 0)
    assert len(library.embedder.embedded) == before


async def test_an_edit_embeds_only_the_chunks_that_changed(library: Library) -> None:
    path = library.write("long.txt", PROSE)
    first = await library.sync()
    assert first.embedded_chunks > 8
    library.write("long.txt", path.read_text().replace("subject39", "zeppelin", 1), old=False)
    second = await library.sync()
    assert (second.changed, second.embedded_chunks) == (1, 1)
    assert "zeppelin" in (await library.find("zeppelin")).hits[0].text


async def test_a_rename_embeds_nothing_and_moves_the_document(library: Library) -> None:
    path = library.write("old.txt", PROSE)
    await library.sync()
    path.rename(library.folder / "new.txt")
    summary = await library.sync()
    assert (summary.moved, summary.added, summary.deleted, summary.embedded_chunks) == (1, 0, 0, 0)
    assert set(await library.names("subject7")) == {"new.txt"}
    assert await library.index.store.count() == library.index.catalog.counts()[1]


async def test_a_copy_of_a_folder_embeds_nothing_and_both_are_found(library: Library) -> None:
    library.write("one/a.txt", "The lantern hangs in the barn.")
    await library.sync()
    shutil.copytree(library.folder / "one", library.folder / "two")
    summary = await library.sync()
    assert (summary.added, summary.embedded_chunks) == (1, 0)
    assert len(await library.names("lantern")) == 2


async def test_a_deleted_file_is_gone_from_search_and_store(library: Library) -> None:
    path = library.write("gone.txt", "The lantern hangs in the barn.")
    library.write("stays.txt", "The candle stands in the hall.")
    await library.sync()
    path.unlink()
    summary = await library.sync()
    assert summary.deleted == 1
    assert await library.names("lantern") == ["stays.txt"]
    assert await library.index.store.count() == 1


async def test_a_folder_that_went_away_keeps_its_documents(library: Library, tmp_path: Path) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    await library.sync()
    library.folder.rename(tmp_path / "unmounted")
    assert (await library.sync()).deleted == 0
    assert await library.names("lantern") == ["a.txt"]


async def test_bad_files_are_named_with_a_reason_and_harm_no_other(library: Library) -> None:
    library.write("good.txt", "The lantern hangs in the barn.")
    library.write("broken.pdf", b"%PDF-1.7\nthis is no PDF")
    library.write("binary.md", bytes(range(256)) * 64)
    library.write("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(200))
    os.mkfifo(library.folder / "pipe.txt")
    summary = await library.sync()
    failed = {Path(path).name: reason for path, reason in library.index.catalog.failed()}
    assert (summary.added, summary.failed) == (1, 3)
    assert set(failed) == {"broken.pdf", "binary.md", "picture.png"}
    assert all(failed.values())
    assert await library.names("lantern") == ["good.txt"]


async def test_a_failed_file_is_tried_again_when_it_changes(library: Library) -> None:
    library.write("a.md", bytes(range(256)) * 64)
    assert (await library.sync()).failed == 1
    assert (await library.sync()).failed == 1
    library.write("a.md", "The lantern hangs in the barn.", old=False)
    assert (await library.sync()).failed == 0
    assert await library.names("lantern") == ["a.md"]


async def test_hidden_files_and_what_links_lead_to_stay_outside(library: Library, tmp_path: Path) -> None:
    library.write(".secret/key.txt", "lantern")
    library.write(".env", "lantern")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("lantern")
    (library.folder / "link").symlink_to(outside)
    (library.folder / "link.txt").symlink_to(outside / "a.txt")
    assert (await library.sync()).added == 0


async def test_dirty_paths_are_looked_at_without_a_scan_of_the_rest(library: Library) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    unseen = library.write("b.txt", "The candle stands in the hall.")
    await library.indexer.sync({str(library.folder / "a.txt")})
    assert await library.names("candle") == ["a.txt"]
    await library.indexer.sync({str(unseen.parent)})
    assert (await library.names("candle"))[0] == "b.txt"
    shutil.rmtree(library.folder)
    library.folder.mkdir()
    assert (await library.indexer.sync({str(library.folder / "a.txt")})).deleted == 1


async def test_an_embedder_that_goes_away_loses_nothing_and_the_next_run_goes_on(library: Library) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    await library.sync()
    library.write("b.txt", "The candle stands in the hall.")
    library.embedder.away = True
    with pytest.raises(EmbedderAway):
        await library.sync()
    found = await library.find("lantern")
    assert [Path(hit.path).name for hit in found.hits] == ["a.txt"]
    assert "lexical search only" in found.degraded[0]
    library.embedder.away = False
    assert (await library.sync()).added == 1
    assert (await library.names("candle"))[0] == "b.txt"


async def test_points_of_a_run_that_died_are_swept_at_the_next_start(library: Library, reader: Reader) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    await library.sync()
    # As after a kill between the store's write and the catalog's: points that belong to no document.
    library.index.catalog.announce([4711])
    from indexer.store import Point
    from tests.indexer.test_store import unit, words

    await library.index.store.upsert([Point(4711, unit(0), words("lantern lantern"), 1)])
    assert await library.names("lantern") == ["a.txt"]
    await Indexer(library.index, reader.read).recover()
    assert await library.index.store.count() == 1


async def test_a_file_saved_twice_in_one_tick_is_read_again(library: Library) -> None:
    path = library.write("a.txt", "The lantern hangs in the barn.", old=False)
    await library.sync()
    stat = path.stat()
    path.write_text("The candle stands in the hall.")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    await library.sync()
    assert "candle" in (await library.find("candle")).hits[0].text


async def test_two_runs_at_once_take_turns(library: Library) -> None:
    library.write("a.txt", PROSE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(library.sync)
        tasks.start_soon(library.sync)
    assert len(library.embedder.embedded) == len(set(library.embedder.embedded))


async def test_names_that_are_not_utf8_are_listed_not_lost(library: Library) -> None:
    name = os.fsencode(library.folder) + b"/caf\xe9.txt"
    with open(name, "wb") as file:  # noqa: ASYNC230, PTH123
        file.write(b"lantern")
    summary = await library.sync()
    ((path, reason),) = library.index.catalog.failed()
    assert (summary.failed, "not valid UTF-8" in reason, "caf" in path) == (1, True, True)
    assert timeless(await library.sync()) == Summary(failed=1)


async def test_one_file_that_went_and_two_copies_that_came_are_one_move_and_one_addition(library: Library) -> None:
    path = library.write("a.txt", PROSE)
    await library.sync()
    for name in ("b.txt", "c.txt"):
        shutil.copy(path, library.folder / name)
    path.unlink()
    summary = await library.sync()
    assert (summary.moved, summary.added, summary.deleted, summary.embedded_chunks) == (1, 1, 0, 0)


async def test_a_root_deleted_from_within_another_root_is_gone(library: Library) -> None:
    library.write("a.txt", "The candle stands in the hall.")
    inner = library.write("inner/b.txt", "The lantern hangs in the barn.")
    library.index.catalog.add_roots([str(inner.parent)])
    await library.sync()
    shutil.rmtree(inner.parent)
    assert (await library.sync()).deleted == 1
    assert await library.names("lantern") == ["a.txt"]
    assert library.indexer.unlisted == ()


async def test_a_root_that_is_away_is_told(library: Library, tmp_path: Path) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    await library.sync()
    library.folder.rename(tmp_path / "unmounted")
    await library.indexer.sync({str(library.folder / "a.txt")})
    assert library.indexer.unlisted == (str(library.folder),)
    assert await library.names("lantern") == ["a.txt"]


async def test_the_data_folder_is_not_indexed_where_it_lies_in_a_root(library: Library, reader: Reader) -> None:
    library.write("data/a.txt", "The lantern hangs in the barn.")
    indexer = Indexer(library.index, reader.read, library.folder / "data")
    assert timeless(await indexer.sync()) == Summary()
    assert timeless(await indexer.sync({str(library.folder / "data" / "a.txt")})) == Summary()


class Sleeper(WordEmbedder):
    """A model that counts how often it is put to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.rests = 0

    async def rest(self) -> None:
        self.rests += 1


async def test_after_each_run_the_model_is_put_to_rest_once(library: Library, reader: Reader) -> None:
    embedder = Sleeper()
    indexer = Indexer(replace(library.index, embedder=embedder), reader.read)
    for rests in (1, 2):
        library.write(f"{rests}.txt", f"The lantern hangs in barn {rests}.")
        assert (await indexer.sync()).added == 1
        await indexer.rest()
        await indexer.rest()
        assert embedder.rests == rests


class Choosy(WordEmbedder):
    """A model that takes no zeppelins."""

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        refused = {n: "too long for the model" for n, text in enumerate(texts) if "zeppelin" in text}
        for n, text in enumerate(texts):
            if n not in refused and done:
                done(n, self._vector(text)[None])
                self.embedded.append(text)
        vectors = np.stack([self._vector(text) for text in texts])
        if refused:
            raise TextsRefused(refused, vectors)
        return vectors


async def test_a_chunk_that_the_model_refuses_is_found_by_its_words_and_said(library: Library, reader: Reader) -> None:
    embedder = Choosy()
    indexer = Indexer(replace(library.index, embedder=embedder), reader.read)
    library.write("a.txt", "The zeppelin flies on Sundays.")
    library.write("b.txt", "The lantern hangs in the barn.")
    summary = await indexer.sync()
    assert (summary.added, summary.failed, summary.embedded_chunks) == (2, 0, 1)
    assert (await library.names("zeppelin"))[0] == "a.txt"
    ((path, reason),) = library.index.catalog.partly()
    assert (Path(path).name, reason) == (
        "a.txt",
        "1 of its 1 chunks can be found by their words only: too long for the model",
    )
    assert (await indexer.sync()).unchanged == 2


async def test_a_file_that_never_comes_to_rest_is_pending_and_the_others_are_indexed(
    library: Library, reader: Reader
) -> None:
    restless = library.write("a.txt", "The lantern hangs in the barn.")
    library.write("b.txt", "The candle stands in the hall.")

    async def read(path: str) -> Reading:
        if path == str(restless) and moving:
            raise Moved("it kept changing")
        return await reader.read(path)

    moving = True
    indexer = Indexer(library.index, read)
    summary = await indexer.sync()
    assert (summary.added, summary.pending, indexer.pending) == (1, 1, 1)
    moving = False
    summary = await indexer.sync()
    assert (summary.added, summary.pending, indexer.pending) == (1, 0, 0)


async def test_a_file_that_is_stale_is_pending_and_found_until_it_has_been_read_again(library: Library) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    await library.sync()
    assert library.index.catalog.make_stale() == 1
    assert library.indexer.pending == 1
    assert [row.state for row in library.index.catalog.documents()] == ["pending"]
    assert await library.names("lantern") == ["a.txt"]
    summary = await library.sync()
    assert (summary.unchanged, summary.embedded_chunks, library.indexer.pending) == (1, 0, 0)


async def test_a_file_that_goes_and_comes_back_before_a_quiet_moment_is_not_embedded_again(library: Library) -> None:
    path = library.write("a.txt", PROSE)
    await library.sync()
    text = path.read_text()
    path.unlink()
    assert (await library.sync()).deleted == 1
    library.write("b.txt", text)
    assert (await library.sync()).embedded_chunks == 0
    (library.folder / "b.txt").unlink()
    await library.sync()
    await library.indexer.purge()
    library.write("c.txt", text)
    assert (await library.sync()).embedded_chunks > 8
