"""HTTP in the daemon's process, as far as it can be seen without one; tests/test_daemon.py has the real one."""

import asyncio
import socket
import tempfile
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from bridge.daemon import http
from bridge.sockets import bound


async def test_who_connects_as_the_daemon_closes_its_socket_leaves_no_traceback() -> None:
    heard, said = anyio.Event(), list[dict[str, Any]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.set()
        await anyio.sleep_forever()

    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as late:
        async with bound(path := f"{folder}/http.sock") as listener, anyio.create_task_group() as tasks:
            await tasks.start(http, app, [listener])
            async with await anyio.connect_unix(path) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with anyio.fail_after(30):
                    await heard.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            late.connect(path)
        await checkpoint()
    assert said == []
