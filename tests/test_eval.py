"""`tandem eval` as a person types it: the user's own files, and a judged collection compared with an earlier run."""

import json
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from tests.inference_server.test_openai import ModelServer, event, piece, serving, stream
from tests.processes import Ended, Place, place_with_examples

SCORES = {"recall@1", "recall@5", "recall@10", "MRR@10"}


@dataclass
class Own:
    place: Place
    first: Ended
    second: Ended
    kept: Path

    @property
    def measured(self) -> dict[str, Any]:
        return self.first.json


@pytest.fixture(scope="module")
def here() -> Generator[Place]:
    with place_with_examples() as made:
        shutil.copy(made.docs / "handbook.md", made.docs / "handbook-copy.md")
        made.write("docs/broken.pdf", b"%PDF-1.7 and nothing that belongs to it")
        made.write("docs/short.txt", "Buy clay.")
        yield made


@pytest.fixture(scope="module")
async def own(here: Place) -> Own:
    kept = here.folder / "kept"
    words = ("eval", "--own", here.docs, "--json", "--questions", "20", "--out")
    return Own(here, await here.tandem(*words, kept), await here.tandem(*words, here.folder / "again"), kept)


def named(rows: list[dict[str, str]]) -> dict[str, str]:
    return {Path(row["path"]).name: row["reason"] for row in rows}


async def test_own_files_are_asked_for_and_found(own: Own) -> None:
    measured = own.measured
    assert measured["questions"] == measured["by_masking"] == 20
    assert (measured["by_engine"], measured["fell_back"]) == (0, 0)
    assert measured["files"].keys() == measured["passages"].keys() == SCORES
    assert measured["files"]["recall@10"] > 0.9 and measured["passages"]["MRR@10"] > 0.5
    for side in ("files", "passages"):
        for name, (low, high) in measured["intervals"][side].items():
            assert 0 <= low <= measured[side][name] <= high <= 1


async def test_what_can_never_be_found_or_asked_for_is_named_with_its_reason(own: Own) -> None:
    assert named(own.measured["never_found"])["broken.pdf"].startswith("failed: ")
    reasons = named(own.measured["not_asked"])
    assert reasons["short.txt"] == "it has almost no text"
    assert "handbook.md" in reasons["handbook-copy.md"] and "handbook-copy.md" in reasons["handbook.md"]
    assert own.measured["documents"] == len(list(own.place.docs.iterdir()))


async def test_the_same_files_are_asked_for_in_the_same_words_each_time(own: Own) -> None:
    assert own.first.json == own.second.json
    for name in ("queries.jsonl", "qrels.tsv"):
        assert (own.kept / name).read_bytes() == (own.place.folder / "again" / name).read_bytes()
    queries = [json.loads(line) for line in (own.kept / "queries.jsonl").read_text().splitlines()]
    assert len({query["id"] for query in queries}) == 20


async def test_kept_questions_are_a_judged_collection_that_later_runs_are_compared_with(own: Own) -> None:
    here, run = own.place, own.place.folder / "run.tsv"
    judged = ("eval", here.docs, "--queries", own.kept / "queries.jsonl", "--qrels", own.kept / "qrels.tsv")
    first = (await here.tandem(*judged, "--json", "--run", run)).json
    assert first["queries"] == 20 and "against" not in first
    assert first["RR@10"] == pytest.approx(own.measured["files"]["MRR@10"])
    assert first["intervals"].keys() == first.keys() - {"queries", "intervals"}
    same = (await here.tandem(*judged, "--json", "--against", run)).json["against"]
    assert {tuple(one[key] for key in ("mean", "low", "high", "ties")) for one in same.values()} == {(0, 0, 0, 20)}
    lines = [line for line in run.read_text().splitlines() if line.split("\t")[2] != "1"]
    run.write_text("\n".join(lines))
    told = await here.tandem(*judged, "--against", run)
    assert told.status == 0 and "difference" in told.out
    better = (await here.tandem(*judged, "--json", "--against", run)).json["against"]["RR@10"]
    assert better["low"] > 0 and better["wins"] > 15 and better["losses"] == 0


async def test_a_person_is_told_in_tables(own: Own) -> None:
    told = await own.place.tandem("eval", "--own", own.place.docs, "--questions", "5")
    assert (
        "recall@10" in told.out and "never found among the first 10: 1" in told.out and "broken.pdf: failed" in told.out
    )


async def test_where_the_engine_is_away_masked_sentences_do_and_stderr_says_why(own: Own, port: int) -> None:
    engine = {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "TANDEM_MODEL": "m"}
    words = ("eval", "--own", own.place.docs, "--json", "--questions", "20")
    ended = await own.place.tandem(*words, settings=engine)
    assert ended.json == own.measured | {"fell_back": 20}
    assert ended.err.count("openai m made no question: no model server answers") == 1


async def test_the_engine_s_words_are_asked_where_one_is_configured(own: Own) -> None:
    server = ModelServer()

    def question(asked: dict[str, Any]) -> Response:
        about = asked["messages"][-1]["content"].split("\n")[1]
        said = "Is that so?" if len(server.asked) % 2 else about
        return stream([event(piece(said)), event(piece(None, "stop"))])

    server.answer = question
    with serving(server):
        engine = {"TANDEM_ENGINE": "openai", "OPENAI_BASE_URL": server.url, "TANDEM_MODEL": "m"}
        words = ("eval", "--own", own.place.docs, "--json", "--questions", "20", "--out", own.place.folder / "worded")
        measured = (await own.place.tandem(*words, settings=engine)).json
    assert len(server.asked) == 20
    assert measured["by_engine"] == measured["by_masking"] == measured["fell_back"] == 10
    kept = (own.place.folder / "worded" / "queries.jsonl").read_text()
    assert kept.count('"Is that so?"') == 10
    assert measured["files"]["recall@1"] < own.measured["files"]["recall@1"]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("{docs}", "--queries", "x"), 2, "expected `tandem eval CORPUS --queries FILE --qrels FILE"),
        (("--own", "{docs}", "--against", "x"), 2, "or `tandem eval --own DIR"),
        (("--own", "{docs}", "--out", "{docs}/kept"), 1, "its questions would be found there"),
        (("--own", "{docs}/missing", "--data", "{docs}/../none"), 1, "expected to be a folder, but it does not exist"),
    ],
)
async def test_what_cannot_be_measured_is_refused_in_words(
    here: Place, words: tuple[str, ...], status: int, told: str
) -> None:
    ended = await here.tandem("eval", *(word.format(docs=here.docs) for word in words))
    assert (ended.status, ended.out) == (status, "") and told in ended.err


async def test_an_empty_folder_has_no_figures(here: Place) -> None:
    empty = here.folder / "empty"
    empty.mkdir()
    ended = await here.tandem("eval", "--own", empty, "--data", here.folder / "of-empty")
    assert (ended.status, ended.out) == (1, "")
    assert "expected to hold files" in ended.err
