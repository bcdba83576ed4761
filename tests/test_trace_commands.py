"""`tandem trace`, as a person types it: over a real Phoenix, with a real index."""

import sqlite3
import threading
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import anyio.to_thread
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, set_span_in_context

from observability.announced import announced
from tests.observability.collector import collecting
from tests.observability.read_back import evaluated
from tests.observability.receivers import Receiver, at_phoenix, tree
from tests.processes import Ended, Place, place, place_with_examples, until
from tests.test_one_trace import sending_to
from tests.test_twenty_traces import QUESTIONS

WORSE = 3
OLD = datetime.now(UTC) - timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Real:
    """The examples' questions were asked at `place`, whose daemon has ended; `receiver` has their traces."""

    place: Place
    receiver: Receiver
    asked: Sequence[str]

    async def trace(self, *words: str, settings: Mapping[str, str] | None = None) -> Ended:
        return await self.place.tandem("trace", *words, settings=sending_to(self.receiver) | dict(settings or {}))

    async def experiment(self, *words: str, settings: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        ended = await self.trace("experiment", "real", "--json", *words, settings=settings)
        assert ended.status in (0, WORSE), ended.err
        return ended.status, ended.json


@pytest.fixture(scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Real]:
    asked = QUESTIONS.splitlines()
    async with at_phoenix(tmp_path_factory.mktemp("phoenix")) as receiver:
        with place_with_examples() as here:
            async with here.daemon(here.docs, settings=sending_to(receiver)) as daemon:
                await daemon.in_step(sum(1 for _ in here.docs.iterdir()))
                for question in asked:
                    await daemon.answer(question)
                await daemon.answer(asked[0].upper())
                await daemon.hits(asked[1], **{"in": "*.md"})
            await receiver.once_there(len(asked) + 2, lambda span: span.kind == "RETRIEVER")
            yield Real(here, receiver, asked)


@pytest.fixture(scope="module")
async def exported(real: Real) -> dict[str, Any]:
    ended = await real.trace("export", "real", "--json")
    assert ended.status == 0, ended.err
    return ended.json


@pytest.fixture(scope="module")
async def first(real: Real, exported: dict[str, Any]) -> dict[str, Any]:
    status, told = await real.experiment("--name", "first")
    assert (status, told["against"]) == (0, None)
    return told


@pytest.mark.slow
async def test_questions_become_a_dataset_once_with_what_their_answers_cited(
    real: Real, exported: dict[str, Any]
) -> None:
    assert exported["added"] == exported["examples"] > 15
    assert exported["repeated"] == 1
    rows = await examples(real, "real")
    assert len({row["input"]["question"].casefold() for row in rows if "in" not in row["input"]}) == len(rows) - 1
    for row in rows:
        assert row["id"] == row["metadata"]["trace_id"]
        assert row["source"]["span_id"]
        for one in row["output"]["evidence"]:
            assert one["path"].startswith(str(real.place.docs)) and one["quote"].strip()
    answers = [row for row in rows if row["output"]["answer"]]
    assert {row["metadata"]["engine"] for row in answers} == {"extractive"}
    assert {"question": real.asked[1], "in": "*.md"} in [row["input"] for row in rows]
    again = (await real.trace("export", "real", "--json")).json
    assert (again["added"], again["examples"]) == (0, exported["examples"])
    assert await examples(real, "real") == rows


async def examples(real: Real, name: str) -> list[dict[str, Any]]:
    async with client(real) as phoenix:
        [dataset] = (await phoenix.get("/v1/datasets", params={"name": name})).json()["data"]
        found = (await phoenix.get(f"/v1/datasets/{dataset['id']}/examples")).json()["data"]["examples"]
    return sorted((row for row in found if row.pop("updated_at")), key=lambda row: row["id"])


def client(real: Real) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {real.receiver.api_key}"}
    return httpx.AsyncClient(base_url=real.receiver.endpoint, headers=headers, trust_env=False, timeout=30)


@pytest.mark.slow
async def test_only_what_was_rated_down_is_exported_where_that_is_asked_for(real: Real) -> None:
    nothing = await real.trace("export", "bad", "--rated-down")
    assert nothing.status == 1
    assert "no question that was rated down with its evidence was found" in nothing.err
    found = await anyio.to_thread.run_sync(real.receiver.spans)
    answers = {span.attributes["input.value"]: span for span in found if span.name == "answer"}
    down, up = answers[real.asked[5]], answers[real.asked[6]]  # both are answered with their evidence
    rows = [
        {"trace_id": one.trace, "name": "rating", "annotator_kind": "HUMAN", "result": {"score": score}}
        for one, score in ((down, 0.0), (up, 1.0))
    ]
    async with client(real) as phoenix:
        made = await phoenix.post("/v1/trace_annotations", params={"sync": "true"}, json={"data": rows})
        made.raise_for_status()
    assert (await real.trace("export", "bad", "--rated-down", "--json")).json["added"] == 1
    [row] = await examples(real, "bad")
    assert (row["id"], row["metadata"]["rating"]) == (down.trace, 0.0)


@pytest.mark.slow
async def test_an_experiment_where_nothing_changed_is_no_change(real: Real, first: dict[str, Any]) -> None:
    assert first["measures"]["evidence found"]["mean"] > 0.9
    status, told = await real.experiment()
    assert (status, told["verdict"], told["against"]["name"]) == (0, "no change", "first")
    assert told["against"]["changed"] == {} and told["against"]["lost"] == []
    for one in told["against"]["measures"].values():
        assert (one["verdict"], one["difference"], one["worse"]) == ("no change", 0.0, 0)
        assert one["questions"] == first["questions"]
    words = (await real.trace("experiment", "real", "--against", "first")).out
    assert "no change" in words and "what lost most" not in words


@pytest.mark.slow
async def test_a_smaller_k_is_a_significant_drop(real: Real, first: dict[str, Any]) -> None:
    status, told = await real.experiment("--against", "first", settings={"RAG_TOP_K": "1"})
    assert (status, told["verdict"]) == (WORSE, "worse")
    assert told["against"]["changed"] == {"k": [5, 1]}
    found = told["against"]["measures"]["evidence found"]
    assert found["verdict"] == "worse" and found["interval"][1] < 0
    assert told["against"]["lost"][0]["measures"]["evidence found"][1] < 1
    ended = await real.trace("experiment", "real", "--against", "first", "-k", "1")
    assert ended.status == WORSE
    assert "changed     k: 5 -> 1" in ended.out and "what lost most" in ended.out


@pytest.mark.slow
async def test_a_broken_chunker_is_a_significant_drop(real: Real, first: dict[str, Any]) -> None:
    catalog = real.place.data / "catalog.sqlite3"
    with closing(sqlite3.connect(catalog)) as db:
        whole = db.execute("SELECT text, id FROM chunks").fetchall()
        try:
            with db:
                db.execute("UPDATE chunks SET text = substr(text, 1, length(text) / 2)")
            status, told = await real.experiment("--against", "first")
        finally:
            with db:
                db.executemany("UPDATE chunks SET text = ? WHERE id = ?", whole)
    assert (status, told["verdict"]) == (WORSE, "worse")
    assert told["against"]["measures"]["evidence found"]["verdict"] == "worse"
    assert told["against"]["changed"] == {}


@pytest.mark.slow
async def test_answers_are_made_again_and_compared_where_that_is_asked_for(real: Real, first: dict[str, Any]) -> None:
    status, told = await real.experiment("--ask", "--name", "asked")
    assert status == 0
    assert told["measures"]["answer kept"]["mean"] > 0.95
    assert told["measures"]["groundedness"]["mean"] > 0.95
    assert set(told["against"]["measures"]) == {"evidence found", "first at"}
    _, again = await real.experiment("--ask", "--against", "asked")
    assert {one["verdict"] for one in again["against"]["measures"].values()} == {"no change"}
    assert set(again["against"]["measures"]) == set(told["measures"])


@pytest.mark.slow
async def test_a_daemon_that_runs_is_asked_and_leaves_no_trace_of_it(
    real: Real, exported: dict[str, Any], first: dict[str, Any]
) -> None:
    async with real.place.daemon(settings=sending_to(real.receiver)) as daemon:
        await daemon.in_step(sum(1 for _ in real.place.docs.iterdir()))
        before = {span.id for span in await anyio.to_thread.run_sync(real.receiver.spans)}
        status, told = await real.experiment("--against", "first", "--ask")
        await daemon.hits("what comes after it")
    assert (status, told["verdict"], told["against"]["changed"]) == (0, "no change", {"answers": [False, True]})
    indexing = ("index", "index file", "embed chunks")
    new = await real.receiver.once_there(2, lambda span: span.id not in before and span.name not in indexing)
    assert tree(new) == {("retrieve", "RETRIEVER", None), ("embed query", "EMBEDDING", "retrieve")}
    again = (await real.trace("export", "real", "--json")).json
    assert (again["added"], again["examples"]) == (0, exported["examples"])


@pytest.mark.slow
async def test_phoenix_has_its_runs_and_evaluations_side_by_side(real: Real, first: dict[str, Any]) -> None:
    async with client(real) as phoenix:
        rows = (await phoenix.get(f"/v1/experiments/{first['experiment']['id']}/json")).json()
        kept = (await phoenix.get(f"/v1/experiments/{first['experiment']['id']}")).json()["data"]
        page = await phoenix.get(first["url"])
    assert (len(rows), kept["missing_run_count"]) == (first["questions"], 0)
    for row in rows:
        assert len(row["output"]["passages"]) <= 5
        assert {one["name"] for one in row["annotations"]} == {"evidence found", "first at"}
    assert (kept["metadata"]["k"], kept["metadata"]["made_by"]) == (5, "tandem trace experiment")
    assert "MiniLM" in kept["metadata"]["embedding"]
    assert page.status_code == 200


@pytest.mark.slow
async def test_what_is_hidden_stands_in_no_run_and_in_no_dataset(real: Real, first: dict[str, Any]) -> None:
    hide = {"TANDEM_TRACE_HIDE": "passages, answers"}
    _, told = await real.experiment("--ask", settings=hide)
    async with client(real) as phoenix:
        rows = (await phoenix.get(f"/v1/experiments/{told['experiment']['id']}/json")).json()
    outputs = [row["output"] for row in rows]
    assert {one["text"] for output in outputs for one in output["passages"]} == {"[hidden]"}
    assert {output["answer"] for output in outputs} == {"[hidden]"}
    refused = await real.trace("export", "never", settings=hide)
    assert refused.status == 1
    assert "TANDEM_TRACE_HIDE hides passages, and a dataset would tell them: nothing was exported" in refused.err


@pytest.mark.slow
async def test_names_that_phoenix_does_not_know_are_told_with_those_that_it_does(
    real: Real, first: dict[str, Any]
) -> None:
    ended = await real.trace("experiment", "reel")
    assert ended.status == 1
    assert "Phoenix has no dataset 'reel' (" in ended.err and "'real'" in ended.err
    ended = await real.trace("experiment", "real", "--against", "furst")
    assert ended.status == 1
    assert "--against was expected to name an experiment of this dataset" in ended.err and "'first'" in ended.err


@pytest.mark.slow
async def test_an_experiment_that_broke_off_is_nothing_to_compare_with(real: Real, first: dict[str, Any]) -> None:
    async with client(real) as phoenix:
        [dataset] = (await phoenix.get("/v1/datasets", params={"name": "real"})).json()["data"]
        begun = {"name": "broken off", "metadata": first["settings"]}
        made = (await phoenix.post(f"/v1/datasets/{dataset['id']}/experiments", json=begun)).raise_for_status().json()
        run = {"dataset_example_id": (await examples(real, "real"))[0]["node_id"], "output": {}, "repetition_number": 1}
        times = dict.fromkeys(("start_time", "end_time"), datetime.now(UTC).isoformat())
        posted = await phoenix.post(f"/v1/experiments/{made['data']['id']}/runs", json=run | times)
        posted.raise_for_status()
    _, told = await real.experiment()
    assert told["against"]["name"] != "broken off"
    ended = await real.trace("experiment", "real", "--against", "broken off")
    assert ended.status == 1
    assert "nothing was compared: 'broken off' has no score for any of these questions" in ended.err


@pytest.mark.slow
async def test_a_key_that_phoenix_refuses_is_told(real: Real) -> None:
    ended = await real.trace("eval", settings={"PHOENIX_API_KEY": "wrong"})
    assert ended.status == 1
    assert "refuses the key with 401: set PHOENIX_API_KEY" in ended.err


@pytest.mark.slow
async def test_traces_that_nobody_judged_are_judged_later_and_twice_gives_the_same(real: Real) -> None:
    measured, unmeasured = "Who measured it?", "How long does the lease last?"
    passage, answer = "The lease lasts fifteen seconds.", "The lease lasts fifteen seconds [1]."
    check = {"tandem.claims": [0.9], "tandem.cited": [1], "tandem.supports": [0.9], "tandem.grounded": True}
    await send(real, measured, passage, answer, {"tandem.relevances": [0.9]}, {"tandem.pending": 2}, check)
    await send(real, unmeasured, passage, answer, {}, {}, None)
    await send(real, "[hidden]", "[hidden]", "[hidden]", {"tandem.relevances": [0.9]}, {"tandem.pending": 0}, None)
    await real.receiver.once_there(3, lambda span: span.name == "retrieve" and span.attributes.get("old") is True)

    words = ("eval", "--since", "4d", "--until", "2d", "--json")
    told = (await real.trace(*words)).json
    assert (told["traces"], told["annotations"], told["spans"]) == (3, 9, 7)
    assert {row["reason"]: row["count"] for row in told["unjudged"]} == {
        "made before freshness was told": 1,
        "its texts are hidden, and nothing was measured when it was made": 1,
    }
    said = await until(partial(shown, real))
    assert [one for one, _ in said] == sorted([measured, unmeasured, "[hidden]"])
    for question, (metrics, annotations) in said:
        assert metrics == [("relevance", 1.0, 1.0, True)], question
        names = {name for name, *_ in annotations}
        expected = {"groundedness", "citation"} if question != "[hidden]" else set[str]()
        assert names == expected | ({"freshness"} if question != unmeasured else set())
    times = {"since", "until"}
    again = (await real.trace(*words)).json
    assert {name: again[name] for name in again.keys() - times} == {name: told[name] for name in told.keys() - times}
    assert await until(partial(shown, real)) == said
    assert "3 traces since " in (await real.trace(*words[:-1])).out


async def shown(real: Real) -> list[tuple[str, tuple[list[Any], list[Any]]]] | None:
    """`told_of`, once Phoenix's pages show the metrics of each: it counts them a moment later."""
    said = await anyio.to_thread.run_sync(told_of, real)
    return said if all(metrics for _, (metrics, _) in said) else None


def told_of(real: Real) -> list[tuple[str, tuple[list[Any], list[Any]]]]:
    """Of each of the old traces its question, the metrics of its passages, and what is said of its other spans."""
    at = (real.receiver.endpoint, real.receiver.api_key)
    nodes = {id_: node for kind in ("RETRIEVER", "CHAIN", "EVALUATOR") for id_, node in evaluated(*at, kind).items()}
    spans = [span for span in real.receiver.spans() if span.attributes.get("old") is True]
    found: list[tuple[str, tuple[list[Any], list[Any]]]] = []
    for search in (span for span in spans if span.kind == "RETRIEVER"):
        metrics = [tuple(one.values()) for one in nodes[search.id]["documentRetrievalMetrics"]]
        beside = [nodes[span.id] for span in spans if span.trace == search.trace and span.kind != "RETRIEVER"]
        said = sorted(tuple(map(str, one.values())) for node in beside for one in node["spanAnnotations"])
        found.append((search.attributes["input.value"], (metrics, said)))
    return sorted(found)


async def send(
    real: Real,
    question: str,
    passage: str,
    answer: str,
    on_search: dict[str, Any],
    on_answer: dict[str, Any],
    check: dict[str, Any] | None,
) -> None:
    """An answer of three days ago, as Phoenix would have it without anything said of it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource.create({"openinference.project.name": "tandem"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    document = "retrieval.documents.0.document"
    search = {f"{document}.content": passage, f"{document}.id": "/a.md:1", f"{document}.metadata": '{"relevance": 0.9}'}
    at = int(OLD.timestamp() * 1e9)
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("answer", "CHAIN", {"input.value": question, "output.value": answer, **on_answer}),
        ("retrieve", "RETRIEVER", {"input.value": question, **search, **on_search}),
    ]
    rows += [("check citations", "EVALUATOR", check)] if check else []
    above = None
    for name, kind, attributes in rows:
        span = provider.get_tracer("test").start_span(name, above, start_time=at)
        span.set_attributes({"openinference.span.kind": kind, "old": True, **attributes})
        span.set_status(StatusCode.OK)
        span.end(at + 10**9)
        above = above or set_span_in_context(span)
    body = encode_spans(exporter.get_finished_spans()).SerializeToString()
    async with client(real) as phoenix:
        headers = {"content-type": "application/x-protobuf"}
        (await phoenix.post("/v1/traces", content=body, headers=headers)).raise_for_status()


ALL = (("eval",), ("export", "real"), ("experiment", "real"))


@pytest.mark.parametrize("words", ALL, ids=lambda words: words[0])
async def test_without_a_phoenix_the_remedy_is_told(words: tuple[str, ...]) -> None:
    with place() as here:
        ended = await here.tandem("trace", *words)
    assert ended.status == 1
    assert "start one with `tandem up --phoenix`, or set PHOENIX_COLLECTOR_ENDPOINT" in ended.err


async def test_a_phoenix_that_is_away_or_another_collector_is_told(port: int) -> None:
    with place() as here, collecting() as other:
        away = await here.tandem("trace", "eval", settings={"PHOENIX_COLLECTOR_ENDPOINT": f"http://127.0.0.1:{port}"})
        none = await here.tandem("trace", "eval", settings={"PHOENIX_COLLECTOR_ENDPOINT": f"{other.url}/v1/traces"})
    assert (away.status, none.status) == (1, 1)
    assert f"no Phoenix answers at http://127.0.0.1:{port}" in away.err
    assert f"{other.url} was expected to be a Phoenix, but it answers otherwise" in none.err


@contextmanager
def answering_always(body: bytes) -> Generator[tuple[str, list[str]]]:
    """Its URL, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("words", ALL, ids=lambda words: words[0])
@pytest.mark.parametrize("body", [b'{"data": [{"id": "1", "name": "real"}]}', b'{"data": {"data": [7]}}'])
async def test_a_phoenix_of_another_shape_is_told(words: tuple[str, ...], body: bytes) -> None:
    with place() as here, answering_always(body) as (url, _):
        ended = await here.tandem("trace", *words, settings={"PHOENIX_COLLECTOR_ENDPOINT": url})
    assert ended.status == 1
    assert "with what is not understood" in ended.err and "Tandem knows Phoenix 20" in ended.err


async def test_a_password_and_a_token_in_the_endpoint_are_used_and_never_shown() -> None:
    with place() as here, answering_always(b"{}") as (url, asked):
        endpoint = url.replace("//", "//me:sesame@") + "/space?token=sesame"
        ended = await here.tandem("trace", "eval", settings={"PHOENIX_COLLECTOR_ENDPOINT": endpoint})
    assert ended.status == 1 and f"{url}/space was expected to be a Phoenix" in ended.err
    assert asked == ["/space/v1/projects?token=sesame&limit=1"]
    assert "sesame" not in ended.err + ended.out


async def test_where_a_private_phoenix_has_ended_without_a_word_nobody_else_is_given_its_key() -> None:
    with place() as here, answering_always(b'{"data": []}') as (url, asked):
        here.write("data/phoenix/secrets.json", '{"signing": "s", "api_key": "k", "password": "p"}')
        left = here.write("data/phoenix/endpoint", url)
        ended = await here.tandem("trace", "eval")
        assert (ended.status, asked) == (1, [])
        assert "no Phoenix keeps traces here" in ended.err
        with announced(left, url):
            elsewhere = {"PHOENIX_COLLECTOR_ENDPOINT": "http://127.0.0.1:1"}  # to which no daemon with its own sends
            assert (await here.tandem("trace", "eval", settings=elsewhere)).status == 0
        assert asked and not left.exists()


@pytest.mark.parametrize("name", ["", " ", "kiln\udcff"])
@pytest.mark.parametrize("words", [("export",), ("experiment",), ("experiment", "real", "--name")], ids="-".join)
async def test_a_name_that_is_none_is_refused(words: tuple[str, ...], name: str) -> None:
    with place() as here:
        ended = await here.tandem("trace", *words, name)
    assert ended.status == 2 and "expected a name" in ended.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--since", "soon"), "--since and --until were expected to be a date like 2026-01-31"),
        (("--since", "1d", "--until", "2d"), "--since was expected to be earlier than --until"),
    ],
)
async def test_a_time_that_is_none_is_told(words: tuple[str, ...], told: str) -> None:
    with place() as here:
        ended = await here.tandem("trace", "eval", *words)
    assert ended.status == 1 and told in ended.err


async def test_the_help_says_when_the_exit_status_is_3() -> None:
    with place() as here:
        ended = await here.tandem("trace", "experiment", "--help")
    assert "Exit status: 3 where a measure is worse than before" in " ".join(ended.out.split())
