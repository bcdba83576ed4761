"""What tracing costs: the processor time of a search, the tokens a second of an answer, the end of a process.

    python -m benchmarks.tracing [FOLDER] [--rounds N] [--queries N] [--answers N]

Daemons over copies of one data folder are asked the same queries, each query of all of them, in an order drawn anew.
`off` and `control` are not traced: what these two differ by is the noise of the measurement. The others send their
traces to a collector that takes all of them and keeps nothing (`sink`), where nobody listens (`refusing`), where
nobody answers (`hanging`), or to one that answers 500 (`failing`). They have been asked so much before that the spans
which wait for a collector are as many as may wait.

`path`: the processor time of all threads but the one that sends traces; `process`: of all threads. The kernel counts
both, in nanoseconds, whatever else the machine does meanwhile. Processes are started anew for each round.
`answer`: see benchmarks/traced_answers.py. `exit_s`: the longest that a process took to end after SIGTERM.

FOLDER holds `corpus/` and `queries.jsonl`; without it the documents and queries are made up, and
the documents' vectors random: what a query costs is the same.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np

from benchmarks import corpus, traced_answers
from benchmarks.collectors import KINDS, collector
from benchmarks.daemons import daemon, settled, tandem
from benchmarks.latency import fill, models
from benchmarks.paired import more
from benchmarks.processes import processor_ns
from bridge.settings import Settings
from indexer.embed import onnx

SIDES = ("off", "control", *KINDS)
SENDER = "tandem-traces"
FILES, FULL = 100, 1_100  # with two spans a search more wait after FULL searches than may
LIMIT = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--queries", type=int, default=300, help="a round (default: 300)")
    parser.add_argument("--answers", type=int, default=30, help="a round (default: 30)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        queries = _given(home / "index", arguments.folder) if arguments.folder else _made_up(home)
        result: dict[str, Any] = {"queries": arguments.rounds * arguments.queries}
        if arguments.queries:
            result |= searched(home, queries, arguments.rounds, arguments.queries)
        if arguments.answers:
            result["answers"] = arguments.rounds * arguments.answers
            result["answer"] = anyio.run(traced_answers.measured, SIDES, arguments.rounds, arguments.answers)
    print(json.dumps(result))


def searched(home: Path, queries: Sequence[str], rounds: int, each: int) -> dict[str, Any]:
    """`home`/index is the data folder that is copied."""
    for side in SIDES:
        shutil.copytree(home / "index", home / side / "data")
    path: dict[str, list[list[int]]] = defaultdict(list)
    whole: dict[str, list[list[int]]] = defaultdict(list)
    exit_s = dict.fromkeys(SIDES, 0.0)
    rng = random.Random(0)
    for _ in range(rounds):
        with _daemons(home, rng, exit_s) as clients:
            for client, _ in clients.values():
                settled(client)
                for n in range(FULL):
                    _ask(client, f"{queries[0]} {n % 8}")
            chosen = rng.sample(queries, each) if each < len(queries) else rng.choices(queries, k=each)
            for side, costs in _costs(clients, chosen, rng).items():
                path[side].append([on_path for on_path, _ in costs])
                whole[side].append([everything for _, everything in costs])
    off = np.array(path["off"], float)
    return {
        "search_path_ms": round(off.mean() / 1e6, 2),
        "path": {side: more(off, np.array(path[side], float)) for side in SIDES[1:]},
        "path_us": {side: round((np.array(path[side]).mean() - off.mean()) / 1e3) for side in SIDES[1:]},
        "process": {side: more(np.array(whole["off"], float), np.array(whole[side], float)) for side in SIDES[1:]},
        "exit_s": {side: round(took, 2) for side, took in exit_s.items()},
    }


@contextmanager
def _daemons(
    home: Path, rng: random.Random, exit_s: dict[str, float]
) -> Generator[Mapping[str, tuple[httpx.Client, int]]]:
    """A client and a process id for each side, begun in an order drawn anew."""
    with ExitStack() as collectors:
        urls = {kind: collectors.enter_context(collector(kind)) for kind in KINDS}
        stacks = {side: ExitStack() for side in rng.sample(SIDES, len(SIDES))}
        clients: dict[str, tuple[httpx.Client, int]] = {}
        try:
            for side, stack in stacks.items():
                settings = {"PHOENIX_COLLECTOR_ENDPOINT": urls[side]} if side in urls else {}
                clients[side] = stack.enter_context(daemon(home / side / "data", settings=settings))
            yield clients
        finally:
            for side, stack in stacks.items():
                began = time.perf_counter()
                stack.close()
                exit_s[side] = max(exit_s[side], time.perf_counter() - began)


def _costs(
    clients: Mapping[str, tuple[httpx.Client, int]], queries: Sequence[str], rng: random.Random
) -> dict[str, list[tuple[int, int]]]:
    """Nanoseconds of each query, on the path and in all. What a process does between two queries counts too: nothing
    that a query leaves for later is lost."""
    costs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    before = {side: processor_ns(pid) for side, (_, pid) in clients.items()}
    for query in queries:
        for side in rng.sample(SIDES, len(SIDES)):
            _ask(clients[side][0], query)
        for side, (_, pid) in clients.items():
            after = processor_ns(pid)
            costs[side].append(_spent(before[side], after))
            before[side] = after
    return costs


def _spent(before: Mapping[tuple[int, str], int], after: Mapping[tuple[int, str], int]) -> tuple[int, int]:
    spent = {thread: ns - before.get(thread, 0) for thread, ns in after.items()}
    return sum(ns for (_, name), ns in spent.items() if name != SENDER), sum(spent.values())


def _ask(client: httpx.Client, query: str) -> None:
    client.post("/search", json={"query": query, "limit": LIMIT}).raise_for_status()


def _given(data: Path, folder: Path) -> list[str]:
    tandem(data, "index", str(folder / "corpus"))
    return [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text().splitlines()]


def _made_up(home: Path) -> list[str]:
    paths = corpus.write(home / "documents", FILES, 94)
    settings = Settings(home / "index", embedding_model="all-MiniLM-L6-v2", engine="extractive")
    embedder = onnx.load("all-MiniLM-L6-v2", None, models(), 1)
    anyio.run(fill, settings, embedder, home / "documents", paths)
    words = [path.read_text().split() for path in paths]
    return [" ".join(some[n : n + 9]) for some in words for n in range(0, 90, 9)]


if __name__ == "__main__":
    main()
