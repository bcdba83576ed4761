"""500 answers, each cut at a random byte and read on with Last-Event-ID, some of them several times: how many are, put
together, byte for byte what one uncut stream gives?

    python -m benchmarks.resumed [ANSWERS]

The daemon is a real one, over HTTP; the engine echoes 120 words at 200 a second, in a worker of its own behind a real
redis-server. One call more asks over MCP's way for an answer that stalls, and says when its handle came back.
"""

import argparse
import asyncio
import json
import random
import time

import anyio
import httpx
from mcp import Client, StdioServerParameters

from benchmarks.served import Served, served

WORDS, SPEED, AT_ONCE = 120, 200, 20
STALL = " ".join(f"stall{n}" for n in range(40))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answers", nargs="?", type=int, default=500)
    arguments = parser.parse_args()
    async with served(tokens_per_second=SPEED, slots=64) as here:
        begun = time.monotonic()
        exact, cuts = await _answers(here, arguments.answers)
        result = {
            "answers": arguments.answers,
            "exact": exact,
            "cuts": cuts,
            "seconds": round(time.monotonic() - begun),
        }
    async with served(tokens_per_second=0.5, slots=1) as here:
        result |= await _stalled(here)
    print(json.dumps(result))
    if exact != arguments.answers or not result["handle_whole"]:
        raise SystemExit(1)


async def _answers(here: Served, answers: int) -> tuple[int, int]:
    limit = anyio.CapacityLimiter(AT_ONCE)
    chance = random.Random(5)
    exact: list[bool] = []
    cuts = 0

    async def one(seed: int) -> None:
        nonlocal cuts
        async with limit:
            question = " ".join(f"word{seed}-{n}" for n in range(WORDS))
            received, cut = await _cut(here.http, question, random.Random(seed))
            cuts += cut
            request = received.split(b":")[1].strip().decode()
            whole = (await here.http.get(f"/answers/{request}")).content
            final = json.loads(whole.split(b"\n\n")[-3].partition(b"data: ")[2])
            exact.append(received == whole and final["answer"] == question)

    async with anyio.create_task_group() as tasks:
        for _ in range(answers):
            tasks.start_soon(one, chance.getrandbits(32))
    return sum(exact), cuts


async def _cut(http: httpx.AsyncClient, question: str, chance: random.Random) -> tuple[bytes, int]:
    """All whole events, and how often the stream was cut."""
    received, cuts = b"", 0
    while not received.endswith(b"data: [DONE]\n\n"):
        # Up to four cuts, anywhere, also within an event, of which nothing is kept then.
        keep = chance.randrange(1, 6000) if cuts < 4 else None
        if received:
            last = received.rstrip(b"\n").rpartition(b"id: ")[2].partition(b"\n")[0].decode()
            request = last.partition(":")[0]
            call = http.stream("GET", f"/answers/{request}", headers={"Last-Event-ID": last})
        else:
            call = http.stream("POST", "/build-context", json={"text": question})
        piece = b""
        async with call as response:
            response.raise_for_status()
            async for more in response.aiter_raw():
                piece += more
                if keep is not None and len(piece) >= keep:
                    piece = piece[:keep]
                    cuts += 1
                    break
        received += piece[: piece.rfind(b"\n\n") + 2] if b"\n\n" in piece else b""
    return received, cuts


async def _stalled(here: Served) -> dict[str, object]:
    """A worker that says a word in two seconds: `ask` comes back with a handle, `get_answer` with the rest."""
    async with Client(StdioServerParameters(command=here.tandem, args=["mcp", "--data", str(here.data)])) as client:
        began = time.monotonic()
        told = (await client.call_tool("ask", {"question": STALL}, read_timeout_seconds=60)).structured_content or {}
        handle_s = time.monotonic() - began
        text, ended = told["answer"], told["ended"]
        while not ended:
            more = await client.call_tool("get_answer", {"id": told["request"], "after": told["after"]})
            told = more.structured_content or {}
            text, ended = text + told["answer"], told["ended"]
    return {"handle_s": round(handle_s, 1), "handle_whole": text == STALL}


if __name__ == "__main__":
    asyncio.run(main())
