"""What is to be hidden leaves in no byte: of spans, events and annotations of any process, logs and metrics.

A daemon, a worker elsewhere and its model, which repeats in its answers all that it was given, and judges them.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.responses import Response

from tests import judging_model
from tests.inference_server.test_openai import ModelServer, serving
from tests.observability.collector import collecting
from tests.processes import place, until
from tests.test_one_trace import ANSWERED, ask
from wire.redis import RedisWire

pytestmark = pytest.mark.slow

KINDS = ("questions", "passages", "answers")
CASES: list[tuple[dict[str, str], tuple[str, ...]]] = [
    ({"TANDEM_TRACE_HIDE": "all"}, KINDS),
    *(({"TANDEM_TRACE_HIDE": kind}, (kind,)) for kind in KINDS),
    ({"OPENINFERENCE_HIDE_INPUTS": "true"}, ("questions", "passages")),
    ({"OPENINFERENCE_HIDE_INPUT_TEXT": "true"}, ("questions", "passages")),
    ({"OPENINFERENCE_HIDE_OUTPUTS": "true"}, ("answers", "passages")),
    ({"OPENINFERENCE_HIDE_OUTPUT_MESSAGES": "true"}, ("answers",)),
    ({"OPENINFERENCE_HIDE_RETRIEVAL_DOCUMENTS": "true"}, ("passages",)),
    ({"OPENINFERENCE_HIDE_EMBEDDINGS_TEXT": "true"}, ("questions",)),
]


@dataclass(frozen=True, slots=True)
class Left:
    """`sent`: every byte that the collector was posted; `said`: what people and Prometheus were told."""

    sent: bytes
    said: str


@pytest.fixture
def server() -> Iterator[ModelServer]:
    server = ModelServer()
    with serving(server):
        yield server


async def left(
    server: ModelServer, redis_url: str, canary: dict[str, str], settings: dict[str, str], *, by_queue: bool = False
) -> Left:
    """Two questions of one chat are asked, the second needs the first; both answers are judged. `by_queue`: the worker
    knows neither of a collector nor of anything to hide."""
    question = f"How long does the kiln of {canary['questions']} cool?"
    follow_up = f"And the one of {canary['questions']} in winter?"
    answer = (
        f"The kiln cools for {canary['answers']} hours [1]. Asked: {canary['questions']}, {canary['passages']} [1]."
    )

    def replies(asked: dict[str, Any]) -> Response:
        if judging_model.is_to_judge(asked):
            return judging_model.said(judging_model.filled_in(asked))
        return judging_model.said(follow_up if "rewrite" in asked["messages"][0]["content"] else answer)

    server.answer = replies
    with collecting() as collector, place() as here:
        queue = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": uuid.uuid4().hex, "TANDEM_LEASE_S": "5"}
        settings = settings | queue | {"PHOENIX_COLLECTOR_ENDPOINT": collector.url, "TANDEM_JUDGE": "1"}
        model = {"OPENAI_BASE_URL": server.url, "TANDEM_MODEL": "small"}
        text = f"# The kiln of {canary['passages']}\n\nThe kiln of {canary['passages']} cools for twelve hours.\n"
        here.write("docs/kiln.md", text)
        async with (
            here.program("worker", "--engine", "openai", settings=(queue if by_queue else settings) | model) as worker,
            here.daemon(here.docs, settings=settings) as daemon,
            RedisWire(redis_url, key=settings["REDIS_STREAM_KEY"]) as wire,
        ):
            await daemon.in_step(1)
            await until(wire.workers)
            for words in (question, follow_up):
                final = await ask(daemon, words, session="talk-1")
                assert final["answer"] == answer
                await anyio.to_thread.run_sync(collector.verdicts, 2)
            assert final["question"] in (follow_up, None)
            await anyio.to_thread.run_sync(collector.until_told, {name for name, *_ in ANSWERED} | {"judge"})
            searched = {"query": f"{canary['questions']} {canary['answers']}", "limit": 0}
            assert (await daemon.http.post("/search", json=searched)).status_code == 400
            metrics = (await daemon.http.get("/metrics")).text
        logs = "".join(path.read_text(errors="replace") for path in here.folder.rglob("*.log"))
        said = "".join([daemon.program.err, daemon.program.out, worker.err, worker.out, metrics, logs])
        return Left(b"".join(collector.bodies), said)


def new_canary() -> dict[str, str]:
    return {kind: f"canary{uuid.uuid4().hex}" for kind in KINDS}


@pytest.mark.parametrize(("settings", "hidden"), CASES, ids=["=".join(next(iter(one.items()))) for one, _ in CASES])
async def test_what_is_hidden_leaves_in_no_byte(
    server: ModelServer, redis_url: str, settings: dict[str, str], hidden: tuple[str, ...]
) -> None:
    canary = new_canary()
    told = await left(server, redis_url, canary, settings)
    assert b"[hidden]" in told.sent and b"relevance (judge)" in told.sent
    assert [kind for kind in hidden if canary[kind].encode() in told.sent] == []
    assert [kind for kind in KINDS if canary[kind] in told.said] == []


async def test_what_a_worker_tells_through_the_queue_is_hidden_by_the_laptops_setting(
    server: ModelServer, redis_url: str
) -> None:
    canary = new_canary()
    told = await left(server, redis_url, canary, {"TANDEM_TRACE_HIDE": "all"}, by_queue=True)
    assert b"generate" in told.sent and b"tandem.first_token_ms" in told.sent
    assert [kind for kind in KINDS if canary[kind].encode() in told.sent] == []
    assert [kind for kind in KINDS if canary[kind] in told.said] == []


async def test_all_of_it_would_have_left(server: ModelServer, redis_url: str) -> None:
    canary = new_canary()
    told = await left(server, redis_url, canary, {})
    assert [kind for kind in KINDS if canary[kind].encode() in told.sent] == list(KINDS)
    assert [kind for kind in KINDS if canary[kind] in told.said] == []
