"""An answer over HTTP goes on where its reader stopped, also when the daemon that began it is gone."""

import json
import uuid
from collections.abc import Sequence

import anyio
import httpx
import pytest

from tests.processes import Daemon, place, until

pytestmark = pytest.mark.slow

QUESTION = " ".join(f"word{n}" for n in range(200))
SPEED = "40"


async def test_a_daemon_killed_in_mid_answer_leaves_it_to_the_next_one_which_goes_on_byte_for_byte(
    redis_url: str,
) -> None:
    wired = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": uuid.uuid4().hex, "TANDEM_NO_WORKER": "refuse"}
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools word3 word4 hours.\n")
        async with here.program("worker", "--engine", "echo", "--tokens-per-second", SPEED, settings=wired):
            async with here.daemon(here.docs, settings=wired) as first:
                await first.in_step(1)
                await _manned(first)
                request, before = await _cut(first, events=30)
                first.program.process.kill()
                await first.program.process.wait()
            async with here.daemon(here.docs, settings=wired) as second:
                after = await _rest(second.http, request, before)
                whole = await _rest(second.http, request, [])
                assert before + after == whole
                assert "".join(event["chunk"] for _, event in whole) == QUESTION == whole[-1][1]["answer"]
                assert (whole[-1][1]["engine"], whole[-1][1].get("error")) == ("echo", None)
                assert whole[-1][1]["freshness"]["as_of"]
                # One generation: every part is of one run.
                assert len({place.partition(":")[2].partition("-")[0] for place, _ in whole}) == 1


async def test_a_cancelled_answer_of_a_daemon_that_is_gone_stops_the_worker(redis_url: str) -> None:
    wired = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": uuid.uuid4().hex, "TANDEM_NO_WORKER": "refuse"}
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools word3 word4 hours.\n")
        async with here.program("worker", "--engine", "echo", "--tokens-per-second", "5", settings=wired) as worker:
            async with here.daemon(here.docs, settings=wired) as first:
                await first.in_step(1)
                await _manned(first)
                request, _ = await _cut(first, events=3)
                first.program.process.kill()
                await first.program.process.wait()
            async with here.daemon(here.docs, settings=wired) as second:
                assert (await second.http.delete(f"/answers/{request}")).json() == {"cancelled": True}
                await worker.says(f"job {request}: cancelled")
                (*_, (_, end)) = await _rest(second.http, request, [])
                assert end["error"] == "the answer was cancelled"


async def _manned(daemon: Daemon) -> None:
    async def listens() -> bool:
        return (await daemon.status())["workers"] == 1

    await until(listens)


async def _cut(daemon: Daemon, events: int) -> tuple[str, list[tuple[str, dict[str, object]]]]:
    """The answer's id, and its first events."""
    received = b""
    async with daemon.http.stream("POST", "/build-context", json={"text": QUESTION}) as response:
        async for more in response.aiter_raw():
            received += more
            if received.count(b"\n\n") >= events:
                break
        return response.headers["tandem-answer"], _events(received.rpartition(b"\n\n")[0])


async def _rest(http: httpx.AsyncClient, request: str, before: Sequence[tuple[str, object]]) -> list[tuple[str, dict]]:
    headers = {"Last-Event-ID": before[-1][0]} if before else {}
    with anyio.fail_after(60):
        response = (await http.get(f"/answers/{request}", headers=headers)).raise_for_status()
    assert response.content.endswith(b"data: [DONE]\n\n")
    return _events(response.content.removesuffix(b"data: [DONE]\n\n").removesuffix(b"\n\n"))


def _events(received: bytes) -> list[tuple[str, dict]]:
    """(id, data) of each event."""
    events = [event.decode().split("\n") for event in received.split(b"\n\n") if event and event != b":"]
    return [(lines[0].removeprefix("id: "), json.loads(lines[1].removeprefix("data: "))) for lines in events]
