"""Two machines as they are set up by `tandem queue` and `tandem pair`, over a link of 50 ms each way that loses 1 %."""

from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
import pytest

from tests.observability.receivers import Receiver, at_collector
from tests.processes import Daemon
from tests.two_machines.machines import PORT, Machine, Reading, joined, machines, question

pytestmark = pytest.mark.slow

ANSWERS, WORDS, SPEED = 30, 40, 20


@dataclass(frozen=True, slots=True)
class Linked:
    daemon: Daemon
    laptop: Machine
    box: Machine
    receiver: Receiver


@pytest.fixture(scope="module")
async def linked() -> AsyncGenerator[Linked]:
    """Redis and the worker on the box; the collector of both machines' spans on a third."""
    with ExitStack() as stack:
        link = machines("laptop", "box", "phoenix", delay_ms=50, jitter_ms=5, loss=0.01)
        laptop, box, phoenix = stack.enter_context(link)
        with phoenix.host.entered():
            receiver = stack.enter_context(at_collector(phoenix.host.address))
        settings = {"PHOENIX_COLLECTOR_ENDPOINT": receiver.endpoint, "PHOENIX_API_KEY": receiver.api_key}
        async with box.queue(), joined(box, laptop, [box], SPEED, settings) as (daemon, _):
            yield Linked(daemon, laptop, box, receiver)


async def test_an_answer_streams_word_by_word_and_is_one_trace_of_both_machines(linked: Linked) -> None:
    asked = question(WORDS, "traced")
    reading = await Reading().follow(linked.daemon.http, asked)
    assert reading.is_exactly(asked)
    took_s = reading.came[-1] - reading.came[0]
    assert len(reading.events) > WORDS / 4 and took_s > WORDS / SPEED / 2
    trace = reading.end["trace_id"]
    spans = await linked.receiver.once_there(7, lambda span: span.trace == trace)
    of = {span.name: span for span in spans}
    assert of["generate"].service == of["wait in queue"].service == "tandem-worker"
    assert of["answer"].service == of["retrieve"].service == "tandem-daemon"
    assert of["generate"].parent == of["answer"].id


async def test_dozens_of_answers_at_once_come_whole_and_a_search_does_not_wait_for_them(linked: Linked) -> None:
    asked = [question(WORDS * 4, f"n{n}-") for n in range(ANSWERS)]
    readings = [Reading() for _ in asked]
    async with anyio.create_task_group() as tasks:
        for reading, one in zip(readings, asked, strict=True):
            tasks.start_soon(reading.follow, linked.daemon.http, one)
        await readings[0].has(2)
        with anyio.fail_after(30):
            assert (await linked.daemon.hits("kiln"))[0]["heading"] == "The kiln"
        assert not all(reading.done for reading in readings)
    wrong = [reading.end for reading, one in zip(readings, asked, strict=True) if not reading.is_exactly(one)]
    assert wrong == []


async def test_the_laptop_opens_no_port_to_the_network_and_the_box_only_that_of_redis(linked: Linked) -> None:
    assert linked.laptop.host.listeners() == set()
    assert linked.box.host.listeners() == {PORT}
