"""What only the adapter in memory promises."""

import anyio
from anyio import fail_after
from anyio.abc import TaskStatus

from wire import Job
from wire.memory import MemoryWire


async def test_a_job_wakes_a_waiting_worker_at_once() -> None:
    wire = MemoryWire(patience_s=60)
    taken: list[str] = []

    async def take(*, task_status: TaskStatus[None]) -> None:
        async with wire.attach() as inbox:
            task_status.started()
            taken.extend(delivery.job.prompt for delivery in await inbox.take(1))

    with fail_after(30):
        async with anyio.create_task_group() as tasks:
            await tasks.start(take)
            await anyio.wait_all_tasks_blocked()
            async with wire.send(Job("r", "why?")):
                pass
    assert taken == ["why?"]
