"""What a trace shows of a job. OpenTelemetry's provider is the process's only one, so this runs in its own."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

PROGRAM = """
import functools, json, anyio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from inference_server.engines import EngineFailed
from inference_server.engines.echo import echo
from inference_server.worker import work
from inference_server.spans import generation
from wire import Job, Metadata, Passage, Said
from wire.memory import MemoryWire

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

def generate(job, said):
    if job.prompt == "fail":
        raise EngineFailed("no such model")
    return echo()(job, said)

metadata = Metadata(traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01", created_ms=1)

async def main():
    wire, stopped = MemoryWire(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(functools.partial(work, wire, generate, slots=1, stopped=stopped))
        for prompt, traceparent in (("why not?", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"), ("fail", "garbage")):
            metadata = Metadata(traceparent=traceparent, session="s1", created_ms=1)
            async with wire.send(Job(prompt, prompt, (Passage(text="because"),), metadata=metadata)) as replies:
                [reply async for reply in replies]
        stopped.set()

anyio.run(main)
with generation(Job("r", "go on", metadata=metadata), Said("half of it", (5, 6, 7)), 1.5):
    pass
for span in spans.get_finished_spans():
    print(span.to_json(indent=None))
"""


@pytest.fixture(scope="module")
def every() -> list[dict[str, Any]]:
    lines = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, timeout=60).stdout
    return [json.loads(line) for line in lines.splitlines()]


@pytest.fixture(scope="module")
def spans(every: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [span for span in every if span["name"] == "generate"]


def test_a_job_and_its_wait_are_spans_in_the_trace_of_who_asked(every: list[dict[str, Any]]) -> None:
    names = ["wait in queue", "generate", "generate", "wait in queue", "generate"]
    assert [span["name"] for span in every] == names
    for span in every[:2]:
        assert span["context"]["trace_id"] == "0x" + "a" * 32
        assert span["parent_id"] == "0x" + "b" * 16
    assert every[0]["attributes"]["session.id"] == "s1"


def test_a_wait_is_as_long_as_the_queue_says_whatever_the_askers_clock_told(every: list[dict[str, Any]]) -> None:
    waited = every[3]
    began, ended = (datetime.fromisoformat(waited[name]) for name in ("start_time", "end_time"))
    assert waited["attributes"]["tandem.queue_wait_ms"] == 1_500
    assert (ended - began).total_seconds() == 1.5
    assert every[0]["attributes"]["tandem.queue_wait_ms"] < 10_000


def test_a_span_shows_what_the_model_was_given_and_what_it_said(spans: list[dict[str, Any]]) -> None:
    shown = spans[0]["attributes"]
    assert shown["openinference.span.kind"] == "LLM"
    assert shown["session.id"] == "s1"
    assert (shown["input.value"], shown["output.value"]) == ("why not?", "why not?")
    assert shown["llm.input_messages.0.message.role"] == "system"
    assert shown["llm.input_messages.1.message.role"] == "user"
    assert "because" in shown["llm.input_messages.1.message.content"]
    assert shown["llm.output_messages.0.message.role"] == "assistant"
    assert shown["llm.output_messages.0.message.content"] == "why not?"
    assert (shown["llm.model_name"], shown["llm.token_count.completion"]) == ("echo", 2)
    assert spans[0]["status"] == {"status_code": "OK"}
    assert [event["name"] for event in spans[0]["events"]] == ["first token"]
    assert shown["tandem.first_token_ms"] >= 0


def test_what_opentelemetry_has_a_name_for_stands_there_under_it_too(spans: list[dict[str, Any]]) -> None:
    shown = {name: value for name, value in spans[0]["attributes"].items() if name.startswith("gen_ai.")}
    assert shown == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "s1",
        "gen_ai.response.model": "echo",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.output_tokens": 2,
    }


def test_a_job_that_was_taken_over_says_how_much_of_it_was_out(spans: list[dict[str, Any]]) -> None:
    (event,) = spans[2]["events"]
    assert (event["name"], event["attributes"]) == ("taken over", {"tandem.tokens": 3, "tandem.characters": 10})


def test_a_failed_job_is_an_error_with_its_reason_and_an_unreadable_parent_is_none(spans: list[dict[str, Any]]) -> None:
    assert spans[1]["status"] == {"status_code": "ERROR", "description": "no such model"}
    assert spans[1]["parent_id"] is None
