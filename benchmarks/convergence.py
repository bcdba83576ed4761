"""500 random pasts, each for `tandem index` and for the daemon's indexing: writes, renames, chmod 000, checkouts, links
and many more, and the indexer killed -9 again and again. How many end as a fresh index of the same tree?

    python -m benchmarks.convergence [SEEDS [FIRST]]
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.indexer.converging import Outcome, outcomes
from tests.indexer.lives import Mode

SEEDS = 500
_SHARE = 25  # seeds a process


def main() -> None:
    seeds, first_seed = (*map(int, sys.argv[1:]), *(SEEDS, 0)[len(sys.argv) - 1 :])
    began = time.monotonic()
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as workers:
        shares = [
            workers.submit(partial(_share, mode, range(first, min(first + _SHARE, first_seed + seeds))))
            for first in range(first_seed, first_seed + seeds, _SHARE)
            for mode in ("once", "watching")
        ]
        found = [one for share in shares for one in share.result()]
    print(
        json.dumps(
            {mode: _summary([one for one in found if one.mode == mode]) for mode in ("once", "watching")}
            | {"seconds": round(time.monotonic() - began)}
        )
    )
    if any(one.differences for one in found):
        raise SystemExit(1)


def _share(mode: Mode, seeds: range) -> list[Outcome]:
    found: list[Outcome] = []
    for one in outcomes(mode, seeds):
        found.append(one)
        if one.differences:
            print(
                json.dumps({"seed": one.seed, "mode": mode, "differences": one.differences, "did": one.did}),
                file=sys.stderr,
            )
    return found


def _summary(found: list[Outcome]) -> dict[str, int]:
    return {
        "seeds": len(found),
        "converged": sum(not one.differences for one in found),
        "kills": sum(one.kills for one in found),
        "operations": sum(one.operations for one in found),
        "documents": sum(one.documents for one in found),
        "chunks": sum(one.chunks for one in found),
        "failed_files": sum(one.failed for one in found),
    }


if __name__ == "__main__":
    main()
