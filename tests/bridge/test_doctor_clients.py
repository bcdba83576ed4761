"""The doctor before the clients' files."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.doctor.check import Check
from bridge.doctor.clients import examined
from bridge.install import CLIENTS, Target
from bridge.install.entry import entry, own_command
from tests.processes import place


def said(tmp_path: Path, told: Any, data: Path | None = None) -> Check | None:
    file = tmp_path / "mcp.json"
    file.write_text(told if isinstance(told, str) else json.dumps({"mcpServers": {"tandem": told}}))
    return examined("cursor", Target(CLIENTS["cursor"], file), data or tmp_path / "index")


def ours(tmp_path: Path, **changed: Any) -> dict[str, Any]:
    return {**entry(own_command({}), tmp_path / "index", [str(tmp_path)], has_type=True), **changed}


def test_what_we_install_is_fine(tmp_path: Path) -> None:
    check = said(tmp_path, ours(tmp_path))
    assert check and (check.state, check.remedy) == ("ok", None)
    assert str(tmp_path / "mcp.json") in check.found


def test_a_file_without_us_is_not_mentioned_and_one_that_cannot_be_read_is(tmp_path: Path) -> None:
    assert said(tmp_path, '{"mcpServers": {"other": {}}}') is None
    assert said(tmp_path, "") is None
    check = said(tmp_path, '{"mcpServers": {"tandem" {}}}')
    assert check and (check.state, "line 1, column 26: a colon was expected" in check.found) == ("failed", True)


@pytest.mark.parametrize(
    ("changed", "state", "found"),
    [
        ({"command": "/no/such/tandem"}, "failed", "/no/such/tandem is not there"),
        ({"command": ""}, "failed", "no command is named"),
        ({"env": {"TANDEM_DATA": "/another/index"}}, "warning", "has the index in /another/index"),
        ({"args": ["mcp", "--data", "/another/index"]}, "warning", "has the index in /another/index"),
        ({"command": "sh"}, "warning", "starts sh by the PATH"),
        ({"args": ["mcp", "--watch", "/no/such/folder"]}, "warning", "watches /no/such/folder, which cannot be read"),
    ],
)
def test_what_is_amiss_is_said_with_what_to_do(tmp_path: Path, changed: dict[str, Any], state: str, found: str) -> None:
    check = said(tmp_path, ours(tmp_path, **changed))
    assert check and (check.state, found in check.found) == (state, True), check
    assert check.remedy


def test_a_client_that_asks_the_daemon_over_http_is_told_apart(tmp_path: Path) -> None:
    check = said(tmp_path, {"url": "http://127.0.0.1:8000/mcp"})
    assert check and check.found.endswith("asks the daemon at http://127.0.0.1:8000/mcp; it must run: `tandem up`")


async def test_the_whole_examination_has_a_line_for_each_client_that_names_us() -> None:
    with place() as here:
        home = {"HOME": str(here.folder)}
        none = [
            line for line in (await here.tandem("doctor", "--json", settings=home)).lines if line["part"] == "clients"
        ]
        assert [(line["state"], "tandem install" in line["remedy"]) for line in none] == [("off", True)]
        for client in ("cursor", "claude-code"):
            await here.tandem("install", client, settings=home)
        lines = (await here.tandem("doctor", "--json", settings=home)).lines
        told = [line["found"] for line in lines if line["part"] == "clients" and line["state"] == "ok"]
    assert [one.split(" (")[0] for one in told] == ["Claude Code", "Cursor"]
