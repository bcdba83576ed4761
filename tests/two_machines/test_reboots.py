"""Any of the machines loses its power in mid-answer: the reader gets one text, whole. Leases are short here."""

from contextlib import suppress

import anyio
import httpx
import pytest

from tests.processes import Daemon
from tests.two_machines.machines import Reading, joined, machines, manned, pair, question

pytestmark = pytest.mark.slow

SHORT = {"TANDEM_LEASE_S": "2"}


async def test_a_worker_without_any_route_in_is_rebooted_and_one_elsewhere_takes_its_job_over() -> None:
    """Redis on a third machine. Neither box opens a port."""
    asked = question(200)
    with machines("laptop", "box", "other", "vm") as (laptop, box, other, vm):
        for closed in (laptop, box, other):
            closed.host.close()
        async with vm.queue(), joined(vm, laptop, [box], 20, SHORT) as (daemon, (worker,)):
            await pair(vm, other, "worker")
            reading = Reading()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reading.follow, daemon.http, asked)
                await reading.has(8)
                async with other.worker(20, settings=SHORT):
                    assert box.host.listeners() == other.host.listeners() == laptop.host.listeners() == set()
                    assert not vm.host.reaches(box.host, 22) and box.host.reaches(vm.host, 6379)
                    await box.reboot(worker)
                    await reading.ended()
        assert reading.is_exactly(asked), reading.end
        assert len(reading.epochs) == 2


async def test_the_queues_machine_is_rebooted_and_the_answer_goes_on() -> None:
    asked = question(80)
    with machines("laptop", "box", "vm") as (laptop, box, vm):
        async with vm.queue() as server, joined(vm, laptop, [box], 20, SHORT) as (daemon, _):
            reading = Reading()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reading.follow, daemon.http, asked)
                await reading.has(8)
                await vm.reboot(server)
                async with vm.queue():
                    await reading.ended()
                    assert reading.is_exactly(asked), reading.end
                    again = question(10, "again")
                    assert (await Reading().follow(daemon.http, again)).is_exactly(again)


async def test_the_laptop_is_rebooted_and_the_next_daemon_goes_on_with_the_answer() -> None:
    asked = question(80)
    with machines("laptop", "box") as (laptop, box):
        async with box.queue(), joined(box, laptop, [box], 20) as (daemon, _):
            reading = Reading()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_until_it_breaks, reading, daemon, asked)
                await reading.has(8)
                await laptop.reboot(daemon.program)
            assert not reading.done
            async with laptop.daemon() as second:
                await manned(second)
                assert (await reading.follow(second.http)).is_exactly(asked), reading.end
                assert len(reading.epochs) == 1


async def _until_it_breaks(reading: Reading, daemon: Daemon, asked: str) -> None:
    with suppress(httpx.TransportError):
        await reading.follow(daemon.http, asked)
