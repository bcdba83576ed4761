"""A worker of the echo engine that one kind of job kills, as a bad input kills a GPU process: see `test_faults`."""

import argparse
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio

from inference_server.engines.echo import echo
from inference_server.worker import work
from wire import Job, Reply, Said
from wire.redis import RedisWire


async def serve(slots: int, rate: float) -> None:
    well = echo(rate)

    @asynccontextmanager
    async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        if job.prompt.startswith("poison"):
            await anyio.sleep(0.3)
            os._exit(9)
        async with well(job, said) as replies:
            yield replies

    key = os.environ.get("REDIS_STREAM_KEY", "inference_queue")
    async with RedisWire(os.environ["REDIS_URL"], key, lease_s=float(os.environ["TANDEM_LEASE_S"])) as wire:
        await work(wire, generate, slots=slots, stopped=anyio.Event(), engine="echo")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--tokens-per-second", type=float, default=50)
    arguments = parser.parse_args()
    anyio.run(serve, arguments.slots, arguments.tokens_per_second)
