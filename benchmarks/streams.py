"""500 answers at once: streams of 20 words a second, begun over a minute, through one worker and one daemon.

    python -m benchmarks.streams [STREAMS]

Counted: streams that came whole, how long the first word took (the daemon's search of the question is in it), how the
daemon's memory grew, and what one reader that stops reading for a minute did to the others: nothing, if all is well.
The clients run in this process and take a good part of the two processors themselves; `client_cpu_s` says how much.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from benchmarks.served import Served, served

STREAMS, OVER_S, SPEED, WORDS = 500, 60, 20, 1500
STALLED_S = 60


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("streams", nargs="?", type=int, default=STREAMS)
    parser.add_argument("--words", type=int, default=WORDS)
    arguments = parser.parse_args()
    async with served(tokens_per_second=SPEED, slots=arguments.streams + 8) as here:
        result = await measured(here, arguments.streams, arguments.words)
    print(json.dumps(result))
    if result["whole"] != arguments.streams:
        raise SystemExit(1)


async def measured(here: Served, streams: int, words: int) -> dict[str, object]:
    question = " ".join(f"word{n:04}" for n in range(words))[:9_900]
    firsts: list[float] = []
    whole = events = 0
    before_mb, peak_mb = _own_mb(here.daemon.pid), 0.0
    cpu_s, daemon_s = time.process_time(), _cpu_s(here.daemon.pid)
    began = time.monotonic()
    print(f"the daemon is process {here.daemon.pid}", file=sys.stderr)

    async def one(n: int) -> None:
        nonlocal whole, events
        await anyio.sleep(n * OVER_S / streams)
        asked = time.monotonic()
        text, some = await read(here.url, f"{n} {question}", lambda: firsts.append(time.monotonic() - asked), n == 0)
        events += some
        whole += text == f"{n} {question}"
        if text.startswith("refused: "):
            print(text, file=sys.stderr)

    async def watch() -> None:
        nonlocal peak_mb
        while True:
            peak_mb = max(peak_mb, _own_mb(here.daemon.pid))
            await anyio.sleep(1)

    async with anyio.create_task_group() as watching:
        watching.start_soon(watch)
        async with anyio.create_task_group() as tasks:
            for n in range(streams):
                tasks.start_soon(one, n)
        watching.cancel_scope.cancel()
    firsts.sort()
    return {
        "streams": streams,
        "whole": whole,
        "events": events,
        "words_each": len(question.split()) + 1,
        "seconds": round(time.monotonic() - began, 1),
        "first_word_p50_ms": round(statistics.median(firsts) * 1000),
        "first_word_p99_ms": round(firsts[int(0.99 * (len(firsts) - 1))] * 1000),
        "daemon_grew_mb": round(peak_mb - before_mb),
        "daemon_cpu_s": round(_cpu_s(here.daemon.pid) - daemon_s, 1),
        "client_cpu_s": round(time.process_time() - cpu_s, 1),
    }


async def read(url: str, question: str, first: Callable[[], None], stalls: bool = False) -> tuple[str, int]:
    """The answer's text, and in how many pieces it came; `first` hears of the first. By hand: an
    HTTP client of Python's would take more than the daemon does."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
    body = json.dumps({"text": question}).encode()
    head = f"POST /build-context HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    pieces: list[bytes] = []
    began = False
    while more := await reader.read(1 << 16):
        if not began and b'"chunk":"' in more:
            began = True
            first()
            if stalls:
                await anyio.sleep(STALLED_S)
        pieces.append(more)
    writer.close()
    return _text(b"".join(pieces))


def _text(received: bytes) -> tuple[str, int]:
    """Of a chunked body of events; how many there were."""
    head, _, rest = received.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        return f"refused: {rest.decode()}", 0
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    events = [line.partition(b"data: ")[2] for line in body.split(b"\n") if line.startswith(b"data: {")]
    return "".join(json.loads(event)["chunk"] for event in events), len(events)


def _own_mb(process: int) -> float:
    told = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(next(line for line in told.splitlines() if line.startswith("Pss:")).split()[1]) / 1024


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    asyncio.run(main())
