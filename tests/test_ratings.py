"""What a person thinks of an answer, through each face, stands beside the answer's trace."""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import TextContent

from observability.redaction import HIDDEN
from tests.observability.collector import Collector, collecting
from tests.observability.receivers import KEY, Receiver, at_phoenix
from tests.processes import NONE, Daemon, Settings, environment, place, until

QUESTION = "How long does the kiln cool?"
COMMENT = "It does not say before what."


@pytest.fixture(scope="module")
def collector() -> Generator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
async def daemon(collector: Collector) -> AsyncGenerator[Daemon]:
    async with tracing_to(collector.url) as daemon:
        yield daemon


@asynccontextmanager
async def tracing_to(endpoint: str, api_key: str = KEY, settings: Settings = NONE) -> AsyncGenerator[Daemon]:
    tracing = {"PHOENIX_COLLECTOR_ENDPOINT": endpoint, "PHOENIX_API_KEY": api_key, **settings}
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours before anybody opens its door.\n")
        async with here.daemon(here.docs, settings=tracing) as daemon:
            await daemon.in_step(1)
            yield daemon


async def over_http(daemon: Daemon, trace_id: str, up: bool, comment: str) -> None:
    body = {"trace_id": trace_id, "up": up, "comment": comment}
    assert (await daemon.http.post("/ratings", json=body)).status_code == 204


async def over_mcp(daemon: Daemon, trace_id: str, up: bool, comment: str) -> None:
    command, *words = daemon.place.command("mcp")
    relay = StdioServerParameters(command=command, args=words, env=environment(), cwd=daemon.place.folder)
    async with Client(relay) as client:
        result = await client.call_tool("rate", {"trace_id": trace_id, "up": up, "comment": comment})
        assert result.structured_content == {"trace_id": trace_id, "rating": "up" if up else "down"}


async def in_the_shell(daemon: Daemon, trace_id: str, up: bool, comment: str) -> None:
    ended = await daemon.place.tandem("rate", trace_id, "up" if up else "down", "--comment", comment)
    assert (ended.status, ended.out) == (0, f"sent to the answer's trace: thumbs {'up' if up else 'down'}\n")


FACES = (over_http, over_mcp, in_the_shell)


def rated(collector: Collector) -> tuple[str, dict[str, Any]]:
    """The next rating that came."""
    while (said := collector.annotation())[1]["name"] != "rating":
        pass
    return said


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("face", FACES)
async def test_a_thumb_from_any_face_is_a_persons_annotation_on_the_trace_of_the_answer(
    collector: Collector, daemon: Daemon, face: Any, up: bool
) -> None:
    trace_id = (await daemon.answer(QUESTION))["trace_id"]
    await face(daemon, trace_id, up, COMMENT)
    path, row = await anyio.to_thread.run_sync(rated, collector)
    assert path == "/v1/trace_annotations"
    assert (row["trace_id"], row["annotator_kind"], row["identifier"]) == (trace_id, "HUMAN", "")
    assert row["result"] == {"score": float(up), "label": "up" if up else "down", "explanation": COMMENT}


async def test_the_words_that_go_to_a_model_name_the_trace_to_rate(daemon: Daemon) -> None:
    async with Client(f"{daemon.url}/mcp") as client:
        asked = await client.call_tool("ask", {"question": QUESTION})
    assert asked.structured_content
    words, *links = asked.content
    assert isinstance(words, TextContent) and links
    assert f"Its trace_id, for rate: {asked.structured_content['trace_id']}" in words.text


async def test_a_comment_stays_here_where_traces_hide_what_it_may_repeat(collector: Collector) -> None:
    async with tracing_to(collector.url, settings={"TANDEM_TRACE_HIDE": "answers"}) as daemon:
        trace_id = (await daemon.answer(QUESTION))["trace_id"]
        for face in FACES:
            await face(daemon, trace_id, False, COMMENT)
            _, row = await anyio.to_thread.run_sync(rated, collector)
            assert row["result"] == {"score": 0.0, "label": "down", "explanation": HIDDEN}
    spans = [collector.requests.get_nowait() for _ in range(collector.requests.qsize())]
    assert COMMENT not in str(spans) + daemon.program.err


async def test_a_collector_that_keeps_no_annotations_is_named_with_one_that_does() -> None:
    with collecting() as jaeger:
        jaeger.to_annotations = 404
        async with tracing_to(jaeger.url) as daemon:
            final = await daemon.answer(QUESTION)
            await anyio.to_thread.run_sync(jaeger.annotation)

            async def refused() -> str | None:
                body = {"trace_id": final["trace_id"], "up": True}
                response = await daemon.http.post("/ratings", json=body)
                return response.json()["error"]["message"] if response.status_code == 503 else None

            told = await until(refused)
            assert told.startswith(f"the rating was not taken: {jaeger.url}/v1/traces takes traces and is no Phoenix")
            assert "`tandem up --phoenix`" in told
            assert (await daemon.status())["traces_url"] is None


@pytest.mark.slow
async def test_phoenix_has_the_last_rating_on_the_trace_of_the_answer_and_the_chat_as_one_session(
    tmp_path: Path,
) -> None:
    async with at_phoenix(tmp_path) as phoenix, tracing_to(phoenix.endpoint, phoenix.api_key) as daemon:
        begun = await daemon.http.post("/answers", json={"text": QUESTION, "session": "the page's chat"})
        answered = await daemon.http.get(f"/answers/{begun.json()['request']}")
        trace_id = json.loads(answered.text.split("data: ")[-2])["trace_id"]
        await over_http(daemon, trace_id, True, "Twelve hours it is.")
        first = await until(partial(ratings_of, phoenix, trace_id))
        assert [(one["result"]["label"], one["annotator_kind"]) for one in first] == [("up", "HUMAN")]
        await over_mcp(daemon, trace_id, False, COMMENT)
        last = await until(partial(ratings_of, phoenix, trace_id, "down"))
        assert [one["result"] for one in last] == [{"score": 0.0, "label": "down", "explanation": COMMENT}]
        [answer] = await phoenix.once_there(1, lambda span: span.name == "answer")
        assert answer.trace == trace_id
        sessions = await asked_of(phoenix, "sessions")
        assert {one["session_id"]: [each["trace_id"] for each in one["traces"]] for one in sessions} == {
            "the page's chat": [trace_id]
        }
        assert (await daemon.status())["traces_url"] == f"{phoenix.endpoint}/redirects/traces/{{trace_id}}"


async def ratings_of(phoenix: Receiver, trace_id: str, label: str = "up") -> list[dict[str, Any]] | None:
    """All that stand on the trace, once one has the label."""
    found = await asked_of(phoenix, f"trace_annotations?trace_ids={trace_id}&include_annotation_names=rating")
    return found if label in {one["result"]["label"] for one in found} else None


async def asked_of(phoenix: Receiver, what: str) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {phoenix.api_key}"}
    async with httpx.AsyncClient(base_url=phoenix.endpoint, headers=headers, trust_env=False, timeout=30) as client:
        answer = await client.get(f"/v1/projects/tandem/{what}")
        return [] if answer.status_code == 404 else answer.raise_for_status().json()["data"]
