"""The official conformance suite against the server that the daemon has over HTTP, on a real index."""

import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.official import SUITE, expected_failures, listed, required, results, run
from tests.conformance.served import Served, served

pytestmark = pytest.mark.slow

# Checks of lists that a server may say never change: it has the same tools and prompts as long as it runs.
LEFT_OUT = {
    "2025-11-25": set[str](),
    "2026-07-28": {
        "sep-2575-server-sends-prompts-list-changed-on-subscription",
        "sep-2575-server-sends-tools-list-changed-on-subscription",
    },
}
# A scenario that finds its tool missing may pass all the same. These belong to expected failures, but for
# test_reconnection and test_tool_with_task, which no revision requires.
MISSED = {
    "2025-11-25": {
        *("test_sampling", "test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums"),
        "test_reconnection",
    },
    "2026-07-28": {
        # Called to change the list of tools while streams are open, whatever the server said of it.
        "test_trigger_tool_change",
        "test_input_required_result_capabilities",
        # Of input-required-result-ignore-extra-params too, which is content with any result.
        "test_input_required_result_elicitation",
        "test_input_required_result_list_roots",
        "test_input_required_result_multi_round",
        "test_input_required_result_multiple_inputs",
        "test_input_required_result_prompt",
        "test_input_required_result_request_state",
        "test_input_required_result_sampling",
        "test_input_required_result_tampered_state",
        "test_tool_with_task",
    },
}


@pytest.fixture(scope="module")
async def server() -> AsyncGenerator[Served]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        docs = Path(folder) / "docs"
        docs.mkdir()
        (docs / "kiln.md").write_text("# The kiln\n\nThe kiln cools for twelve hours before anybody opens its door.\n")
        async with served(Path(folder) / "data", docs) as server:
            yield server


@pytest.mark.parametrize(("revision", "scenarios"), [("2025-11-25", 30), ("2026-07-28", 37)])
async def test_every_required_scenario_that_a_server_of_documents_can_offer_passes(
    server: Served, node: str, tmp_path: Path, revision: str, scenarios: int
) -> None:
    server.missed.clear()
    expected = expected_failures(revision)
    words = ("--requirements", revision, "--expected-failures", expected, "--output-dir", tmp_path / "found")
    ended = await run(node, SUITE, "server", "--url", server.url, *words, home=tmp_path)
    assert ended.status == 0, ended.out.partition("SUMMARY")[2] or ended.err
    found = {name: checks for name, checks in results(tmp_path / "found").items() if name in required(revision)}
    assert len(found) == len(required(revision)) == scenarios
    assert {name for name, checks in found.items() if _ends(checks) & {"FAILURE", "WARNING"}} == listed(expected)
    skipped = [check for checks in found.values() for check in checks if check["status"] == "SKIPPED"]
    assert {check["id"] for check in skipped} == LEFT_OUT[revision]
    assert {name for name in server.missed if name.startswith("test_")} == MISSED[revision]


def _ends(checks: list[dict[str, Any]]) -> set[str]:
    return {check["status"] for check in checks}
