"""`tandem up` in a process of its own: it follows the files, answers over HTTP, shares the index and ends in order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from bridge.folder import Folder, held
from tests.processes import Daemon, place, until

pytestmark = pytest.mark.slow

GOOD = 2
BAD = {
    "broken.pdf": (b"%PDF-1.7\nnothing of a PDF follows", "PDF"),
    "binary.md": (b"\x00\x01\x02\xff" * 400, "binary"),
    "locked.md": ("# Locked\n\nNobody may read that the code is 4711.", "permission was denied"),
}


@pytest.fixture(scope="module")
async def daemon() -> AsyncGenerator[Daemon]:
    """A daemon over two good documents and those of BAD, as a user to whom a file's mode means something."""
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours before anybody opens its door.\n")
        here.write("docs/lease.md", "# The lease\n\nA worker's lease is renewed every five seconds.\n")
        for name, (content, _) in BAD.items():
            here.write(f"docs/{name}", content)
        (here.docs / "locked.md").chmod(0)
        async with here.daemon(here.docs, before=without_power()) as daemon:
            await daemon.in_step(GOOD)
            yield daemon


def without_power() -> list[str]:
    """What takes root's power to read every file."""
    if os.geteuid():
        return []
    powers = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"]
    with suppress(OSError):
        if subprocess.run([*command, "true"], check=False).returncode == 0:
            return command
    return []


# --- files


@pytest.mark.parametrize("name", BAD)
async def test_a_file_that_cannot_be_indexed_is_named_with_its_reason(daemon: Daemon, name: str) -> None:
    if name == "locked.md" and not os.geteuid() and not without_power():
        pytest.skip("root reads every file, and there is no setpriv to stop it")
    failed = {Path(one["path"]).name: one["reason"] for one in (await daemon.status())["failed"]}
    assert BAD[name][1] in failed[name]
    assert name not in {Path(hit["path"]).name for hit in await daemon.hits("the code is 4711")}


async def test_failed_files_are_counted_and_are_no_failure_of_the_command(daemon: Daemon) -> None:
    ended = await daemon.place.tandem("index", "--json")
    assert ended.status == 0
    assert (ended.json["unchanged"], ended.json["failed"]) == (GOOD, len(BAD))


async def test_a_new_file_an_edit_a_rename_and_a_deletion_are_followed(daemon: Daemon) -> None:
    async def files_that_say(text: str) -> set[str]:
        return {Path(hit["path"]).name for hit in await daemon.hits(f"spindle {text}") if text in hit["text"]}

    async def one_says(name: str, text: str) -> bool:
        return await files_that_say(text) == {name}

    path = daemon.place.write("docs/lathe.md", "# The lathe\n\nIts spindle turns at 3400 rpm.\n")
    await until(lambda: one_says("lathe.md", "3400 rpm"))
    path.write_text("# The lathe\n\nIts spindle was slowed to 2100 rpm.\n")
    await until(lambda: one_says("lathe.md", "2100 rpm"))
    assert await files_that_say("3400 rpm") == set()
    path.rename(path.with_name("turning.md"))
    await until(lambda: one_says("turning.md", "2100 rpm"))
    path.with_name("turning.md").unlink()

    async def nobody_says() -> bool:
        return not await files_that_say("2100 rpm")

    await until(nobody_says)
    await daemon.in_step(GOOD)


async def test_a_folder_that_is_added_to_a_running_daemon_is_watched_from_then_on(daemon: Daemon) -> None:
    more = daemon.place.write("more/loom.md", "# The loom\n\nThe loom has eight shafts.\n").parent
    ended = await daemon.place.tandem("index", "--json", more)
    assert (ended.status, ended.json["added"], ended.json["embedded_chunks"]) == (0, 1, 1)
    assert str(more) in (await daemon.status())["roots"]
    daemon.place.write("more/warp.md", "# The warp\n\nThe warp is wound on the beam with 400 ends.\n")

    async def found() -> bool:
        return "400 ends" in await daemon.reads("how many ends has the warp")

    await until(found)


async def test_who_asks_a_new_daemon_at_once_is_answered_from_its_first_files() -> None:
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        async with here.daemon(here.docs) as daemon:
            final = await daemon.answer("How long does the kiln cool?")
    assert "The kiln cools for twelve hours. [1]" in final["answer"]


# --- one index, several processes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_daemon_that_has_nothing_to_do_gives_back_memory_and_goes_on_when_it_has() -> None:
    with place() as here:
        here.write("docs/many.md", "".join(f"# Kiln {n}\n\nIt cools {n} hours. {'Ash. ' * 40}\n\n" for n in range(300)))
        # Each thread works in memory of its own, and so many passages that each has work.
        async with here.daemon(here.docs, settings={"THREAD_POOL_SIZE": "4"}) as daemon:
            await daemon.in_step(1)
            busy_mb = _own_mb(daemon)

            async def smaller() -> bool:
                return _own_mb(daemon) < busy_mb - 15

            await until(smaller, within_s=120)
            here.write("docs/new.md", "The zeppelin flies on Sundays.")
            await daemon.in_step(2)
            assert "zeppelin" in await daemon.reads("zeppelin")


def _own_mb(daemon: Daemon) -> float:
    """What its process shares with no file."""
    status = Path(f"/proc/{daemon.program.process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


async def test_a_second_daemon_on_the_index_is_told_who_holds_it_and_the_first_goes_on(daemon: Daemon) -> None:
    second = await daemon.place.tandem("up", "--port", "0")
    pid = json.loads((daemon.place.data / "lock").read_text())["pid"]
    assert second.status == 1
    assert f"{daemon.place.data} is in use by process {pid} (`tandem up`, since " in second.err
    assert "stop it with `tandem down`, or use another folder with --data" in second.err
    # A second opening of the store would have broken the first one's next flush.
    path = daemon.place.write("docs/after.md", "# After\n\nThe bandsaw was sharpened afterwards.\n")

    async def found() -> bool:
        return "bandsaw" in await daemon.reads("bandsaw")

    await until(found)
    path.unlink()
    assert (await daemon.in_step(GOOD + 2))["warnings"] == []


async def test_a_port_that_is_taken_leaves_the_socket_to_serve() -> None:
    with place() as here, socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        async with here.program("up", "--port", port) as program:
            assert "choose another with --port" in await program.says(f"port {port} at 127.0.0.1 is not to be had")
            assert str(Folder(here.data).http_socket) in await program.says("Tandem answers at the socket")
            status = await here.tandem("status", "--json")
            assert (status.status, status.json["state"]) == (0, "idle")


# --- the end


async def test_a_daemon_ends_in_order_however_it_is_told_also_while_clients_are_connected() -> None:
    async def ends(how: signal.Signals | None) -> None:
        with place() as here:
            folder = Folder(here.data)
            async with here.daemon(settings=traced) as daemon, await anyio.connect_unix(str(folder.mcp_socket)):
                await daemon.hits("anything")  # leaves its connection open
                if how:
                    assert await daemon.program.stop(how) == 0
                else:
                    assert (await here.tandem("down")).status == 0
                    # The next daemon may come at once.
                    assert not held(folder)
                    with anyio.fail_after(60):
                        assert await daemon.program.process.wait() == 0
            assert not folder.http_socket.exists()
            assert not folder.mcp_socket.exists()
            assert not held(folder)
            assert daemon.program.out == ""

    # A collector that listens and never answers: the last spans are what an end takes longest for.
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        traced = {"PHOENIX_COLLECTOR_ENDPOINT": f"http://127.0.0.1:{hanging.getsockname()[1]}"}
        async with anyio.create_task_group() as tasks:
            for how in (signal.SIGTERM, signal.SIGINT, None):
                tasks.start_soon(ends, how)


# --- HTTP


async def test_an_answer_over_http_is_events_as_the_seed_document_has_them(daemon: Daemon) -> None:
    response = await daemon.http.post("/build-context", json={"text": "How long does the kiln cool?"})
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, done = [event.split("\n") for event in response.text.removesuffix("\n\n").split("\n\n")]
    assert done == ["data: [DONE]"]
    assert all(re.fullmatch(r"id: [0-9a-f]+:\d+-\d+", event[0]) for event in events)
    *pieces, final = [json.loads(event[1].removeprefix("data: ")) for event in events]
    assert pieces == [{"chunk": piece["chunk"], "is_final": False} for piece in pieces]
    assert (final["chunk"], final["is_final"]) == ("", True)
    assert final["answer"] == "".join(piece["chunk"] for piece in pieces)
    assert "The kiln cools for twelve hours before anybody opens its door. [1]" in final["answer"]
    assert final["citations"][0]["path"] == str(daemon.place.docs / "kiln.md")


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("/search", {"query": ""}, 400, "the query is empty"),
        ("/search", {"query": "x", "limit": 0}, 400, "expected to be 1 to 100"),
        ("/search", {"query": "x", "in": " "}, 400, "`in` was expected to be a glob"),
        ("/search", {"query": "x" * 1_000_000}, 400, "the query has 1,000,000 characters; at most 10,000"),
        ("/search", {"query": "x" * 2_000_000}, 413, "at most 1048576 bytes"),
        ("/build-context", {"text": " "}, 400, "the query is empty"),
        ("/build-context", {"text": "x" * 2_000_000}, 413, "at most 1048576 bytes"),
        ("/index", {"folders": ["/"]}, 404, "no such path here"),
        ("/stop", {}, 404, "no such path here"),
    ],
    ids=["empty", "limit", "glob", "1 MB", "2 MB", "blank question", "endless question", "index", "stop"],
)
async def test_bad_input_over_http_is_refused_in_words(
    daemon: Daemon, path: str, body: dict[str, Any], status: int, told: str
) -> None:
    response = await daemon.http.post(path, json=body)
    assert response.status_code == status
    assert told in response.json()["error"]["message"]
