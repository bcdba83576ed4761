"""A worker that recites so many words at a fixed speed whatever it is asked: a short question, a long answer.

    python -m benchmarks.reciting --words 500 --tokens-per-second 40 [--half-at 64] [--slots 32] [--log FILE]

The loop is the product's, `inference_server.worker`; only its engine is not. With `--half-at N` each answer slows down
while others are made: at N of them it has half the speed of one alone, as decoding in batches has it. A question that
begins with a number is answered with so many words instead. `--log`: a line of JSON for each answer: when its job was
made, begun and over.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from inference_server.engines import Generate
from inference_server.worker import work
from wire import Delta, Final, Job, Reply, Said
from wire.redis import RedisWire

WORD = "q "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, required=True)
    parser.add_argument("--tokens-per-second", type=float, required=True)
    parser.add_argument("--half-at", type=float, default=0.0, help="0: as fast beside others as alone")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    engine = reciting(arguments.words, arguments.tokens_per_second, arguments.half_at, arguments.log)
    asyncio.run(serve(engine, arguments.slots))


async def serve(engine: Generate, slots: int) -> None:
    stopped = anyio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with RedisWire(os.environ["REDIS_URL"]) as wire:
        await work(wire, engine, slots=slots, stopped=stopped, engine="reciting", grace_s=0)


def reciting(words: int, speed: float, half_at: float = 0.0, log: Path | None = None) -> Generate:
    beside = 0

    def word_s() -> float:
        return (1 + (beside - 1) / (half_at - 1) if half_at > 1 else 1) / speed

    async def replies(job: Job, already: int) -> AsyncGenerator[Reply]:
        wanted = re.match(r"\d+", job.prompt)
        due = anyio.current_time()
        for _ in range((int(wanted[0]) if wanted else words) - already):
            due += word_s()  # delays do not add up
            await anyio.sleep_until(due)
            yield Delta(WORD)
        yield Final(engine="reciting", finish_reason="stop")

    @asynccontextmanager
    async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        nonlocal beside
        beside, began = beside + 1, time.time()
        try:
            yield replies(job, said.text.count(WORD))
        finally:
            beside -= 1
            if log:
                made = (job.metadata.created_ms or 0) / 1000
                with log.open("a") as lines:
                    lines.write(json.dumps({"made": made, "begun": began, "over": time.time()}) + "\n")

    return generate


if __name__ == "__main__":
    main()
