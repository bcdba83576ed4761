"""A million random and hostile lines to MCP's sessions as the daemon serves them: what ends, escapes or says no reason.

    python -m benchmarks.fuzz [--inputs 1000000] [--seed 1] [--session 1000] [--first 0] [--json FILE]

In one process: `tests.fuzzing.lines` makes them from the tools, prompts and templates that the server lists,
`bridge.sessions` reads them, cut anywhere, and a real index answers; `tests.fuzzing.verdict` judges what it says, and
what it logs. Every third session is of 2026-07-28. A problem is shown with its session's number: `--first N --inputs
1000` says that session again. Ends with status 1 where there was one.
"""

import argparse
import faulthandler
import io
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio
from anyio.abc import SocketStream

from bridge.scoped import Scoped
from bridge.sessions import over_lines
from bridge.settings import load
from bridge.tandem import opened
from bridge.tools import mcp_server
from observability.traces import Off
from tests.fuzzing.connection import Connection, in_memory
from tests.fuzzing.ground import Ground, laid
from tests.fuzzing.lines import KINDS, Lines
from tests.fuzzing.verdict import Verdict

STUCK_S = 120
# The engine reads and checks whole passages; what is fuzzed is who may ask it.
RARELY = {"ask": 20}

Serve = Callable[[SocketStream], Awaitable[None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--session", type=int, default=1_000, help="inputs of one connection")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first session")
    parser.add_argument("--json", type=Path, help="write the counts there too")
    told = parser.parse_args()
    result = anyio.run(_fuzzed, told.inputs, told.session, told.seed, told.first)
    print(json.dumps(result, indent=1))
    if told.json:
        told.json.write_text(json.dumps(result, indent=1))
    sys.exit(1 if result["problems"] else 0)


async def _fuzzed(inputs: int, session: int, seed: int, first: int) -> dict[str, Any]:
    counts: Counter[str] = Counter(dict.fromkeys(("escapes", "no JSON-RPC", "unanswered", "unexplained", "crashes"), 0))
    problems: list[str] = []
    began, cpu_s = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        ground, log = laid(Path(place).resolve()), _log()
        async with _served(ground) as serve:
            async with _connected(serve, Verdict(ground)) as first_one:
                listed = await first_one.listed()
            sessions = -(-inputs // session)
            for number in range(first, first + sessions):
                faulthandler.dump_traceback_later(STUCK_S, exit=True)
                modern = number % 3 == 2
                lines = Lines((seed, number), listed, ground, modern, RARELY)
                verdict = Verdict(ground)
                async with _connected(serve, verdict) as connection:
                    await connection.fuzzed(lines, Random(number), min(session, inputs), modern)
                _judge_log(log, verdict)
                inputs -= session
                counts.update(verdict.counts)
                new = [f"session {number}: {problem}" for problem in verdict.problems]
                problems += new
                print("\n".join([*new, f"{number + 1 - first} of {sessions} sessions"]), file=sys.stderr, flush=True)
            faulthandler.cancel_dump_traceback_later()
    wall_s = time.perf_counter() - began
    by_kind = {kind: counts.pop(kind, 0) for kind in KINDS}
    return {
        "inputs": sum(by_kind.values()),
        "by kind": by_kind,
        **{name: counts[name] for name in sorted(counts)},
        "seconds": round(wall_s, 1),
        "inputs_s": round(sum(by_kind.values()) / wall_s),
        "cpu_s": round(time.process_time() - cpu_s, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "problems": problems[:100],
    }


@asynccontextmanager
async def _served(ground: Ground) -> AsyncGenerator[Serve]:
    """The sessions of a daemon on a real index, in which one file was and is no more."""
    settings = load(str(ground.root.parent / "data"), {**os.environ, **ground.settings}, dotenv=False)
    settings.data.mkdir()
    async with opened(settings, Off()) as tandem:
        await tandem.index([str(ground.root)])
        ground.take_away()
        await tandem.index([], accept_deletions=True)
        assert {row.path for row in await tandem.documents()} == set(ground.documents)
        async with over_lines(mcp_server(Scoped(tandem, lambda: b""), "0")) as serve:
            yield serve


@asynccontextmanager
async def _connected(serve: Serve, verdict: Verdict) -> AsyncGenerator[Connection]:
    connection, server_end = in_memory(verdict)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve, server_end)
        tasks.start_soon(connection.listen)
        yield connection
        await connection.close()


def _log() -> io.StringIO:
    """What the daemon would have in its log, from here on."""
    log = io.StringIO()
    logging.basicConfig(level=logging.INFO, stream=log, force=True)
    return log


def _judge_log(log: io.StringIO, verdict: Verdict) -> None:
    said = log.getvalue()
    log.seek(0)
    log.truncate()
    if "Traceback" in said:
        verdict.wrong("crashes", "the log has a traceback", said[-3_000:])
    for canary in verdict.ground.escapes(said.encode(errors="replace")):
        verdict.wrong("escapes", f"{canary!r} stands in the log", "")


if __name__ == "__main__":
    main()
