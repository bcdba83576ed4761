"""Twenty questions through MCP, the daemon, Redis and a worker's process: twenty whole traces in a real Phoenix, each
with its retrieval metrics and its evaluations.

TANDEM_TEST_COLLECTION: a folder with `corpus/` and `queries.jsonl` to ask instead of the examples.
"""

import json
import os
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp import Client, StdioServerParameters

from tests.observability.read_back import evaluated
from tests.observability.receivers import Receiver, Span, at_phoenix, tree
from tests.processes import EXAMPLES, environment, place, until
from tests.test_one_trace import ANSWERED, sending_to, under
from wire.redis import RedisWire

pytestmark = pytest.mark.slow

COUNT = 20
QUESTIONS = """\
When do the noisy machines rest on a Thursday?
When is the workshop closed in August?
How much weight does the bicycle stand carry?
Wo liegen die Bremszüge und Ketten?
What is the name of the server and where does it stand?
How long does the uninterruptible power supply last?
How long does a clean shutdown of the server take?
How long does the backup keep snapshots?
What is the serial number of the dust extractor?
Why does the dust extractor stop and blink twice?
How many blast gates may be open at a time?
Which mask should be worn when the bag is changed?
What does a quarter of an hour at the laser cutter cost?
What is the rate of the welding set?
Which materials may not be cut with the laser?
How high may the kiln be fired?
Who was present at the meeting in January?
What was said about the gas boiler?
How many members does the workshop have?
トレーラーは何日まで借りられますか"""


@dataclass(frozen=True, slots=True)
class Collection:
    corpus: Path
    questions: Sequence[str]


def collection() -> Collection:
    if folder := os.environ.get("TANDEM_TEST_COLLECTION"):
        rows = (Path(folder) / "queries.jsonl").read_text("utf-8").splitlines()[:COUNT]
        return Collection(Path(folder).resolve() / "corpus", [json.loads(row)["text"] for row in rows])
    return Collection(EXAMPLES, QUESTIONS.splitlines())


@pytest.fixture(scope="module")
async def receiver(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Receiver]:
    async with at_phoenix(tmp_path_factory.mktemp("phoenix")) as receiver:
        yield receiver


@pytest.fixture(scope="module")
async def answers(receiver: Receiver, redis_url: str) -> dict[str, dict[str, Any]]:
    """Question -> what the tool gave, each asked over one stdio connection."""
    asked, given = collection(), dict[str, dict[str, Any]]()
    settings = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": uuid.uuid4().hex, **sending_to(receiver)}
    with place() as here:
        python, *words = here.command("mcp")
        relay = StdioServerParameters(command=python, args=words, env=environment(settings), cwd=here.folder)
        async with (
            here.program("worker", "--engine", "extractive", settings=settings),
            here.daemon(asked.corpus, settings=settings) as daemon,
            RedisWire(redis_url, key=settings["REDIS_STREAM_KEY"]) as wire,
        ):
            await daemon.in_step(sum(1 for _ in asked.corpus.iterdir()), within_s=300)
            await until(wire.workers)
            async with Client(relay) as client:
                for question in asked.questions:
                    result = await client.call_tool("ask", {"question": question})
                    assert not result.is_error and result.structured_content, result
                    given[question] = result.structured_content
    assert len(given) == COUNT
    return given


@pytest.fixture(scope="module")
async def traces(receiver: Receiver, answers: dict[str, dict[str, Any]]) -> dict[str, list[Span]]:
    """Trace id -> its spans, once all are there."""
    of: dict[str, list[Span]] = defaultdict(list)
    wanted = {answer["trace_id"] for answer in answers.values()}
    for span in await receiver.once_there(8 * COUNT, lambda span: span.trace in wanted):
        of[span.trace].append(span)
    return of


async def test_each_question_is_one_whole_trace(
    answers: dict[str, dict[str, Any]], traces: dict[str, list[Span]]
) -> None:
    assert len(traces) == COUNT
    sessions = set[str]()
    for question, answer in answers.items():
        spans = traces[answer["trace_id"]]
        assert len(spans) == 8
        assert tree(spans) == under("ask", ANSWERED)
        assert {span.status for span in spans} == {"OK"}
        of = {span.name: span.attributes for span in spans}
        assert json.loads(of["ask"]["input.value"]) == {"question": question, "session": None}
        assert of["answer"]["input.value"] == of["retrieve"]["input.value"] == question
        assert of["answer"]["output.value"] == of["generate"]["output.value"] == answer["answer"]
        assert of["embed query"]["embedding.embeddings.0.embedding.text"] == question
        assert of["look in the cache"]["cache.decision"]
        assert of["wait in queue"]["tandem.queue_wait_ms"] >= 0
        assert of["generate"]["llm.model_name"] == "extractive"
        for citation in answer["citations"]:
            passages = {key: text for key, text in of["retrieve"].items() if key.endswith(".document.content")}
            assert any(citation["quote"] in text for text in passages.values())
        sessions |= {attributes["session.id"] for attributes in of.values()}
    assert len(sessions) == 1  # one connection


async def test_phoenix_shows_the_metrics_of_each_retrieval(receiver: Receiver, traces: dict[str, list[Span]]) -> None:
    retrieved = {span.id for spans in traces.values() for span in spans if span.kind == "RETRIEVER"}
    assert len(retrieved) == COUNT
    found = await until(partial(_judged, receiver, "RETRIEVER", retrieved, "documentRetrievalMetrics"))
    for node in found.values():
        [metrics] = node["documentRetrievalMetrics"]
        assert metrics["evaluationName"] == "relevance"
        assert None not in (metrics["ndcg"], metrics["precision"], metrics["hit"])
    assert any(node["documentRetrievalMetrics"][0]["hit"] for node in found.values())


async def test_phoenix_shows_how_each_answer_was_judged(
    receiver: Receiver, answers: dict[str, dict[str, Any]], traces: dict[str, list[Span]]
) -> None:
    checks = {span.id: span for spans in traces.values() for span in spans if span.kind == "EVALUATOR"}
    by_trace = {answer["trace_id"]: answer for answer in answers.values()}
    cited = {id_ for id_, span in checks.items() if by_trace[span.trace]["citations"]}
    assert cited
    found = await until(partial(_judged, receiver, "EVALUATOR", cited, "spanAnnotations"))
    for id_ in cited:
        answer, said = by_trace[checks[id_].trace], found[id_]["spanAnnotations"]
        [groundedness] = [one for one in said if one["name"] == "groundedness"]
        assert groundedness["label"] == ("grounded" if answer["grounded"] else "ungrounded")
        supports = {one["identifier"]: one["score"] for one in said if one["name"] == "citation"}
        assert supports == {str(one["n"]): one["support"] for one in answer["citations"]}


async def _judged(receiver: Receiver, kind: str, wanted: set[str], by: str) -> dict[str, dict[str, Any]] | None:
    """The wanted spans, once something is said of each."""
    found = await anyio.to_thread.run_sync(evaluated, receiver.endpoint, receiver.api_key, kind)
    told = {id_: node for id_, node in found.items() if id_ in wanted and node[by]}
    return told if len(told) == len(wanted) else None
