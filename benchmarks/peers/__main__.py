"""The same folder, the same questions and the same MiniLM weights, Tandem and its peers side by side in one run.

FOLDER is as `quality.py` wants it. Two processors for each, one after the other; each makes its index in a process of
its own and is asked in another one. Chunks are of our size and of the peer's own. First 400 questions, each heard for
the first time, for ten chunks: the time. Then all of them for a hundred: the quality. The times of the peers are those
of a call, ours are of a whole request over HTTP (the first row) and of a call (the second).

The answer is one line of JSON, and behind it a table in Markdown.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.peers import known, ours, scoring, table
from benchmarks.peers.known import PEERS, Peer, Size
from benchmarks.peers.peer import LATENCY_HITS, LATENCY_QUESTIONS, QUALITY_HITS, files, tokenizer
from benchmarks.peers.scoring import Asked, Scored
from indexer.embed import weights

THREADS = 2


def main() -> None:
    given = _arguments()
    # Everything below inherits it.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    folder, corpus = given.folder.resolve(), given.folder.resolve() / "corpus"
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        results = given.results.absolute() if given.results else home / "results"
        asked = scoring.cut(folder, given.queries, home)
        over_http, in_process = _tandem(corpus, home, asked, results)
        over_http.pop("scored")
        base: Scored = in_process.pop("scored")
        rows = list[dict[str, Any]]()
        for peer in PEERS:
            if not given.only or peer.key in given.only:
                for row in _peer(peer, given, corpus, home, asked, results):
                    scored: Scored | None = row.pop("scored", None)
                    rows.append(row | ({"ours_less_theirs": scoring.compared(base, scored)} if scored else {}))
    about = _about(folder, asked, [over_http, *rows])
    print(json.dumps({"about": about, "rows": [over_http, in_process, *rows]}))
    print()
    print(table.page(over_http, in_process, rows, about))


def _tandem(corpus: Path, home: Path, asked: Asked, results: Path) -> Iterator[dict[str, Any]]:
    _tell("Tandem")
    data = home / "tandem"
    ours.index(_warm(home), home / "warm-data", THREADS)
    ran = ours.index(corpus, data, THREADS)
    row = {"versions": {"tandem": _revision()}, "chunks": _chunks(data), **_cost(ran)}
    name = "Tandem, over HTTP"
    peak_mb = ours.over_http(corpus, data, THREADS, asked.file, results / "tandem-http")
    yield {"name": name, **row, "ask_mb": peak_mb, **_scored(asked, results / "tandem-http")}
    ran = ours.in_process(corpus, data, THREADS, asked.file, results / "tandem")
    yield {"name": "Tandem, in process", **row, "ask_mb": ran.peak_mb, **_scored(asked, results / "tandem")}


def _peer(
    peer: Peer, given: argparse.Namespace, corpus: Path, home: Path, asked: Asked, results: Path
) -> Iterator[dict[str, Any]]:
    if reason := known.missing(peer, given.environments):
        yield {"name": peer.name, "failed": reason}
        return
    python = peer.python(given.environments)
    warm = known.chunk_size(peer, peer.sizes[0], 4)
    try:
        known.index(peer, python, _warm(home), home / f"{peer.key}-warm", THREADS, warm)
        for size in peer.sizes:
            yield from _sized(peer, size, python, corpus, home, asked, results)
    except processes.Failed as error:
        yield {"name": peer.name, "failed": str(error).splitlines()[-1][:300]}


def _sized(
    peer: Peer, size: Size, python: Path, corpus: Path, home: Path, asked: Asked, results: Path
) -> Iterator[dict[str, Any]]:
    _tell(f"{peer.name}, chunks of {'our' if size == 'ours' else size} size")
    out = home / f"{peer.key}-{size.replace(' ', '-')}"
    sized = known.chunk_size(peer, size, _chars_per_token(corpus))
    said, ran = known.index(peer, python, corpus, out, THREADS, sized)
    for way, in_words in peer.ways.items():
        place = results / f"{out.name}-{way}"
        asking = known.ask(peer, python, corpus, out, THREADS, way, asked.file, place)
        told = f"{sized[0]} {peer.unit}" if sized else "its own size"
        name = f"{peer.name} {_first(said['versions'])}, {in_words}, {told}"
        yield {"name": name, **said, **_cost(ran), "ask_mb": asking.peak_mb, **_scored(asked, place)}


def _cost(ran: processes.Ran) -> dict[str, float]:
    return {"index_s": round(ran.wall_s, 1), "index_cpu_s": round(ran.cpu_s, 1), "index_mb": ran.peak_mb}


def _scored(asked: Asked, results: Path) -> dict[str, Any]:
    scored = scoring.read(asked, results)
    return {**scored.figures(), "scored": scored}


def _warm(home: Path) -> Path:
    """One short file: what is built or read once and for all is not measured."""
    folder = home / "warm" / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "note.txt").write_text("The first words of a new index.\n")
    return folder


def _chunks(data: Path) -> int:
    words = [sys.executable, "-m", "bridge.cli", "status", "--json", "--data", str(data)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["chunks"]


def _chars_per_token(corpus: Path) -> float:
    texts = [path.read_text("utf-8", "replace") for path in files(corpus)]
    tokens = tokenizer(weights.find(known.MODEL, None).folder).encode_batch(texts, add_special_tokens=False)
    return sum(map(len, texts)) / max(1, sum(len(one.ids) for one in tokens))


def _about(folder: Path, asked: Asked, rows: Iterable[dict[str, Any]]) -> list[str]:
    packages = sorted({f"{name} {number}" for row in rows for name, number in row.get("versions", {}).items()})
    count = len(asked.judged.questions)
    return [
        f"{datetime.now(UTC):%d %B %Y}, {folder.name}: {len(files(folder / 'corpus'))} files, {count} questions "
        f"(of them {min(count, LATENCY_QUESTIONS)} timed, {LATENCY_HITS} chunks each; scored on {QUALITY_HITS}).",
        f"{THREADS} processors, Python {sys.version.split()[0]}; {', '.join(packages)}.",
    ]


def _revision() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    return f"{version('tandem-rag')} ({subprocess.run(words, capture_output=True, text=True).stdout.strip()})"


def _first(versions: dict[str, str]) -> str:
    return next(iter(versions.values()))


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[peer.key for peer in PEERS], help="these peers, and Tandem")
    parser.add_argument("--queries", type=int, metavar="N", help="so many questions; default: all")
    parser.add_argument("--results", type=Path, metavar="DIR", help="keeps the runs and passages there")
    environments = Path(os.environ.get("TANDEM_BENCH_PEERS", known.ENVIRONMENTS))
    parser.add_argument("--environments", type=Path, default=environments, help="(or TANDEM_BENCH_PEERS)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
