"""What the wire promises, under faults, against a real redis-server and real worker processes of the echo engine.

Every answer is compared with its question byte for byte: echo says it back. One JSON line a scenario; `lost`: no final
within the limit; `corrupt`: a final without an error, and another text; `failed`: ended with an error in words.
"""

import argparse
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from benchmarks.faults.demands import cancel, frames, malformed, mixed, overload, poison
from benchmarks.faults.outages import flush, kill, pubsub, restart, stop

SCENARIOS: dict[str, tuple[Callable[[int], Awaitable[dict[str, Any]]], int]] = {
    "kill": (kill, 10_000),
    "stop": (stop, 3_000),
    "pubsub": (pubsub, 2_000),
    "restart": (restart, 2_000),
    "flush": (flush, 2_000),
    "poison": (poison, 32),
    "malformed": (malformed, 1_000),
    "cancel": (cancel, 100),
    "overload": (overload, 60),
    "mixed": (mixed, 400),
    "frames": (frames, 1_000_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument(
        "--count", type=int, help="jobs (overload: seconds; frames: tokens) instead of the usual number"
    )
    arguments = parser.parse_args()
    for name in arguments.scenarios or SCENARIOS:
        scenario, count = SCENARIOS[name]
        print(json.dumps({"scenario": name} | anyio.run(scenario, arguments.count or count)), flush=True)


if __name__ == "__main__":
    main()
