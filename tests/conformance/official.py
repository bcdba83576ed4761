"""The protocol's own testers, the conformance suite and the Inspector: `make test-all` installs them into
tests/conformance/node_modules. They need Node 22.19, and run on the one that the linter's wheel brings."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

HERE = Path(__file__).parent
MODULES = HERE / "node_modules" / "@modelcontextprotocol"
SUITE = MODULES / "conformance" / "dist" / "index.js"
INSPECTOR = MODULES / "inspector" / "clients" / "launcher" / "build" / "index.js"
_RUN_S = 120
_ENTRY = re.compile(r"  - ([a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class Run:
    status: int
    out: str
    err: str


async def run(node: str, program: Path, *words: str | Path, home: Path) -> Run:
    """Runs a tester to its end; what it keeps of its own goes to `home`."""
    command = [node, str(program), *map(str, words)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1"}
    with anyio.fail_after(_RUN_S):
        ended = await anyio.run_process(command, check=False, cwd=home, env=environment)
    return Run(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def required(revision: str) -> frozenset[str]:
    """The server's scenarios that conforming to this revision takes."""
    text = (MODULES / "conformance" / "requirements" / f"{revision}.yaml").read_text()
    _, _, servers = text.partition("\nserver:\n")
    return frozenset(_ENTRY.findall(servers.partition("\nclient:\n")[0]))


def expected_failures(revision: str) -> Path:
    return HERE / f"expected-failures-{revision}.yaml"


def listed(file: Path) -> frozenset[str]:
    """The entries of a file of expected failures, each with its reason behind it."""
    return frozenset(_ENTRY.findall(file.read_text()))


def results(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What the suite left there: the checks of each scenario."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in folder.glob("server-*/checks.json"):
        name = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", file.parent.name).removeprefix("server-")
        found[name] = json.loads(file.read_bytes())
    return found
