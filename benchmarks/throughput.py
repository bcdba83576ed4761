"""How fast a folder becomes an index: `tandem index` on 2 000 real text and code files, about 4 MB.

Held against two things of the same run, two threads each, on the same two processors:

- embedding alone: the distinct chunks of the finished index through the same runtime, in a process that does nothing
  else, its clock started once the model is loaded; in calls as the pipeline makes them and in one call over everything
  (which pads least), and the faster of the two counts. For int8, which is the default, and for fp32.
- LlamaIndex and Haystack with the same MiniLM weights on the same files (benchmarks/peers/install.sh installs them), at
  our chunk size and, with --own-sizes, at their default one. Their time is that without starting Python and loading
  the model, ours the whole command's. `tokens` says how much each model had to read.

`cpu_s` is the processor time of a process and its children: it wavers less than the clock where others work too.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks import processes, real_files
from benchmarks.peers import known
from benchmarks.peers.known import MODEL, PEERS, Peer, Size
from benchmarks.processes import Ran
from bridge.folder import Folder
from indexer.embed import onnx
from indexer.embed.graph import Precision
from indexer.points import GROUP

PRECISIONS = ("int8", "fp32")
THREADS = 2
RIVALS = ("llamaindex", "haystack")


def main() -> None:
    arguments = _arguments()
    if arguments.alone:
        anyio.run(partial(embed_alone, arguments.alone, arguments.precisions[0]))
        return
    # Everything below inherits it, or a machine with more processors would parse on a third one.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        files = real_files.find(arguments.files)
        real_files.copy(files, home / "documents")
        result: dict[str, Any] = {"corpus": real_files.described(files), "processors": os.cpu_count()}
        for precision in arguments.precisions:
            result[precision] = ours(home, precision, arguments.rounds)
        if arguments.only != "ours":
            for peer in (peer for peer in PEERS if peer.key in RIVALS):
                result[peer.key] = against(home, arguments.environments, peer, result, "ours")
                if arguments.own_sizes and "not_installed" not in result[peer.key]:
                    result[f"{peer.key}_own_size"] = against(home, arguments.environments, peer, result, "its own")
    print(json.dumps(result))


def ours(home: Path, precision: str, rounds: int) -> dict[str, Any]:
    environment = processes.environment(THREADS) | _precision(precision)
    _warm_up(home, environment)
    runs, alone, summary = list[Ran](), list[dict[str, Any]](), dict[str, Any]()
    for n in range(rounds):
        data = home / f"data-{precision}-{n}"
        words = [_tandem(), "index", home / "documents", "--data", data, "--json"]
        runs.append(processes.run(words, home, environment))
        summary = json.loads(runs[-1].output)
        words = [sys.executable, __file__, "--alone", Folder(data).catalog, "--precisions", precision]
        alone.append(json.loads(processes.run(words, home, environment).output))
        _tell(f"{precision}: {runs[-1].wall_s:.1f} s, embedding alone {alone[-1]['one_call_s']:.1f} s")
    wall_s = min(run.wall_s for run in runs)
    best_s = min(min(one["one_call_s"], one["calls_s"]) for one in alone)
    counts = ("chunks", "distinct_chunks", "tokens", "chars_per_token")
    return {
        **{name: alone[0][name] for name in counts},
        "failed_files": summary["failed"],
        "wall_s": [round(run.wall_s, 2) for run in runs],
        "cpu_s": [round(run.cpu_s, 2) for run in runs],
        "alone": [{name: value for name, value in one.items() if name not in counts} for one in alone],
        "chunks_per_s": round(alone[0]["chunks"] / wall_s, 1),
        "wall_to_embedding_alone": round(wall_s / best_s, 3),
        "cpu_to_embedding_alone": round(
            min(run.cpu_s for run in runs) / min(min(one["one_call_cpu_s"], one["calls_cpu_s"]) for one in alone), 3
        ),
    }


async def embed_alone(catalog: Path, precision: Precision) -> None:
    with closing(sqlite3.connect(f"{catalog.as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT c.vector, c.text FROM chunks c JOIN documents d ON d.id = c.document ORDER BY d.path, c.ordinal"
        ).fetchall()
    texts = list(dict(rows).values())
    embedder = onnx.load(MODEL, None, _models(), THREADS, precision=precision)
    await embedder.documents(texts[:8])
    calls = [texts[start : start + GROUP] for start in range(0, len(texts), GROUP)]
    in_calls, at_once = [await _embedded(embedder, some) for some in (calls, [texts])]
    tokens = [len(ids) for ids in _tokens(embedder.tokenizer_file, texts)]
    result = {
        "chunks": len(rows),
        "distinct_chunks": len(texts),
        "tokens": sum(min(count, onnx.MAX_TOKENS) for count in tokens),
        "chars_per_token": sum(map(len, texts)) / sum(tokens),
        "calls_s": in_calls[0],
        "calls_cpu_s": in_calls[1],
        "one_call_s": at_once[0],
        "one_call_cpu_s": at_once[1],
    }
    print(json.dumps(result))


def against(home: Path, environments: Path, peer: Peer, result: Mapping[str, Any], size: Size) -> dict[str, Any]:
    if reason := known.missing(peer, environments):
        return {"not_installed": reason}
    us = result[next(name for name in PRECISIONS if name in result)]
    sized = known.chunk_size(peer, size, us["chars_per_token"])
    out = home / f"{peer.key}-{size}"
    found, run = known.index(peer, peer.python(environments), home / "documents", out, THREADS, sized, "--count")
    work_s = sum(seconds for stage, seconds in found["stages_s"].items() if stage not in ("import", "load"))
    _tell(f"{peer.name}: {work_s:.1f} s for {found['chunks']} chunks")
    return {
        "chunk_size": f"{sized[0]} {peer.unit}, {sized[1]} of them repeated" if sized else "its default",
        **found,
        "work_s": round(work_s, 2),
        "wall_s": round(run.wall_s, 2),
        "cpu_s": round(run.cpu_s, 2),
        "chunks_per_s": round(found["chunks"] / work_s, 1),
        "times_as_fast": {name: _ratios(result[name], found, work_s, run) for name in PRECISIONS if name in result},
    }


def _ratios(us: Mapping[str, Any], found: Mapping[str, Any], work_s: float, run: Ran) -> dict[str, float]:
    """How many times its time is ours: `per_token` for equal work; `whole_process` with its start, as ours has it."""
    wall_s = min(us["wall_s"])
    ratios = {
        "work": work_s / wall_s,
        "per_token": work_s / found["tokens"] / (wall_s / us["tokens"]),
        "whole_process": run.wall_s / wall_s,
        "cpu": run.cpu_s / min(us["cpu_s"]),
    }
    return {name: round(ratio, 2) for name, ratio in ratios.items()}


async def _embedded(embedder: onnx.OnnxEmbedder, calls: Sequence[Sequence[str]]) -> tuple[float, float]:
    """(seconds, processor seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    for call in calls:
        await embedder.documents(call)
    return round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2)


def _tokens(file: Path, texts: Sequence[str]) -> list[list[int]]:
    """With the two marks, nothing cut off."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def _warm_up(home: Path, environment: Mapping[str, str]) -> None:
    """The model's graph is built once and for all: not here."""
    some = home / "warm"
    some.mkdir(exist_ok=True)
    (some / "note.txt").write_text("The first words of a new index.\n")
    with tempfile.TemporaryDirectory(dir=home) as data:
        processes.run([_tandem(), "index", some, "--data", data, "--json"], home, environment)


def _precision(name: str) -> dict[str, str]:
    """The default is measured as who sets nothing has it."""
    return {} if name == "int8" else {"TANDEM_EMBED_PRECISION": name}


def _tandem() -> Path:
    return Path(sys.executable).with_name("tandem")


def _models() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("tandem", appauthor=False) / "models"


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=real_files.FILES)
    parser.add_argument("--rounds", type=int, default=1, help="of ours; the fastest counts")
    parser.add_argument("--only", choices=["ours"])
    parser.add_argument("--own-sizes", action="store_true", help="the rivals also at their default chunk size")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    environments = Path(os.environ.get("TANDEM_BENCH_PEERS", known.ENVIRONMENTS))
    parser.add_argument("--environments", type=Path, default=environments, help="(or TANDEM_BENCH_PEERS)")
    parser.add_argument("--alone", type=Path, metavar="CATALOG", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
