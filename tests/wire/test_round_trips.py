"""What a first word waits for over a slow link: each answer of the server's that must be there before the next call.

The server's answers are held back until as many calls are under way as may be: where one of them waited for another's
answer, there never would be.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from bridge.answer import Limits, Means, Route, answering
from bridge.draft import Draft
from bridge.service import Piece
from indexer.hits import Found, Freshness, Hit
from indexer.search import Looked
from inference_server.engines.echo import echo
from inference_server.worker import work
from tests.conftest import free_port
from tests.processes import until
from wire import QueueDown
from wire.redis import RedisWire
from wire.redis.ready import ReadyPool
from wire.redis.server import Server
from wire.tasks import background

KILN = Hit("/d/kiln.md", "file:///d/kiln.md", 1.0, "The kiln cools.", start_line=1, end_line=1)
QUESTION = "How long does the kiln cool?"
COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Z]+)\r\n")
UNAWAITED = {"HELLO", "AUTH", "CLIENT", "SELECT", "UNSUBSCRIBE"}  # a connection's beginning, an answer's end
OPENED, LEFT, HEARD = b"$5\r\nproto", b"$11\r\nunsubscribe", b"$9\r\nsubscribe"


@dataclass
class Link:
    """Between a wire and the server. `calls`: the commands of each, `over` which of the connections that were `opened`;
    `held`: how many answers wait for `turn`."""

    port: int
    calls: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    over: list[int] = field(default_factory=list[int])
    opened: int = 0
    held: int = 0
    news: anyio.Event = field(default_factory=anyio.Event)
    gate: anyio.Event = field(default_factory=anyio.Event)

    def hold(self) -> None:
        self.calls.clear()
        self.over.clear()
        self.held, self.gate = 0, anyio.Event()

    def turn(self) -> None:
        """What is held goes on; what comes after it is held."""
        gate = self.gate
        self.held, self.gate = 0, anyio.Event()
        gate.set()

    async def holds(self, answers: int) -> None:
        while self.held < answers:
            await self.news.wait()

    def tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()

    async def carry(self, client: SocketStream) -> None:
        self.opened += 1
        nth = self.opened
        async with client, await anyio.connect_tcp("127.0.0.1", self.port) as server, anyio.create_task_group() as both:
            both.start_soon(self._back, server, client)
            async for data in client:
                names = tuple(name.decode() for name in COMMAND.findall(data))
                if not UNAWAITED & set(names):
                    self.calls.append(names)
                    self.over.append(nth)
                await server.send(data)
            both.cancel_scope.cancel()

    async def _back(self, server: SocketStream, client: SocketStream) -> None:
        async for data in server:
            if OPENED not in data and (LEFT not in data or HEARD in data):
                self.held += 1
                self.tell()
                await self.gate.wait()
            await client.send(data)


@asynccontextmanager
async def linked(redis_url: str) -> AsyncGenerator[tuple[Link, str]]:
    """The link, open, and the server's address behind it."""
    link, port = Link(urlsplit(redis_url).port or 6379), free_port()
    link.gate.set()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with listener, background() as tasks:
        tasks.start_soon(listener.serve, link.carry)
        yield link, f"redis://127.0.0.1:{port}"


async def answered(wire: RedisWire) -> str:
    async def search(_: str) -> Looked:
        return Looked(Found((KILN,), Freshness(None)), None, "", 0)

    means = Means(search, [Route(wire, "here")], Limits())
    async with answering(Draft(uuid4().hex, QUESTION), means) as parts:
        return "".join([part.part.chunk async for part in parts if isinstance(part.part, Piece)])


async def test_a_bridge_waits_for_two_answers_and_the_first_word_is_there(redis_url: str, key: str) -> None:
    calls: list[tuple[str, ...]] = []
    async with (
        RedisWire(redis_url, key, patience_s=0.05) as near,
        linked(redis_url) as (link, address),
        RedisWire(address, key, limit_s=10) as far,
        background() as tasks,
    ):
        tasks.start_soon(partial(work, near, echo(), slots=2, stopped=anyio.Event()))
        with anyio.fail_after(30):
            await until(far.workers)
            assert await answered(far) == QUESTION  # every connection is there, and every script
            link.hold()
            async with anyio.create_task_group() as asking:
                asking.start_soon(answered, far)
                await link.holds(2)
                assert sorted(link.calls) == [("SUBSCRIBE",), ("TIME", "ZRANGE", "XINFO")]
                link.turn()
                await link.holds(2)  # it is admitted; and the word is on its way
                calls += link.calls[2:]
                link.gate.set()
    assert calls == [("EVALSHA",)]


async def test_a_worker_looks_for_the_dead_in_one_call(redis_url: str, key: str) -> None:
    streams = [key, f"{key}:llama"]
    async with RedisWire(redis_url, key, patience_s=0.01) as near:
        await near.steps.take("near", streams, 1, 0)  # every script is there
    # So short a lease that it looks each time.
    async with linked(redis_url) as (link, address), RedisWire(address, key, patience_s=0.02, lease_s=0.03) as far:
        with anyio.fail_after(30):
            await far.steps.take("far", streams, 1, 0)
            link.calls.clear()
            await far.steps.take("far", streams, 1, 0)
    # It looks; then each stream is read without waiting, for its slots; then it waits for both.
    assert link.calls == [("EVALSHA",)] + [("XREADGROUP",)] * 3


async def has_free(pool: ReadyPool) -> bool:
    return pool.free > 0


async def test_a_call_beside_others_finds_a_connection_open(redis_url: str) -> None:
    async with linked(redis_url) as (link, address), background() as tasks:
        server = Server(address, None, 10)
        link.hold()
        with anyio.fail_after(10), server.keeping_ready(tasks) as pool:
            async with anyio.create_task_group() as asking:
                for calls in (1, 2, 3):
                    asking.start_soon(server.ask, cast("Any", server.redis).ping())
                    await link.holds(calls)
                    await until(partial(has_free, pool))
                link.gate.set()
            await server.close()
    # Each but the first over one that the call before had opened for it.
    assert sorted(link.over) == [1, 2, 3]
    assert link.opened == 4


async def test_a_connection_opened_beside_that_meets_no_redis_ends_nothing_else() -> None:
    met = 0

    async def speak_otherwise(client: SocketStream) -> None:
        nonlocal met
        async with client:
            await client.receive()
            met += 1
            await client.send(b":1\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = f"redis://:secret@127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
    with anyio.fail_after(10):
        async with listener, background() as there, background() as tasks:
            there.start_soon(listener.serve, speak_otherwise)
            server, others = Server(address, None, 1), anyio.Event()
            tasks.start_soon(others.wait)
            with server.keeping_ready(tasks) as pool:
                for _ in range(3):
                    with pytest.raises(QueueDown, match="set REDIS_URL right"):
                        await server.ask(cast("Any", server.redis).ping())

                async def both_failed() -> bool:
                    return met == 4 and pool.free == 2

                await until(both_failed, 5)
            assert not tasks.cancel_scope.cancel_called
            await server.close()


async def test_once_nobody_opens_beside_any_more_calls_do_for_themselves(redis_url: str) -> None:
    server = Server(redis_url, None, 10)
    async with background() as tasks:
        with server.keeping_ready(tasks):
            await server.ask(cast("Any", server.redis).ping())
    with anyio.fail_after(5):
        async with anyio.create_task_group() as asking:
            for _ in range(4):
                asking.start_soon(server.ask, cast("Any", server.redis).ping())
    await server.close()
