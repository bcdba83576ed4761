"""The walk of `tests/wire/machine.py` over the steps on a real Redis, for as many steps as are asked for."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.faults.box import Box
from tests.wire.test_walk import walked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--walks", type=int, default=5)
    arguments = parser.parse_args()
    totals = {"steps": 0, "jobs": 0, "epochs": 0, "taken_over": 0, "frames": 0, "finals": 0}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        here = Box(Path(place), 1)
        here.redis()
        try:
            for seed in range(arguments.walks):
                walk = anyio.run(walked, here.url, arguments.steps // arguments.walks, seed)
                totals["steps"] += walk.count
                totals["jobs"] += len(walk.jobs)
                totals["epochs"] += sum(map(len, walk.epochs.values()))
                totals["taken_over"] += sum(len(epochs) - 1 for epochs in walk.epochs.values())
                totals["frames"] += sum(map(len, walk.accepted.values()))
                totals["finals"] += sum(walk.finals.values())
        finally:
            here.end()
    print(json.dumps(totals | {"broken": 0, "s": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
