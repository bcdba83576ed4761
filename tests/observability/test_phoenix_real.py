"""A real Phoenix: started, given the trace of one question by two processes, read back, ended."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry import propagate
from opentelemetry.trace import Span, Status, StatusCode, TracerProvider

from observability.collector import address
from observability.phoenix import Collector, open_to_the_network, phoenix
from observability.traces import exporting
from tests.observability.programs import ROOT, run
from tests.observability.read_back import phoenix_python, spans, spans_once_there

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc"),
]

QUESTION = "How long is the lease?"
PASSAGES = ("The lease is 15 s.", "A beat every 5 s.")

WORKER = """
import json, sys
from opentelemetry import propagate, trace
from opentelemetry.trace import Status, StatusCode
from observability.traces import tracing
endpoint, key, job = sys.argv[1:]
with tracing(endpoint=endpoint, api_key=key, project="shape", service="worker") as traces:
    parent = propagate.extract(json.loads(job)["metadata"])
    with trace.get_tracer("inference_server").start_as_current_span("generate", context=parent) as span:
        span.set_attributes({"openinference.span.kind": "LLM", "session.id": "chat-1", "llm.model_name": "echo"})
        span.set_attributes({"llm.token_count.prompt": 120, "llm.token_count.completion": 9})
        span.set_attribute("llm.output_messages.0.message.role", "assistant")
        span.set_attribute("llm.output_messages.0.message.content", "Fifteen seconds [1].")
        span.set_status(Status(StatusCode.OK))
assert (traces.problem, traces.dropped) == (None, 0), traces.problem
"""

# A program with a private Phoenix: one span while Phoenix starts, one at the very end, as it is cancelled.
DAEMON = """
import sys, anyio
from pathlib import Path
from opentelemetry import trace
from observability.phoenix import traced_by_phoenix
async def main(data, python):
    with anyio.CancelScope() as stopped:
        async with traced_by_phoenix(Path(data), 0, python=python, service="daemon") as traces:
            trace.get_tracer("tests").start_span("early").end()
            print("entered", flush=True)
            await anyio.to_thread.run_sync(sys.stdin.readline)
            trace.get_tracer("tests").start_span("last").end()
            stopped.cancel()
            await anyio.sleep_forever()
    print(traces.problem, traces.dropped)
anyio.run(main, *sys.argv[1:])
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
async def collector(data: Path) -> AsyncGenerator[Collector]:
    async with phoenix(data, port=0, python=phoenix_python()) as collector:
        yield collector


@contextmanager
def span_of(provider: TracerProvider, name: str, kind: str) -> Generator[Span]:
    attributes = {"openinference.span.kind": kind, "session.id": "chat-1", "input.value": QUESTION}
    with provider.get_tracer("bridge").start_as_current_span(name, attributes=attributes) as span:
        yield span
        span.set_status(Status(StatusCode.OK))


async def test_one_question_over_two_processes_is_one_trace_of_the_promised_shape(collector: Collector) -> None:
    job: dict[str, Any] = {"metadata": {}}
    with exporting(service="daemon", project="shape", every_s=0.02) as (provider, outbox):
        outbox.send_to(address(*collector))
        with span_of(provider, "ask", "TOOL"), span_of(provider, "answer", "CHAIN"):
            with span_of(provider, "search", "RETRIEVER") as retriever:
                with span_of(provider, "embed", "EMBEDDING") as embed:
                    embed.set_attribute("embedding.model_name", "all-MiniLM-L6-v2")
                for n, text in enumerate(PASSAGES):
                    document = f"retrieval.documents.{n}.document"
                    retriever.set_attribute(f"{document}.id", f"chunk-{n}")
                    retriever.set_attribute(f"{document}.content", text)
                    retriever.set_attribute(f"{document}.score", 0.9 - n / 10)
                    retriever.set_attribute(f"{document}.metadata", json.dumps({"path": "/a.md", "start_line": 3}))
            propagate.inject(job["metadata"])
            await anyio.to_thread.run_sync(run, WORKER, *collector, json.dumps(job))
    found = await spans_once_there(*collector, "shape", "ask", "answer", "search", "embed", "generate")
    assert tree(found) == {
        ("ask", "TOOL", None),
        ("answer", "CHAIN", "ask"),
        ("search", "RETRIEVER", "answer"),
        ("embed", "EMBEDDING", "search"),
        ("generate", "LLM", "answer"),
    }
    assert len({span["context"]["trace_id"] for span in found}) == 1
    assert {span["status_code"] for span in found} == {"OK"}
    assert {span["attributes"]["session.id"] for span in found} == {"chat-1"}
    attributes = {span["name"]: span["attributes"] for span in found}
    retrieved = attributes["search"]
    assert [retrieved[f"retrieval.documents.{n}.document.content"] for n in (0, 1)] == list(PASSAGES)
    assert retrieved["retrieval.documents.0.document.score"] == 0.9
    assert retrieved["retrieval.documents.0.document.metadata.path"] == "/a.md"
    assert attributes["generate"]["llm.token_count.prompt"] == 120
    assert attributes["embed"]["embedding.model_name"] == "all-MiniLM-L6-v2"


def tree(found: list[dict[str, Any]]) -> set[tuple[str, str, str | None]]:
    names = {span["context"]["span_id"]: span["name"] for span in found}
    assert len(names) == len(found)
    return {(span["name"], span["span_kind"], names.get(span["parent_id"])) for span in found}


async def test_nobody_reads_or_writes_traces_without_the_key(collector: Collector) -> None:
    async with httpx.AsyncClient(base_url=collector.endpoint, trust_env=False) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            assert (await client.get("/v1/projects/tandem/spans", headers=headers)).status_code == 401
            query = {"query": "{projects{edges{node{name}}}}"}
            assert (await client.post("/graphql", json=query, headers=headers)).status_code == 401
            assert (await client.post("/v1/traces", content=b"", headers=headers)).status_code == 401


async def test_a_page_from_elsewhere_is_refused_even_with_the_key(collector: Collector) -> None:
    headers = {"authorization": f"Bearer {collector.api_key}", "origin": "http://evil.example"}
    async with httpx.AsyncClient(base_url=collector.endpoint, trust_env=False) as client:
        assert (await client.get("/v1/projects", headers=headers)).status_code == 401


async def test_grpc_listens_on_this_machine_only(collector: Collector, data: Path) -> None:
    [pid] = children_with(data)
    port = int(environment(pid)["PHOENIX_GRPC_PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    assert not open_to_the_network(port)


async def test_spans_from_before_phoenix_answers_and_from_the_last_moment_are_kept(tmp_path: Path) -> None:
    python = phoenix_python()
    with daemon(tmp_path, python) as process:
        pid = await first_span_in(tmp_path)
        out, err = process.communicate("go on\n", timeout=60)
        assert out.splitlines() == ["None 0"], err
        assert children_with(tmp_path) == []
    async with phoenix(tmp_path, port=0, python=python) as collector:
        names = [span["name"] for span in spans(*collector, "tandem")]
    assert sorted(names) == ["early", "last"]
    assert not Path(f"/proc/{pid}").exists()


async def test_phoenix_ends_when_its_daemon_is_killed(tmp_path: Path) -> None:
    with daemon(tmp_path, phoenix_python()) as process:
        pid = await first_span_in(tmp_path)
        ended = os.pidfd_open(pid)
        process.kill()
        try:
            with anyio.fail_after(60):
                await anyio.wait_readable(ended)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.close(ended)


@contextmanager
def daemon(data: Path, python: str) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", DAEMON, str(data), python]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "entered\n"
        try:
            yield process
        finally:
            process.kill()


async def first_span_in(data: Path) -> int:
    """Waits for the daemon's first span in the Phoenix of this data folder, and gives that Phoenix's process id."""
    with anyio.fail_after(200):
        while True:
            for pid in children_with(data):
                made = environment(pid)
                endpoint = f"http://127.0.0.1:{made['PHOENIX_PORT']}"
                with suppress(httpx.TransportError):
                    await spans_once_there(endpoint, made["PHOENIX_ADMIN_SECRET"], "tandem", "early", timeout_s=200)
                    return pid
            await anyio.sleep(0.1)


def children_with(data: Path) -> list[int]:
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [pid for pid in pids if environment(pid).get("PHOENIX_WORKING_DIR") == str(data / "phoenix")]


def environment(pid: int) -> dict[str, str]:
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
