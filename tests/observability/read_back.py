"""What a real Phoenix has received, read back over its REST API; and which Python has a Phoenix to start."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.observability.programs import ROOT

PYTHONS = (os.environ.get("TANDEM_PHOENIX_PYTHON"), str(ROOT / ".venv-phoenix/bin/python"), sys.executable)


def spans(endpoint: str, api_key: str, project: str = "tandem") -> list[dict[str, Any]]:
    """Every span of the project, oldest first: name, context{trace_id, span_id}, parent_id, span_kind,
    status_code, events, and attributes under flat names such as retrieval.documents.0.document.content."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    headers = {"authorization": f"Bearer {api_key}"}
    # Phoenix's first look at a project takes it long on a busy machine.
    with httpx.Client(base_url=endpoint, headers=headers, trust_env=False, timeout=60) as client:
        while True:
            query = {"limit": "1000", "order": "asc", **cursor}
            answer = client.get(f"/v1/projects/{project}/spans", params=query)
            if answer.status_code == 404:  # the first span makes the project
                return []
            page = answer.raise_for_status().json()
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}


_EVALUATED = """{getProjectByName(name: "%s") {spans(first: 1000, filterCondition: "span_kind == '%s'") {edges {node {
    spanId
    documentRetrievalMetrics {evaluationName ndcg precision hit}
    spanAnnotations {name identifier label score annotatorKind}
}}}}}"""


def evaluated(endpoint: str, api_key: str, kind: str, project: str = "tandem") -> dict[str, dict[str, Any]]:
    """Span id -> documentRetrievalMetrics and spanAnnotations, as Phoenix's own pages ask for them."""
    headers = {"authorization": f"Bearer {api_key}"}
    with httpx.Client(base_url=endpoint, headers=headers, trust_env=False, timeout=60) as client:
        answer = client.post("/graphql", json={"query": _EVALUATED % (project, kind)}).raise_for_status().json()
        assert "errors" not in answer, answer
        edges = answer["data"]["getProjectByName"]["spans"]["edges"]
        return {edge["node"]["spanId"]: edge["node"] for edge in edges}


async def spans_once_there(
    endpoint: str, api_key: str, project: str, *names: str, timeout_s: float = 180
) -> list[dict[str, Any]]:
    """`spans` as soon as a span of each name is among them. Phoenix shows a span 0.3 s after it came."""
    with anyio.fail_after(timeout_s):
        while True:
            found = await anyio.to_thread.run_sync(spans, endpoint, api_key, project)
            if {*names} <= {span["name"] for span in found}:
                return found
            await anyio.sleep(0.1)


def phoenix_python() -> str:
    """A Python that has arize-phoenix; skips the test where there is none, or fails it where one is required."""
    for python in PYTHONS:
        if python and Path(python).exists() and _has_phoenix(Path(python)):
            return python
    why = "no Phoenix here: python3 -m venv .venv-phoenix && .venv-phoenix/bin/pip install arize-phoenix"
    if os.environ.get("TANDEM_TEST_PHOENIX_REQUIRED") == "1":
        pytest.fail(why)
    return pytest.skip(why)


def _has_phoenix(python: Path) -> bool:
    if python == Path(sys.executable):
        return importlib.util.find_spec("phoenix") is not None
    return any(python.parents[1].glob("lib/python*/site-packages/phoenix/server"))
