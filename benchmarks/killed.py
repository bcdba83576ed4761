"""`tandem index` killed -9 again and again: is every file that is recorded as indexed findable, each time?

The real command with the real embedder over 300 files, of which some change, go and come before each run, so that there
is work. The kill comes at a random moment between 0.3 s and the end. Then each recorded document is held against the
store: all its chunks are there, and one of them is found by its words.

    python -m benchmarks.killed [KILLS]
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
from qdrant_edge import EdgeShard

from benchmarks import corpus
from bridge.folder import Folder
from indexer import bm25, lexical
from indexer.catalog import Catalog
from indexer.store.edge import open_edge

KILLS, FILES, CHANGED, SENTENCES = 50, 300, 60, 4
_OURS = ("TANDEM_", "QDRANT_", "REDIS_", "PHOENIX_", "OPENAI_", "OLLAMA_")
_BEST = 10


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    dice, began = random.Random(0), time.monotonic()
    counts = dict.fromkeys(("kills", "runs_that_ended_before", "documents_checked", "chunks_checked"), 0)
    violations: list[str] = []
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        data, copy, documents = (Path(place, name) for name in ("data", "copy", "documents"))
        paths = corpus.write(documents, FILES, SENTENCES)
        ends_s = 8.0
        while counts["kills"] < kills:
            after_s = dice.uniform(0.3, ends_s)
            took_s, left = _run(data, documents, after_s)
            counts["kills" if took_s is None else "runs_that_ended_before"] += 1
            ends_s = min(ends_s + 0.2, 8) if took_s is None else max(took_s, 0.6)
            violations += [f"process {pid} outlived the one that had started it" for pid in left]
            # In a copy: what the next run finds is to be what the kill has left.
            subprocess.run(["cp", "-r", "--sparse=always", str(data), str(copy)], check=True)
            violations += anyio.run(_check, Folder(copy), counts)
            shutil.rmtree(copy)
            _change(paths, dice)
    told = {"violations": len(violations), "seconds": round(time.monotonic() - began)}
    print(json.dumps(counts | told))
    if violations:
        raise SystemExit("\n".join(violations[:20]))


def _run(data: Path, documents: Path, kill_after_s: float) -> tuple[float | None, list[int]]:
    """(how long it took, or none when it was killed; the processes it has left behind)."""
    command = [sys.executable, "-m", "bridge.cli", "index", str(documents), "--data", str(data), "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    began = time.monotonic()
    log = data.with_name("log")
    with log.open("w") as said, subprocess.Popen(command, env=environment, stdout=said, stderr=said) as process:
        try:
            process.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            own = _children(process.pid)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return None, _left(own)
    if process.returncode:
        raise SystemExit(
            f"`tandem index` was expected to end well, it ended with {process.returncode}: {log.read_text()}"
        )
    return time.monotonic() - began, []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for threads in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, threads.read_text().split())
    return found


def _left(pids: list[int]) -> list[int]:
    until = time.monotonic() + 5
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.01)
    return left


async def _check(folder: Folder, counts: dict[str, int]) -> list[str]:
    if not folder.catalog.exists():
        return []
    catalog = Catalog(folder.catalog)
    answers = next((one for one in catalog.generations() if one.state == "answers"), None)
    recorded = [row for row in catalog.documents() if row.state == "indexed"]
    violations: list[str] = []
    if answers and recorded:
        (place,) = folder.stores.iterdir()
        wanted = {row.path: [one.chunk for one in catalog.neighbours(row.id, 0, row.chunks)] for row in recorded}
        there = _stored(place, [chunk.id for chunks in wanted.values() for chunk in chunks])
        async with open_edge(place, answers.dimensions) as store:
            for path, chunks in wanted.items():
                if lost := sum(chunk.id not in there for chunk in chunks):
                    violations.append(f"{path} is recorded, and {lost} of its {len(chunks)} chunks are not stored")
                    continue
                one = chunks[len(chunks) // 2]
                hits = await store.search(None, bm25.query_vector(lexical.asked(one.text)), _BEST)
                if one.id not in {id_ for id_, _ in hits.lexical}:
                    violations.append(f"{path} is recorded, and is not found by the words of its chunk {one.ordinal}")
        counts["documents_checked"] += len(wanted)
        counts["chunks_checked"] += sum(map(len, wanted.values()))
    catalog.close()
    return violations


def _stored(place: Path, ids: list[int]) -> set[int]:
    shard = EdgeShard.load(str(place))
    found = {int(record.id) for record in shard.retrieve(ids, with_payload=False, with_vector=False)}
    shard.close()
    return found


def _change(paths: list[Path], dice: random.Random) -> None:
    """Some files get new words, some go, and those that went come back."""
    stream = corpus.sentences(corpus.words(2_000, dice), dice)
    for path in dice.sample(paths, CHANGED):
        if path.exists() and dice.random() < 0.15:
            path.unlink()
        else:
            path.write_text(" ".join(next(stream) for _ in range(dice.randint(1, 2 * SENTENCES))))


if __name__ == "__main__":
    main()
