"""What people do to an index: forget, read again, pause, keep a copy, move it. By the real command."""

import json
import re
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.processes import Place, place, until


@pytest.fixture
async def notes() -> AsyncGenerator[Place]:
    with place() as here:
        here.write("docs/boiler.md", "# Boiler\n\nKeep the boiler at 1.5 bar.\n")
        here.write("docs/old/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        assert (await here.tandem("index", "--json", here.docs)).json["added"] == 2
        yield here


async def names(here: Place, query: str) -> list[str]:
    hits = (await here.tandem("search", "--json", query)).json["hits"]
    return [Path(hit["path"]).name for hit in hits]


async def test_what_is_forgotten_is_not_found_until_it_is_added_again(notes: Place) -> None:
    old = notes.docs / "old"
    assert (await notes.tandem("forget", "--json", old)).json == {"path": str(old), "documents": 1}
    assert "kiln.md" not in await names(notes, "kiln")
    assert (await notes.tandem("index", "--json")).json["added"] == 0
    assert (await notes.tandem("status", "--json")).json["forgotten"] == [str(old)]
    # Whoever names the folder above again does not mean what was taken out of it.
    assert (await notes.tandem("index", "--json", notes.docs)).json["added"] == 0
    assert (await notes.tandem("index", "--json", old)).json["added"] == 1
    assert (await names(notes, "kiln"))[0] == "kiln.md"
    assert (await notes.tandem("forget", old / "kiln.md")).status == 0
    assert (await notes.tandem("index", "--json", old / "kiln.md")).json["added"] == 1
    assert (await notes.tandem("forget", notes.docs)).out.startswith("2 documents forgotten")
    assert (old / "kiln.md").exists()


async def test_what_is_not_in_the_index_cannot_be_forgotten_or_read_again(notes: Place) -> None:
    for command in ("forget", "reindex"):
        ended = await notes.tandem(command, "/nowhere")
        assert (ended.status, ended.out) == (1, "")
        assert "/nowhere" in ended.err


async def test_reading_again_embeds_nothing_that_is_known(notes: Place) -> None:
    before = {row["path"]: row["indexed_at"] for row in (await notes.tandem("ls", "--json")).lines}
    with sqlite3.connect(notes.data / "catalog.sqlite3") as db:  # as if it had been recorded long ago
        db.execute("UPDATE documents SET indexed_at = 1")
    db.close()
    summary = (await notes.tandem("reindex", "--json")).json
    assert (summary["unchanged"], summary["embedded_chunks"]) == (2, 0)
    assert (await notes.tandem("reindex", "--json", notes.docs / "old")).json["unchanged"] == 2
    rows = (await notes.tandem("ls", "--json")).lines
    assert {row["state"] for row in rows} == {"indexed"}
    assert all(row["indexed_at"] >= before[row["path"]] for row in rows)


async def test_a_pause_outlasts_its_process_and_is_said(notes: Place) -> None:
    assert (await notes.tandem("pause")).status == 0
    refused = await notes.tandem("index")
    assert (refused.status, refused.out) == (1, "")
    assert "`tandem resume` lets it go on" in refused.err
    assert (await notes.tandem("status", "--json")).json["state"] == "paused"
    assert (await names(notes, "kiln"))[0] == "kiln.md"
    assert (await notes.tandem("resume")).status == 0
    assert (await notes.tandem("index")).status == 0


async def test_a_backup_becomes_an_index_again_without_embedding(notes: Place) -> None:
    copy = notes.folder / "kept.sqlite3"
    assert (await notes.tandem("backup", copy)).status == 0
    assert (await notes.tandem("backup", copy)).status == 1  # never over a file that is there
    with place() as elsewhere:
        assert (await elsewhere.tandem("restore", copy)).status == 0
        summary = (await elsewhere.tandem("index", "--json")).json
        assert (summary["unchanged"], summary["embedded_chunks"]) == (2, 0)
        assert (await names(elsewhere, "kiln"))[0] == "kiln.md"
        assert (await elsewhere.tandem("restore", copy)).status == 1  # never over an index
    damaged = notes.write("damaged.sqlite3", "this is no database, but it has some length to it" * 10)
    with place() as elsewhere:
        refused = await elsewhere.tandem("restore", damaged)
        assert (refused.status, "expected to be a backup" in refused.err) == (1, True)


async def test_a_store_that_is_gone_is_filled_again_before_anything_is_searched(notes: Place) -> None:
    shutil.rmtree(notes.data / "store")
    assert (await names(notes, "kiln"))[0] == "kiln.md"
    summary = (await notes.tandem("index", "--json")).json
    assert (summary["unchanged"], summary["embedded_chunks"]) == (2, 0)
    assert (await names(notes, "kiln"))[0] == "kiln.md"


async def test_a_folder_that_is_gone_for_good_is_given_up_when_that_is_accepted(notes: Place) -> None:
    shutil.rmtree(notes.docs)
    assert (await notes.tandem("index", "--json")).json["deleted"] == 0
    assert (await names(notes, "kiln"))[0] == "kiln.md"
    assert (await notes.tandem("index", "--json", "--accept-deletions")).json["deleted"] == 2
    assert await names(notes, "kiln") == []


async def test_nothing_is_said_to_have_moved_that_has_not(notes: Place) -> None:
    assert (await notes.tandem("migrate")).out.startswith("nothing to move")
    refused = await notes.tandem("migrate", settings={"QDRANT_URL": "http://127.0.0.1:9"})
    assert (refused.status, refused.out) == (1, "")
    assert "127.0.0.1:9" in refused.err


async def test_a_damaged_catalog_is_named_in_words(notes: Place) -> None:
    file = notes.data / "catalog.sqlite3"
    data = bytearray(file.read_bytes())
    data[3 * 4096 :] = b"\x5a" * (len(data) - 3 * 4096)
    file.write_bytes(data)
    for command in (("search", "kiln"), ("status",), ("ls",), ("index",)):
        ended = await notes.tandem(*command)
        assert ended.status == 1
        assert "catalog" in ended.err


async def test_a_secret_is_left_out_and_the_status_says_why(notes: Place) -> None:
    notes.write("docs/id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n")
    await notes.tandem("index")
    status = (await notes.tandem("status", "--json")).json
    assert [Path(one["path"]).name for one in status["left_out"]] == ["id_rsa"]
    assert status["left_out"][0]["reason"]
    assert set(await names(notes, "openssh private key")) == {"boiler.md", "kiln.md"}


@pytest.mark.slow
async def test_a_daemon_forgets_pauses_and_goes_on(notes: Place) -> None:
    async with notes.daemon():
        await notes.tandem("pause")
        notes.write("docs/new.md", "The zeppelin flies on Sundays.\n")
        assert json.loads((await notes.tandem("status", "--json")).out)["state"] == "paused"
        assert "new.md" not in await names(notes, "zeppelin")
        await notes.tandem("resume")
        await notes.tandem("index")
        assert (await names(notes, "zeppelin"))[0] == "new.md"
        assert (await notes.tandem("forget", "--json", notes.docs / "new.md")).json["documents"] == 1
        assert "new.md" not in await names(notes, "zeppelin")


@pytest.mark.slow
async def test_a_folder_whose_new_name_is_heard_of_late_is_found_under_it(notes: Place) -> None:
    for n in range(120):
        notes.write(f"docs/many/{n}.txt", f"The lantern number{n} hangs here.\n")
    away, docs = notes.folder / "away", notes.docs.resolve()
    async with notes.daemon(notes.docs) as daemon:
        await daemon.in_step(122)
        (docs / "many").rename(away)

        async def held_back() -> bool | None:
            return any("held back" in warning for warning in (await daemon.status())["warnings"]) or None

        await until(held_back)
        away.rename(docs / "renamed")

        async def settled() -> bool | None:
            status = await daemon.status()
            return (status["documents"] == 122 and not await held_back()) or None

        await until(settled)
        assert [Path(hit["path"]).parent.name for hit in await daemon.hits("number7", limit=1)] == ["renamed"]
        embedded = re.findall(r"(\d+) chunks embedded", daemon.program.err)
        assert sum(map(int, embedded)) == 120  # as they came first
