import errno
import inspect
import json
import os
import signal
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from bridge.doctor import LIMIT_S, LOOK_S, examine, machine
from bridge.folder import Folder
from bridge.settings import Settings
from indexer.catalog import Catalog
from indexer.embed.onnx import load
from indexer.schema import SCHEMA
from tests.bridge import fake_service
from tests.bridge.doctored import checked, held, index, one
from tests.indexer.models import Model
from tests.processes import place

DIE = """
import os, signal, sys
from pathlib import Path
from tests.bridge.doctored import index
index(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def data() -> Generator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder, "data")


def disk(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


# --- nothing is changed, and it ends


async def test_an_index_that_is_not_there_is_not_made_by_asking_for_it(data: Path) -> None:
    checks = {check.part: check for check in await examine(Settings(data))}
    assert not data.exists()
    assert [part for part, check in checks.items() if check.state == "failed"] == []
    assert checks["catalog"].state == checks["documents"].state == checks["daemon"].state == "off"
    assert (checks["data"].state, checks["data"].found) == ("ok", f"{data} (not made yet), writable")


async def test_an_index_that_lies_still_is_read_without_a_trace(data: Path) -> None:
    index(data).close()
    before = disk(data)
    assert (await one(Settings(data), "documents")).found == "1 (1 chunks), as of never"
    assert disk(data) == before


async def test_the_last_writes_of_a_process_that_was_killed_are_seen_and_left_as_they_lie(data: Path) -> None:
    died = await anyio.run_process([sys.executable, "-c", DIE, str(data)], check=False)
    assert died.returncode == -signal.SIGKILL
    before = disk(data)
    assert len(before) == 3
    assert (await one(Settings(data), "documents")).found == "1 (1 chunks), as of never"
    assert (await one(Settings(data), "catalog")).state == "ok"
    assert disk(data) == before


async def test_it_looks_while_a_daemon_writes(data: Path) -> None:
    with closing(index(data)) as catalog, held(data):
        catalog.set_meta("as_of", "2026-01-02T03:04:05Z")
        assert (await one(Settings(data), "documents")).found == "1 (1 chunks), as of 2026-01-02T03:04:05Z"
        assert (await one(Settings(data), "catalog")).state == "ok"
        catalog.set_meta("as_of", None)  # nobody is in its way


async def test_a_data_folder_that_hangs_is_one_failed_line_and_not_a_doctor_that_hangs(data: Path) -> None:
    data.mkdir()
    os.mkfifo(data / "lock")  # to open it is to wait for who writes
    with anyio.fail_after(LOOK_S + LIMIT_S + 1):
        checks = {check.part: check for check in await examine(Settings(data))}
    assert checks["daemon"].state == checks["catalog"].state == "failed"
    assert f"{data} did not let itself be read within" in checks["daemon"].found
    assert checks["python"].state == "ok"


async def test_the_command_ends_too_where_something_hangs() -> None:
    with place() as here:
        here.data.mkdir()
        os.mkfifo(here.data / "lock")
        with anyio.fail_after(LOOK_S + LIMIT_S + 5):
            ended = await here.tandem("doctor", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert {"failed"} == {line["state"] for line in ended.lines if line["part"] == "catalog"}


# --- the command


async def test_each_check_is_one_line_of_json_and_no_folder_is_made_for_it() -> None:
    with place() as here:
        ended = await here.tandem("doctor", "--json")
        told = await here.tandem("doctor")
        assert not here.data.exists()
    assert (ended.status, ended.err) == (told.status, told.err) == (0, "")
    assert all(list(line) == ["part", "state", "found", "remedy"] for line in ended.lines)
    assert {"python", "data", "disk", "port", "catalog", "watch", "model", "store"} <= {x["part"] for x in ended.lines}
    assert told.out.splitlines()[0] == f"ok       python     {ended.lines[0]['found']}"


@pytest.mark.slow
async def test_a_daemon_is_examined_at_work_and_goes_on() -> None:
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(1)
            found = {line["part"]: line for line in (await here.tandem("doctor", "--json")).lines}
            assert await daemon.hits("kiln")
    assert [line for line in found.values() if line["state"] == "failed"] == []
    pid = daemon.program.process.pid
    assert found["daemon"]["found"].startswith(f"process {pid} (`tandem up`) answers: idle, 0 pending")
    assert found["folders"]["found"] == str(here.docs)
    assert found["documents"]["found"].startswith("1 (1 chunks), as of 2")


# --- daemon and port


async def test_a_daemon_that_holds_the_folder_and_does_not_answer_has_failed(data: Path) -> None:
    with held(data) as pid:
        check = await one(Settings(data), "daemon")
    assert check.state == "failed"
    assert check.found.startswith(f"process {pid} (`tandem up`): no daemon answers at")
    assert check.remedy
    assert str(Folder(data).log) in check.remedy


async def test_a_short_command_at_work_is_not_taken_for_a_daemon(data: Path) -> None:
    with held(data, "index") as pid:
        check = await one(Settings(data), "daemon")
    assert check.state == "off"
    assert check.found == f"none runs; process {pid} (`tandem index`) has the index for the moment"


async def test_a_port_is_free_or_ours_or_another_daemons_or_another_programs(data: Path, port: int) -> None:
    assert (await one(Settings(data, port=port), "port")).found == f"127.0.0.1:{port} is free"
    with socket.create_server(("127.0.0.1", port)) as other:
        other.listen()
        check = await one(Settings(data, port=port), "port")
        assert (check.state, "another program has it" in check.found) == ("warning", True)
        assert check.remedy
        assert f":{port}'" in check.remedy
    with held(data):
        async with fake_service.serving(fake_service.FakeService(), data) as (url, _):
            ours = Settings(data, port=int(url.rpartition(":")[2]))
            assert (await one(ours, "port")).state == "ok"
            assert (await one(ours, "port")).found.endswith("is our daemon's")
            assert (await one(ours, "daemon")).state in ("ok", "warning")
            theirs = Settings(data.with_name("other"), port=ours.port)
            check = await one(theirs, "port")
            assert (check.state, f"but not that of {theirs.data}" in check.found) == ("warning", True)


async def test_a_host_that_others_can_reach_needs_a_token(data: Path) -> None:
    assert (await one(Settings(data, host="0.0.0.0"), "port")).state == "failed"
    assert (await one(Settings(data, host="0.0.0.0", token="secret", port=0), "port")).state == "ok"


async def test_an_origin_that_no_browser_sends_is_named(data: Path) -> None:
    good = Settings(data, cors_origins="http://localhost:5173, https://docs.example/")
    assert (await one(good, "origins")).state == "ok"
    check = await one(
        Settings(data, cors_origins="http://localhost:5173,localhost:3000,https://a.example/app"), "origins"
    )
    assert (check.state, check.found.endswith("localhost:3000, https://a.example/app")) == ("warning", True)


# --- data folder, disk, folders, watch


async def test_a_file_where_the_data_folder_should_be_is_said(data: Path) -> None:
    data.write_text("")
    assert "was expected to be a folder" in (await one(Settings(data), "data")).found
    assert (await one(Settings(data / "deeper"), "data")).state == "failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_data_folder_that_may_not_be_written_is_said(data: Path) -> None:
    data.mkdir(mode=0o500)
    assert (await one(Settings(data), "data")).state == "failed"


def test_a_disk_is_full_where_indexing_stops(data: Path) -> None:
    assert machine.room(data, least_bytes=1, little_bytes=1).state == "ok"
    assert machine.room(data, least_bytes=1, little_bytes=1 << 60).state == "warning"
    full = machine.room(data, least_bytes=1 << 60)
    assert (full.state, full.found.endswith("indexing needs 1152921504.6 GB")) == ("failed", True)
    limits = (
        inspect.signature(stop).parameters["least_bytes"].default for stop in (machine.room, Catalog.require_room)
    )
    assert len(set(limits)) == 1


async def test_a_folder_that_is_away_is_named_beside_those_that_are_there(data: Path, tmp_path: Path) -> None:
    index(data, roots=(str(tmp_path), "/no/such/folder")).close()
    here, away = await checked(Settings(data), "folders")
    assert (here.state, here.found) == ("ok", str(tmp_path))
    assert (away.state, away.found.split()[0]) == ("warning", "/no/such/folder")


def test_more_folders_than_may_be_watched_are_a_warning_with_the_command_that_helps() -> None:
    check = machine.limits(9000, True, watches=8192, queued=16384)
    assert (check.state, check.found.split(":")[0]) == (
        "warning",
        "9,000 folders, and the system lets each user watch 8,192",
    )
    assert check.remedy
    assert "sudo sysctl fs.inotify.max_user_watches=524288" in check.remedy
    assert machine.limits(8192, True, watches=8192, queued=16384).state == "ok"
    assert machine.limits(1, True, watches=8192, queued=128).state == "warning"
    assert "or more" in machine.limits(300_000, False, watches=8192, queued=16384).found


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_a_system_that_gives_no_further_program_to_watch_is_a_warning_with_the_command_that_helps() -> None:
    error, instances = machine.spare_instance()
    assert (error, instances > 0) == (0, True)
    assert machine.refusal(error, instances) is None
    check = machine.refusal(errno.EMFILE, 128)
    assert check
    assert (check.state, "128 programs that watch, and no more" in check.found) == ("warning", True)
    assert "fs.inotify.max_user_instances" in (check.remedy or "")


def test_folders_are_counted_without_those_that_nobody_watches(tmp_path: Path) -> None:
    for name in ("a/b", "c", ".git/objects", "node_modules/x"):
        (tmp_path / name).mkdir(parents=True)
    assert machine.count([str(tmp_path)]) == (4, True)


# --- the catalog


async def test_a_catalog_of_a_newer_version_is_said_and_of_an_older_one_too(data: Path) -> None:
    index(data).close()

    def make(version: int) -> None:
        with closing(sqlite3.connect(data / "catalog.sqlite3")) as db:
            db.execute(f"PRAGMA user_version = {version}")
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    make(SCHEMA + 5)
    check = await one(Settings(data), "catalog")
    assert (check.state, check.found.endswith(f"has those of {SCHEMA + 5}")) == ("failed", True)
    assert (await one(Settings(data), "documents")).state == "off"
    make(SCHEMA - 1)
    check = await one(Settings(data), "catalog")
    assert (check.state, check.found) == ("warning", f"whole, tables of version {SCHEMA - 1}, here {SCHEMA}")


# The head of the file; a page that the other checks do not need, whole and a number in it.
@pytest.mark.parametrize(("table", "at", "length"), [(None, 0, 100), ("left_out", 0, 100), ("left_out", 7, 1)])
async def test_a_damaged_catalog_is_said(data: Path, table: str | None, at: int, length: int) -> None:
    index(data).close()
    with closing(sqlite3.connect(data / "catalog.sqlite3")) as db:
        pages = dict(db.execute("SELECT name, rootpage FROM sqlite_master"))
        (size,) = db.execute("PRAGMA page_size").fetchone()
    with (data / "catalog.sqlite3").open("r+b") as file:
        file.seek((pages[table] - 1) * size + at if table else at)
        file.write(b"\xff" * length)
    assert [check.state for check in await checked(Settings(data), "documents")] == ["ok" if table else "off"]
    check = await one(Settings(data), "catalog")
    assert (check.state, len(check.found.splitlines())) == ("failed", 1)
    assert check.remedy
    assert "tandem restore" in check.remedy


async def test_failed_files_held_deletions_and_a_pause_are_warnings_of_their_own(data: Path) -> None:
    index(data, failed=2, held="200 files under /docs are missing", paused="2026-01-02", as_of="2026-01-01").close()
    checks = await checked(Settings(data), "documents")
    assert [check.state for check in checks] == ["ok", "warning", "warning", "warning"]
    assert [(check.remedy or "").split("`")[1] for check in checks[1:]] == [
        "tandem status",
        "tandem index --accept-deletions",
        "tandem resume",
    ]


# --- the model


async def test_another_model_than_the_indexs_means_a_new_index_and_is_said_before(data: Path) -> None:
    index(data).close()
    assert [check.state for check in await checked(Settings(data, embedding_model="all-MiniLM-L6-v2"), "model")] == [
        "ok"
    ]
    other = Settings(data, embedding_model="all-MiniLM-L6-v2", embed_precision="fp32")
    _, check = await checked(other, "model")
    assert (check.state, "the settings ask for onnx-fp32:all-MiniLM-L6-v2@53aa51172d14" in check.found) == (
        "warning",
        True,
    )
    assert check.remedy
    assert "embeds up to 1 chunks anew" in check.remedy


async def test_a_folder_with_a_model_is_described_by_what_differs_from_model_to_model(
    data: Path, tmp_path: Path
) -> None:
    model = Model(tmp_path / "e5-tiny")
    settings = Settings(data, embedding_model="e5-tiny", embed_model=model.folder)
    check = await one(settings, "model")
    assert check.state == "ok"
    assert "(80 tokens, pooled by mean, before a query 'query: ', before a document 'passage: ')" in check.found
    signature = load("e5-tiny", model.folder, tmp_path / "cache", 1).signature
    index(data, signature=signature).close()
    assert [check.state for check in await checked(settings, "model")] == ["ok"]
    changed = replace(settings, embed_query_prefix="")
    assert [check.state for check in await checked(changed, "model")] == ["ok", "warning"]
    model.write("modules.json", [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])
    check = await one(settings, "model")
    assert (check.state, "found Dense" in check.found) == ("failed", True)


async def test_weights_that_are_not_there_are_said_and_none_is_downloaded(data: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    named = Settings(data, embedding_model="all-MiniLM-L6-v2", embed_model=tmp_path)
    check = await one(named, "model")
    assert (check.state, "missing: model.safetensors, tokenizer.json" in check.found) == ("failed", True)
    nowhere = await one(Settings(data, embedding_model="nobody/no-such-model"), "model")
    assert (nowhere.state, "neither installed" in nowhere.found) == ("warning", True)
    there = await one(Settings(data, embedding_model="nobody/no-such-model", embed="remote"), "model")
    assert (there.state, "queries too" in there.found) == ("ok", True)
