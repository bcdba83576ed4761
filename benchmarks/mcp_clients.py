"""What an MCP client waits for and holds: `tandem mcp` beside mcp-server-qdrant and beside a bare server on the SDK.

    python -m benchmarks.mcp_clients [--passages 500] [--calls 400] [--starts 20] [--clients 20] [--json FILE]

Start: from spawning the process until `initialize` is answered, the servers in turn; for Tandem beside a daemon that
runs and, cold, without one. A call: `tools/call` of search over the same passages with the same MiniLM weights, each
query heard for the first time, by one client and by many at once. The clients are real processes (over HTTP:
connections), driven by one process with a thread for each: `driver_ms` is its own processor time a call, which at many
clients is part of what is measured. Memory: PSS of one client's processes, and all that so many clients hold, with the
daemon. mcp-server-qdrant has an index and a model in each process (`benchmarks/peers/install.sh` installs it).
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import corpus
from benchmarks.daemons import daemon, percentile, settled
from benchmarks.daemons import tandem as command
from benchmarks.mcp_servers import Client, Http, Server, Stdio, bare, qdrant, tandem
from benchmarks.processes import family, pss_mb, rss_mb
from bridge.folder import Folder

SENTENCES = 4  # a passage of about 240 tokens
COLD_STARTS = 5
TARGETS = {"start_ms": 60, "client_mb": 15}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=500)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        result = measured(Path(place), told.passages, told.calls, told.starts, told.clients)
    print(table(result, told.clients))
    if told.json:
        told.json.write_text(json.dumps(result, indent=1))


def measured(home: Path, passages: int, calls: int, starts: int, clients: int) -> dict[str, Any]:
    files = corpus.write(home / "documents", passages, SENTENCES)
    texts = [file.read_text() for file in files]
    asked = _queries(texts)
    ours, data = tandem(home / "data"), home / "data"
    peers = [server for server in (bare(), qdrant(home, texts, clients)) if server]
    result: dict[str, Any] = {"passages": passages, "processors": os.cpu_count(), "targets": TARGETS}
    with daemon(data, home / "documents") as (http, pid):
        settled(http)
        port = http.base_url.port
        assert port
        _warmed(ours, calls, asked)
        result["start"] = _starts([ours, *peers], starts)
        for server in (ours, *peers):
            own = pid if server is ours else None
            result[server.name] = _served(server, clients, calls, asked, lambda n, of=server: Stdio(of, n), own)
        over_http = _served(ours, clients, calls, asked, lambda n: Http(port), pid)
        result["tandem over HTTP"] = over_http
    result["cold"] = _cold(ours, data, asked)
    return result


def _served(
    server: Server, clients: int, calls: int, asked: Iterator[str], connect: Callable[[int], Client], daemon: int | None
) -> dict[str, Any]:
    """One client, then many; what they hold while they are connected."""
    with ExitStack() as stack:
        some: list[Client] = []
        stack.callback(lambda: [one.close() for one in some])

        def join(n: int) -> None:
            some.append(connect(n))
            some[-1].open()

        join(0)
        alone = _latency(server, some, calls, asked)
        one = _held(some, daemon)
        with ThreadPoolExecutor(clients) as joining:
            list(joining.map(join, range(1, clients)))
        together = _latency(server, some, calls, asked)
        many = _held(some, daemon)
    grown = (many["daemon_mb"] - one["daemon_mb"]) / max(1, clients - 1)
    return {"1": alone | one, str(clients): together | many, "daemon_mb_a_client": round(grown, 2)}


def _warmed(server: Server, calls: int, asked: Iterator[str]) -> None:
    """The first client has the daemon import the SDK, and the first calls have it grow."""
    client = Stdio(server)
    client.open()
    _latency(server, [client], calls, asked)
    client.close()


def _held(clients: Sequence[Client], daemon: int | None) -> dict[str, float]:
    pids = [one.pid for one in clients if isinstance(one, Stdio)]
    processes = [process for pid in pids for process in family(pid)]
    daemons = family(daemon) if daemon else []
    mean = max(1, len(pids))
    return {
        "client_pss_mb": round(sum(map(pss_mb, processes)) / mean, 1),
        "client_rss_mb": round(sum(map(rss_mb, processes)) / mean, 1),
        "daemon_mb": round(sum(map(pss_mb, daemons)), 1),
        "all_mb": round(sum(map(pss_mb, [*processes, *daemons])), 1),
    }


def _latency(server: Server, clients: Sequence[Client], calls: int, asked: Iterator[str]) -> dict[str, float]:
    """Of `calls`, by all clients together, each after a first one that does not count."""
    each = [[next(asked) for _ in range(max(1, calls // len(clients)))] for _ in clients]
    taken: list[float] = []
    ready = threading.Barrier(len(clients) + 1)

    def run(client: Client, queries: Sequence[str]) -> None:
        client.call(server.tool, {server.words: "hello"})
        ready.wait()
        for query in queries:
            began = time.perf_counter()
            client.call(server.tool, {server.words: query})
            taken.append((time.perf_counter() - began) * 1000)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(clients, each, strict=True)]
    for thread in threads:
        thread.start()
    ready.wait()
    began, cpu_s = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    return {
        "p50_ms": round(percentile(taken, 50), 2),
        "p99_ms": round(percentile(taken, 99), 2),
        "calls_s": round(len(taken) / wall_s, 1),
        "driver_ms": round(cpu_s * 1000 / len(taken), 2),
    }


def _starts(servers: Sequence[Server], times: int) -> dict[str, Any]:
    wall: dict[str, list[float]] = {server.name: [] for server in servers}
    cpu: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(times):
        for server in servers:
            client = Stdio(server)
            client.open()
            wall[server.name].append((time.perf_counter() - client.began) * 1000)
            client.close()
            cpu[server.name].append(client.cpu_s * 1000)
    return {
        name: {
            "p50_ms": round(statistics.median(values), 1),
            "least_ms": round(min(values), 1),
            "cpu_ms": round(statistics.median(cpu[name]), 1),
        }
        for name, values in wall.items()
    }


def _cold(ours: Server, data: Path, asked: Iterator[str]) -> dict[str, float]:
    """No daemon runs: until `initialize` is answered, and until the first search is."""
    hello: list[float] = []
    found: list[float] = []
    for _ in range(COLD_STARTS):
        client = Stdio(ours)
        client.open()
        hello.append(time.perf_counter() - client.began)
        client.call(ours.tool, {ours.words: next(asked)})
        found.append(time.perf_counter() - client.began)
        client.close()
        command(data, "down")
    assert not Folder(data).mcp_socket.exists()
    return {"initialize_s": round(statistics.median(hello), 2), "first_search_s": round(statistics.median(found), 2)}


def _queries(texts: Sequence[str]) -> Iterator[str]:
    rng = random.Random(1)
    while True:
        words = rng.choice(texts).split()
        start = rng.randrange(len(words) - 6)
        yield " ".join(words[start : start + 6])


def table(result: dict[str, Any], clients: int) -> str:
    head = f"{'':26}{'start':>9}{'cpu':>8} |{'1 client: p50':>14}{'p99':>8}{'MB':>7}{'RSS':>7} |"
    head += f"{f'{clients}: p50':>10}{'p99':>9}{'calls/s':>9}{'driver':>8}{'all MB':>8}"
    lines = [head]
    for name in [*result["start"], "tandem over HTTP"]:
        start = result["start"].get(name, {"p50_ms": "", "cpu_ms": ""})
        one, many = result[name]["1"], result[name][str(clients)]
        lines.append(
            f"{name:26}{start['p50_ms']:>9}{start['cpu_ms']:>8} |{one['p50_ms']:>14}{one['p99_ms']:>8}"
            f"{one['client_pss_mb'] or '':>7}{one['client_rss_mb'] or '':>7} |{many['p50_ms']:>10}{many['p99_ms']:>9}"
            f"{many['calls_s']:>9}{many['driver_ms']:>8}{many['all_mb']:>8}"
        )
    ours = result["tandem mcp"]
    lines += [
        f"milliseconds; MB: PSS of one client's processes. The daemon: {ours['1']['daemon_mb']} MB with one client, "
        f"{ours['daemon_mb_a_client']} MB more for each further one.",
        f"No daemon running: initialize answered after {result['cold']['initialize_s']} s, "
        f"the first search after {result['cold']['first_search_s']} s.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
