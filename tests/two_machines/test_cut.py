"""The link to the worker's machine is cut for 30 s in mid-answer, wherever Redis stands; defaults everywhere."""

import anyio
import pytest

from tests.two_machines.machines import Reading, joined, machines, question

pytestmark = pytest.mark.slow

CUT_S = 30


async def test_an_answer_goes_on_byte_for_byte_after_the_link_was_cut_for_30_s() -> None:
    async with anyio.create_task_group() as tasks:
        for place in range(3):
            tasks.start_soon(_cut, place)


async def _cut(place: int) -> None:
    """Redis on the laptop, on the box, or on a third machine."""
    asked = question(50, f"cut{place}-")
    with machines("laptop", "box", "vm") as made:
        laptop, box, _ = made
        queue = made[place]
        async with queue.queue(), joined(queue, laptop, [box], 10) as (daemon, _), anyio.create_task_group() as tasks:
            reading = Reading()
            tasks.start_soon(reading.follow, daemon.http, asked)
            await reading.has(4)
            box.host.cut()
            await anyio.sleep(CUT_S)  # what is tested is this long silence
            before = len(reading.events)
            box.host.mend()
            await reading.ended()
            assert before < len(asked.split())
            assert reading.is_exactly(asked), reading.end
