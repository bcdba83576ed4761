"""What the way through the queue costs: vLLM asked directly, and the same engine asked through Redis, in turn.

    .venv-vllm/bin/python benchmarks/vllm_path.py        (`make .venv-vllm/.installed` makes it)

Direct: AsyncLLM.generate in this process, from messages to text. Through the queue: a worker in this process,
redis-server, and whoever asks in a process of its own, as the bridge is. The model is tiny
(`tests.inference_server.reciter`), so what it computes hides nothing of what is around it.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # on stdout stands the result alone

from vllm.sampling_params import RequestOutputKind, SamplingParams

from inference_server.config import Config
from inference_server.engines.vllm import Vllm, vllm_engine
from inference_server.prompt import messages
from inference_server.worker import work
from tests.inference_server import reciter
from wire import Job, Metadata, Passage
from wire.redis import RedisWire

KEY = "vllm_path"
AT_ONCE, TOKENS = 16, 400
FIRSTS = 5  # a round
PASSAGES = tuple(Passage(text=f"Passage {n}: the kiln is warm, the shelf is cold. " * 3) for n in range(5))

Ask = Callable[[Job], Awaitable[tuple[float, float, int]]]
"""(seconds to the first text, seconds in all, tokens)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", metavar="URL", help="be who asks through the queue")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if arguments.ask:
        anyio.run(asker, arguments.ask)
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        anyio.run(measure, Path(place), arguments.rounds)


async def measure(place: Path, rounds_asked: int) -> None:
    reciter.write(place / "model")
    engine_arguments = {
        "model": str(place / "model"),
        "served_model_name": "reciter",
        "dtype": "float32",
        "enforce_eager": True,
        "max_num_seqs": AT_ONCE,
        "kv_cache_memory_bytes": 256 << 20,
        "distributed_executor_backend": "uni",
    }
    config = Config(engine_arguments, {"temperature": 0})
    async with redis(place) as url, vllm_engine(config) as engine, queue(engine, url) as queued:
        alone = partial(rounds, partial(direct, engine))
        kinds = {"direct": alone, "queued": queued}
        firsts: dict[str, list[float]] = {kind: [] for kind in kinds}
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        spent: dict[str, list[float]] = {kind: [] for kind in kinds}
        for measured in (False, *[True] * rounds_asked):  # the first warms up
            for kind, ask in kinds.items():
                first = await ask(1, FIRSTS, 8)
                cpu_s = time.process_time()
                load = await ask(AT_ONCE, 1, TOKENS)
                cpu_s = time.process_time() - cpu_s
                if measured:
                    spent[kind].append(cpu_s / load["tokens"])
                    firsts[kind] += first["firsts_s"]
                    rates[kind].append(load["tokens"] / load["wall_s"])
    first_ms = {kind: statistics.median(of) * 1000 for kind, of in firsts.items()}
    rate = {kind: statistics.median(of) for kind, of in rates.items()}
    shares = [queued / direct for direct, queued in zip(rates["direct"], rates["queued"], strict=True)]
    result = {
        "first_text_direct_p50_ms": round(first_ms["direct"], 2),
        "first_text_queued_p50_ms": round(first_ms["queued"], 2),
        "first_text_added_ms": round(first_ms["queued"] - first_ms["direct"], 2),
        "at_once": AT_ONCE,
        "tokens_per_s_direct": round(rate["direct"]),
        "tokens_per_s_queued": round(rate["queued"]),
        "tokens_per_s_ratio": round(rate["queued"] / rate["direct"], 3),
        # Of the process that has the engine: what others do on the machine moves it little.
        "cpu_us_per_token_direct": round(statistics.median(spent["direct"]) * 1e6),
        "cpu_us_per_token_queued": round(statistics.median(spent["queued"]) * 1e6),
        "ratios_of_neighbours": sorted(round(share, 3) for share in shares),
    }
    print(json.dumps(result))


async def rounds(ask: Ask, at_once: int, times: int, tokens: int) -> dict[str, Any]:
    """`times` rounds of so many jobs beside each other."""
    firsts: list[float] = []
    counted, began = 0, time.perf_counter()

    async def one(n: int) -> None:
        nonlocal counted
        job = Job(uuid.uuid4().hex, "why? " * (n % 7 + 1), PASSAGES, metadata=Metadata(max_tokens=tokens))
        first_s, _, made = await ask(job)
        firsts.append(first_s)
        counted += made

    for _ in range(times):
        async with anyio.create_task_group() as tasks:
            for n in range(at_once):
                tasks.start_soon(one, n)
    return {"firsts_s": firsts, "tokens": counted, "wall_s": time.perf_counter() - began}


async def direct(engine: Vllm, job: Job) -> tuple[float, float, int]:
    llm = engine.generate.__self__._llm  # type: ignore[attr-defined]  # nobody but this needs it
    began = time.perf_counter()
    tokenizer = llm.get_tokenizer()
    tokens = tokenizer.apply_chat_template(messages(job), add_generation_prompt=True, return_dict=False)
    params = SamplingParams(temperature=0, max_tokens=job.metadata.max_tokens, output_kind=RequestOutputKind.DELTA)
    first_s, made = 0.0, 0
    async for output in llm.generate({"prompt_token_ids": tokens}, params, request_id=job.request_id):
        if output.outputs[0].text and not first_s:
            first_s = time.perf_counter() - began
        made += len(output.outputs[0].token_ids)
    return first_s, time.perf_counter() - began, made


@asynccontextmanager
async def queue(engine: Vllm, url: str) -> AsyncGenerator[Callable[[int, int, int], Awaitable[dict[str, Any]]]]:
    """A worker here, and somebody who asks it from another process."""
    stopped = anyio.Event()
    async with (
        RedisWire(url, KEY) as wire,
        anyio.create_task_group() as tasks,
        await anyio.open_process([sys.executable, __file__, "--ask", url], stderr=None) as process,
    ):
        assert process.stdin and process.stdout
        tasks.start_soon(partial(work, wire, engine.generate, slots=AT_ONCE, stopped=stopped, engine="vllm"))
        told = BufferedByteReceiveStream(process.stdout)

        async def ask(*words: int) -> dict[str, Any]:
            assert process.stdin
            await process.stdin.send(json.dumps(words).encode() + b"\n")
            return json.loads(await told.receive_until(b"\n", 1_000_000))

        yield ask
        await process.stdin.aclose()
        stopped.set()


async def asker(url: str) -> None:
    async with RedisWire(url, KEY) as wire:

        async def ask(job: Job) -> tuple[float, float, int]:
            began, first_s, made = time.perf_counter(), 0.0, 0
            async with wire.send(job) as replies:
                async for reply in replies:
                    if reply.chunk and not first_s:
                        first_s = time.perf_counter() - began
                    if reply.is_final:
                        assert not reply.error, reply.error
                        made = (reply.usage and reply.usage.completion_tokens) or 0
            return first_s, time.perf_counter() - began, made

        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            print(json.dumps(await rounds(ask, *json.loads(line))), flush=True)


@asynccontextmanager
async def redis(place: Path) -> AsyncGenerator[str]:
    binary = shutil.which("redis-server")
    assert binary, "expected redis-server on PATH"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    try:
        assert process.stdout
        while "Ready to accept" not in (line := process.stdout.readline()):
            assert line, "redis-server did not start"
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
