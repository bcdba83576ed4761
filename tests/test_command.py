"""The command as a person types it, over the example documents: with no daemon, and with one."""

import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from tests.processes import Ended, Place, environment, place, place_with_examples

QUESTION = "How long does the backup keep snapshots?"
KEPT = "14 days, then one a week for 8 weeks, then one a month for 18 months."
DOCUMENTS = 12
COMMANDS = {
    "search": ("search", "--json", "-k", "3", QUESTION),
    "ask": ("ask", "--json", QUESTION),
    "status": ("status", "--json"),
    "ls": ("ls", "--json"),
}
SUMMARY = {"added", "changed", "moved", "deleted", "unchanged", "failed", "embedded_chunks", "pending", "seconds"}
HIT = {"path", "uri", "score", "text", "start_line", "end_line", "page", "heading", "sha256", "modified"}
ANSWER = {"answer", "citations", "freshness", "engine", "cache_hit", "grounded", "trace_id"}
STATUS = {"documents", "chunks", "pending", "failed", "as_of", "embedding", "store", "engine", "workers"}
ROW = {"path", "sha256", "chunks", "indexed_at", "state"}


@pytest.fixture(scope="module")
def here() -> Generator[Place]:
    with place_with_examples() as made:
        yield made


@pytest.fixture(scope="module")
async def runs(here: Place) -> tuple[Ended, Ended]:
    """The first `tandem index` of the folder, and the second. The index they made is in `apart` too."""
    both = await here.tandem("index", "--json", here.docs), await here.tandem("index", "--json")
    shutil.copytree(here.data, here.folder / "apart")
    return both


@pytest.fixture(scope="module")
async def alone(here: Place, runs: tuple[Ended, Ended]) -> dict[str, Ended]:
    """What the commands say where no daemon runs."""
    apart = ("--data", str(here.folder / "apart"))
    said = {name: await here.tandem(*words, *apart) for name, words in COMMANDS.items()}
    return said | {"| head": await into_nothing(here, *apart)}


@pytest.fixture(scope="module")
async def served(here: Place, runs: tuple[Ended, Ended]) -> AsyncGenerator[dict[str, Ended]]:
    """What the same commands say where a daemon holds the index; it runs on for the tests."""
    said: dict[str, Ended] = {}

    async def say(name: str) -> None:
        said[name] = await here.tandem(*COMMANDS[name])

    async with here.daemon() as daemon:
        await daemon.in_step(DOCUMENTS)
        async with anyio.create_task_group() as tasks:
            for name in COMMANDS:
                tasks.start_soon(say, name)
        yield said | {"| head": await into_nothing(here)}


@pytest.fixture(params=[pytest.param("alone", marks=pytest.mark.slow), "served"])
def said(request: pytest.FixtureRequest) -> dict[str, Ended]:
    return request.getfixturevalue(request.param)


async def into_nothing(here: Place, *words: str) -> Ended:
    """`tandem ask`, with a stdout that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = here.command("ask", *words, QUESTION)
        ended = await anyio.run_process(command, stdout=writing, check=False, cwd=here.folder, env=environment())
        return Ended(ended.returncode, "", ended.stderr.decode())
    finally:
        os.close(writing)


async def test_indexing_says_what_it_did_and_a_second_time_embeds_nothing(runs: tuple[Ended, Ended]) -> None:
    first, second = (run.json for run in runs)
    assert first.keys() == second.keys() == SUMMARY
    assert (first["added"], first["failed"]) == (DOCUMENTS, 0)
    assert first["embedded_chunks"] >= DOCUMENTS
    assert {name: count for name, count in second.items() if count and name != "seconds"} == {"unchanged": DOCUMENTS}


async def test_every_command_ends_well_and_says_on_stdout_nothing_but_its_json(said: dict[str, Ended]) -> None:
    assert {name: ended.status for name, ended in said.items()} == dict.fromkeys(said, 0)
    assert all(ended.lines for name, ended in said.items() if name != "| head")


async def test_hits_name_their_place_in_the_file_and_the_file_as_it_was(here: Place, said: dict[str, Ended]) -> None:
    found = said["search"].json
    assert found.keys() >= {"hits", "freshness"}
    assert found["freshness"].keys() == {"as_of", "pending"}
    assert len(found["hits"]) == 3
    hit = found["hits"][0]
    path = here.docs / "network-and-backups.md"
    assert hit.keys() >= HIT
    assert (hit["path"], hit["uri"], hit["page"]) == (str(path), path.as_uri(), None)
    assert hit["heading"] == "Network and backups > Backups"
    assert hit["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    lines = path.read_text().splitlines()[hit["start_line"] - 1 : hit["end_line"]]
    assert hit["text"].splitlines() == lines


@pytest.mark.usefixtures("served")
async def test_hits_of_a_pdf_have_pages_and_in_keeps_to_the_files_that_it_names(here: Place) -> None:
    hits = (await here.tandem("search", "--json", "--in", "*.pdf", "kiln")).json["hits"]
    assert {Path(hit["path"]).name for hit in hits} == {"kiln-manual.pdf"}
    assert all(hit["page"] in (1, 2, 3) and hit["start_line"] is None for hit in hits)


async def test_an_answer_streams_as_json_lines_and_the_last_one_has_it_whole(
    here: Place, said: dict[str, Ended]
) -> None:
    *pieces, end, answer = said["ask"].lines
    assert all(piece.keys() == {"chunk", "is_final"} and not piece["is_final"] for piece in pieces)
    assert end == {"chunk": "", "is_final": True}
    assert answer.keys() >= ANSWER
    assert answer["answer"] == "".join(piece["chunk"] for piece in pieces)
    assert (answer["engine"], answer["cache_hit"], answer["grounded"]) == ("extractive", False, True)
    (cited,) = [citation for citation in answer["citations"] if citation["quote"].endswith(KEPT)]
    path = here.docs / "network-and-backups.md"
    assert cited["path"] == str(path)
    assert cited["quote"] in path.read_text()
    assert f"{cited['quote']} [{cited['n']}]" in answer["answer"]


async def test_the_state_and_the_list_agree_about_what_is_indexed(here: Place, said: dict[str, Ended]) -> None:
    status, rows = said["status"].json, said["ls"].lines
    assert status.keys() >= STATUS
    assert (status["documents"], status["pending"], status["failed"]) == (DOCUMENTS, 0, [])
    assert (status["store"], status["engine"], status["workers"]) == ("qdrant-edge", "extractive", 1)
    assert "all-MiniLM-L6-v2" in status["embedding"]
    assert status["roots"] == [str(here.docs)]
    assert all(row.keys() == ROW and row["state"] == "indexed" for row in rows)
    assert [row["path"] for row in rows] == sorted(str(path) for path in here.docs.iterdir())
    assert sum(row["chunks"] for row in rows) == status["chunks"]


@pytest.mark.slow
async def test_with_a_daemon_and_without_one_the_same_is_found_and_answered(
    alone: dict[str, Ended], served: dict[str, Ended]
) -> None:
    assert served["search"].json["hits"] == alone["search"].json["hits"]
    assert served["ls"].out == alone["ls"].out
    assert served["ask"].lines[-1]["answer"] == alone["ask"].lines[-1]["answer"]


async def test_a_reader_that_leaves_early_is_no_failure(said: dict[str, Ended]) -> None:
    assert (said["| head"].status, said["| head"].err) == (0, "")


@pytest.mark.usefixtures("served")
async def test_an_answer_for_people_cites_its_passage_and_says_how_fresh_the_index_is(here: Place) -> None:
    ended = await here.tandem("ask", QUESTION)
    assert ended.status == 0
    marker = ended.out.partition(f"{KEPT} ")[2][:3]
    assert f"\n{marker} {here.docs}/network-and-backups.md, lines " in ended.out
    assert "answered by extractive; The index is current as of 20" in ended.err


# --- refusals: each says what was expected, what came or what to do


@dataclass(frozen=True, slots=True)
class Wrong:
    """A command that cannot be done, the words of its message, and its exit status."""

    words: tuple[str, ...]
    told: tuple[str, ...]
    status: int = 1
    settings: dict[str, str] = field(default_factory=dict[str, str])


# {x} is a path in the place that `refused` makes. What is wrong with a setting is told as fully in test_settings.py.
WRONG = {
    "no command": Wrong(("",), ("usage: tandem", "COMMAND"), 2),
    "unknown command": Wrong(("serach", "x"), ("invalid choice: 'serach'", "search"), 2),
    "number that is none": Wrong(("search", "x", "-k", "many"), ("-k", "'many'"), 2),
    "port that is none": Wrong(("up", "--port", "66000"), ("--port", "expected 0 to 65535", "66000"), 2),
    "worker of no engine": Wrong(("worker",), ("--engine", "required"), 2),
    "empty query": Wrong(("search", ""), ("the query is empty", "expected a question or some words")),
    "blank question": Wrong(("ask", " \n"), ("the query is empty", "expected a question or some words")),
    "endless query": Wrong(("search", "kiln " * 25_000), ("the query has 125,000 characters", "at most 10,000")),
    "query in no UTF-8": Wrong(("search", "\udcff"), ("expected Unicode text in UTF-8",)),
    "rating of nothing": Wrong(("rate", "7f", "up"), ("`trace_id` was expected to be 32 hex digits", "'7f'")),
    "rating that is none": Wrong(("rate", "7f", "good"), ("invalid choice: 'good'", "up"), 2),
    "rating where no traces are kept": Wrong(
        ("rate", "4bf92f3577b34da6a3ce929d0e0e4736", "up"),
        ("the rating was not taken: traces are off", "`tandem up --phoenix`", "PHOENIX_COLLECTOR_ENDPOINT"),
    ),
    "folder that is not there": Wrong(("index", "{no}"), ("{no}", "expected to be a folder", "does not exist")),
    "file for a folder": Wrong(("index", "{file}"), ("{file}", "expected to be a folder", "it is a file")),
    "file for the data folder": Wrong(
        ("status", "--data", "{file}"), ("{file} was expected to be a folder", "File exists", "--data")
    ),
    "damaged catalog": Wrong(
        ("status", "--data", "{garbage}"),
        ("{garbage}/catalog.sqlite3 could not be opened", "not a database", "nothing was changed"),
    ),
    "unknown setting": Wrong(
        ("status",),
        ("the environment sets TANDEM_EMBD", "did you mean TANDEM_EMBED?"),
        settings={"TANDEM_EMBD": "onnx"},
    ),
    "toml that is none": Wrong(("mcp", "--data", "{toml}"), ("{toml}/tandem.toml was expected to be TOML",)),
    "open to others without a token": Wrong(
        ("up",), ("HOST is 0.0.0.0", "TANDEM_TOKEN", "127.0.0.1"), settings={"HOST": "0.0.0.0"}
    ),
    "address of no Redis": Wrong(
        ("worker", "--engine", "echo"), ("expected REDIS_URL as redis://",), settings={"REDIS_URL": "localhost:6379"}
    ),
    "address of no model server": Wrong(
        ("worker", "--engine", "openai"),
        ("expected OPENAI_BASE_URL as http://",),
        settings={"OPENAI_BASE_URL": "localhost/v1", "TANDEM_MODEL": "m"},
    ),
    "run that cannot be written": Wrong(
        ("eval", "{garbage}", "--queries", "{file}", "--qrels", "{file}", "--run", "{no}/run"),
        ("{no}/run cannot be written", "its folder does not exist"),
    ),
}


@pytest.fixture(scope="module")
async def refused(here: Place, served: dict[str, Ended]) -> AsyncGenerator[dict[str, tuple[Wrong, Ended]]]:
    """All of WRONG, a few at a time. Without --data they meet the daemon that holds `here`."""
    with place() as there:
        paths = {name: there.folder / name for name in ("no", "file", "garbage", "toml")}
        there.write("file", "no folder")
        there.write("garbage/catalog.sqlite3", "no catalog")
        there.write("toml/tandem.toml", "port = ")
        outcomes: dict[str, tuple[Wrong, Ended]] = {}
        few = anyio.CapacityLimiter(3)

        async def run(name: str, wrong: Wrong) -> None:
            words = [word.format_map(paths) for word in wrong.words]
            told = tuple(word.format_map(paths) for word in wrong.told)
            settings = {name: word.format_map(paths) for name, word in wrong.settings.items()}
            async with few:
                outcomes[name] = Wrong((), told, wrong.status), await here.tandem(*words, settings=settings)

        async with anyio.create_task_group() as tasks:
            for name, wrong in WRONG.items():
                tasks.start_soon(run, name, wrong)
        yield outcomes


@pytest.mark.parametrize("name", WRONG)
async def test_what_cannot_be_done_is_refused_in_words_on_stderr(
    refused: dict[str, tuple[Wrong, Ended]], name: str
) -> None:
    wrong, ended = refused[name]
    assert [told for told in wrong.told if told not in ended.err] == [], ended.err
    assert (ended.status, ended.out) == (wrong.status, "")


@pytest.mark.usefixtures("refused")
async def test_after_all_that_nothing_is_lost(here: Place, served: dict[str, Ended]) -> None:
    after = await here.tandem(*COMMANDS["search"])
    assert after.json["hits"] == served["search"].json["hits"]
