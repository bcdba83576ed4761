"""A folder indexed by workers that are killed -9 all the time, against the same folder indexed on this machine alone.

Two workers (`tandem worker --engine onnx --task embed`) take batches from a Redis of their own; every few seconds one
of them is killed and another one started. Then both indexes are held against each other: the ids of all points, their
words, and how far the vectors are apart. Full precision on both sides, so that nothing but the way is different.

    python -m benchmarks.remote_embedding FOLDER [KILL_EVERY_S]
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.conftest import free_port, redis_server
from tests.points import points

WORKERS, KILL_EVERY_S, LEASE_S = 2, 6.0, 2
_OURS = ("TANDEM_", "QDRANT_", "REDIS_", "PHOENIX_", "OPENAI_", "OLLAMA_")
_TANDEM = (sys.executable, "-m", "bridge.cli")


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    every_s = float(sys.argv[2]) if len(sys.argv) > 2 else KILL_EVERY_S
    with tempfile.TemporaryDirectory(dir="/tmp") as place, ExitStack() as stack:
        here, there = Path(place, "here"), Path(place, "there")
        local = _index(folder, here, {"TANDEM_EMBED_PRECISION": "fp32"})
        port = free_port()
        stack.enter_context(redis_server(shutil.which("redis-server") or "redis-server", port, Path(place)))
        settings = {
            "REDIS_URL": f"redis://127.0.0.1:{port}",
            "TANDEM_EMBED": "remote",
            "TANDEM_LEASE_S": str(LEASE_S),
            "THREAD_POOL_SIZE": "1",
        }
        remote, kills = _index_among_kills(folder, there, settings, every_s)
        ours, theirs = points(here), points(there)
    if not kills:
        raise SystemExit("no worker was killed before the end: give a larger folder, or a shorter KILL_EVERY_S")
    told = {
        "documents": remote["added"],
        "points": len(theirs.lexical),
        "kills": kills,
        "same_ids": ours.lexical.keys() == theirs.lexical.keys(),
        "same_words": ours.lexical == theirs.lexical,
        "same_with_a_vector": ours.with_vector == theirs.with_vector,
        "same_signature": ours.signature == theirs.signature,
        "lowest_cosine": round(ours.cosine_to(theirs), 6),
        "failed": remote["failed"],
        "seconds_here": local["seconds"],
        "seconds_there": remote["seconds"],
    }
    print(json.dumps(told))
    if not all(told[name] for name in told if name.startswith("same_")) or told["lowest_cosine"] < 0.9999:
        raise SystemExit("the two indexes are not the same")


def _index(folder: Path, data: Path, settings: dict[str, str]) -> dict[str, Any]:
    command = [*_TANDEM, "index", str(folder), "--data", str(data), "--json"]
    ended = subprocess.run(command, env=_environment(settings), check=True, stdout=subprocess.PIPE)
    return json.loads(ended.stdout)


def _index_among_kills(
    folder: Path, data: Path, settings: dict[str, str], every_s: float
) -> tuple[dict[str, Any], int]:
    dice, kills = random.Random(0), 0
    command = [*_TANDEM, "index", str(folder), "--data", str(data), "--json"]
    workers = [_worker(settings, data) for _ in range(WORKERS)]
    try:
        with subprocess.Popen(command, env=_environment(settings), stdout=subprocess.PIPE) as index:
            while not _ends_within(index, dice.uniform(0.5, 1.5) * every_s):
                gone = dice.randrange(WORKERS)
                workers[gone].kill()
                workers[gone].wait()
                kills += 1
                workers[gone] = _worker(settings, data)
            assert index.stdout
            said = index.stdout.read()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if index.returncode:
        raise SystemExit(f"`tandem index` was expected to end well, it ended with {index.returncode}")
    return json.loads(said), kills


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (status := process.poll()) is None and time.monotonic() < until:
        time.sleep(0.05)
    return status is not None


def _worker(settings: dict[str, str], data: Path) -> subprocess.Popen[bytes]:
    log = data.with_name("workers.log").open("ab")
    with log:
        command = [*_TANDEM, "worker", "--engine", "onnx", "--task", "embed", "--slots", "4"]
        return subprocess.Popen(command, env=_environment(settings), stdout=log, stderr=log)


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | settings


if __name__ == "__main__":
    main()
