"""10 000 random and hostile lines to real `tandem mcp` and their daemon: nothing ends, nothing escapes, stdout is
JSON-RPC. `benchmarks/fuzz.py` says a million in one process.

A failure names the seed: with TANDEM_TEST_SEED the same lines are said again.
"""

import os
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import anyio
import pytest

from tests.fuzzing.connection import Connection
from tests.fuzzing.ground import KILN, Ground, laid
from tests.fuzzing.lines import KINDS, Lines
from tests.fuzzing.offered import Offered
from tests.fuzzing.verdict import Verdict
from tests.processes import Daemon, Place, environment, place

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("TANDEM_TEST_SEED", "8"))
SESSIONS, INPUTS, AT_ONCE = 20, 500, 2
# What is fuzzed is who may ask for an answer, less how it is made.
RARELY = {"ask": 10}


@pytest.fixture
async def ground() -> AsyncGenerator[tuple[Ground, Daemon]]:
    """Its daemon has read all of it, and has seen one file go."""
    with place() as here:
        here.docs.rmdir()
        ground = laid(here.folder)
        async with here.daemon(ground.root, settings=ground.settings) as daemon:
            daemon.http.headers["Authorization"] = f"Bearer {ground.settings['TANDEM_TOKEN']}"
            await daemon.in_step(len(ground.documents) + 1)
            ground.take_away()
            await daemon.in_step(len(ground.documents))
            yield ground, daemon


@asynccontextmanager
async def connected(here: Place, ground: Ground, verdict: Verdict) -> AsyncGenerator[Connection]:
    """A `tandem mcp`, which must end well once its client leaves; what it says on stderr is judged too."""
    complaints = here.folder / f"{id(verdict)}.log"
    with complaints.open("wb") as stderr, anyio.fail_after(120):
        process = await anyio.open_process(
            here.command("mcp"), stderr=stderr, cwd=here.folder, env=environment(ground.settings)
        )
        async with process, anyio.create_task_group() as tasks:
            assert process.stdin and process.stdout
            connection = Connection(verdict, process.stdin, process.stdout)
            tasks.start_soon(connection.listen)
            try:
                yield connection
                await connection.close()
                if status := await process.wait():
                    verdict.wrong("crashes", f"`tandem mcp` ended with status {status}", complaints.read_text())
            finally:
                with suppress(ProcessLookupError):
                    process.kill()


async def test_ten_thousand_hostile_lines_end_nothing_and_nothing_escapes(ground: tuple[Ground, Daemon]) -> None:
    on, daemon = ground
    verdicts: list[Verdict] = []
    numbers = iter(range(SESSIONS))

    async def some(offered: Offered) -> None:
        for number in numbers:
            modern = number % 3 == 2
            verdicts.append(verdict := Verdict(on))
            async with connected(daemon.place, on, verdict) as connection:
                lines = Lines((SEED, number), offered, on, modern, RARELY)
                await connection.fuzzed(lines, Random(number), INPUTS, modern)

    verdicts.append(first := Verdict(on))
    async with connected(daemon.place, on, first) as connection:
        offered = await connection.listed()
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(some, offered)

    assert [problem for verdict in verdicts for problem in verdict.problems] == [], f"TANDEM_TEST_SEED={SEED}"
    counts = sum((verdict.counts for verdict in verdicts), Counter[str]())
    assert sum(counts[kind] for kind in KINDS) == SESSIONS * INPUTS
    assert counts["results"] > INPUTS and counts["refusals"] > INPUTS
    assert [hit["text"] for hit in await daemon.hits("How long does the kiln cool?") if KILN in hit["text"]]
    assert daemon.program.process.returncode is None
    said = daemon.program.err + daemon.program.out + "".join(map(Path.read_text, daemon.place.folder.rglob("*.log")))
    assert "Traceback" not in said
    assert on.escapes(said.encode()) == []
