"""The one pub/sub connection of a process: it hears all answers and hands each to its readers.

Pub/sub keeps nothing. When the connection was away, however shortly, every reader is told that something may be
missing; the log says what.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from wire import QueueDown
from wire.redis.server import Server
from wire.steps import Heard

SILENCE_S = 5.0
# AttributeError: how redis-py says that another task has found the connection broken.
_CUT = (RedisError, OSError, AttributeError)
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Channel:
    """Its readers. `asked` the server to send, which has `confirmed` it; `before`: over an earlier connection too."""

    readers: list[MemoryObjectSendStream[Heard]] = field(default_factory=list[MemoryObjectSendStream[Heard]])
    asked: bool = False
    confirmed: bool = False
    before: bool = False
    changed: anyio.Event = field(default_factory=anyio.Event)

    def set(self, asked: bool, confirmed: bool) -> None:
        self.asked, self.confirmed = asked, confirmed
        self.changed.set()
        self.changed = anyio.Event()

    def tell(self, heard: Heard) -> None:
        for reader in self.readers:
            reader.send_nowait(heard)


class Ear:
    def __init__(self, server: Server, tasks: TaskGroup) -> None:
        self._server, self._tasks = server, tasks
        self._opening = anyio.Lock()
        self._pubsub: PubSub | None = None
        self._hearing = anyio.CancelScope()
        self._channels: dict[str, _Channel] = {}
        self._refusal: ResponseError | None = None

    @asynccontextmanager
    async def listen(self, name: str) -> AsyncGenerator[MemoryObjectReceiveStream[Heard]]:
        """What is published on a channel from now on: the server has confirmed. Raises `QueueDown`."""
        # Unbounded: one answer's length is the most that a reader can lag behind.
        said, heard = anyio.create_memory_object_stream[Heard](float("inf"))
        with said, heard:
            channel = self._channels.setdefault(name, _Channel())
            channel.readers.append(said)
            try:
                await self._confirmed(name, channel)
                yield heard
            finally:
                channel.readers.remove(said)
                if not channel.readers and self._channels.get(name) is channel:
                    del self._channels[name]
                    await self._unsubscribe(name)

    async def _confirmed(self, name: str, channel: _Channel) -> None:
        try:
            with anyio.fail_after(self._server.limit_s):
                while not channel.confirmed:
                    changed = channel.changed
                    async with self._opening:
                        pubsub = self._pubsub or await self._open()
                    if not channel.asked:
                        channel.asked = True
                        with suppress(*_CUT):  # then `_hear` fails too, and what is listened to is asked for again
                            await pubsub.subscribe(name)
                    await changed.wait()
                    if refusal := self._refusal:
                        self._refusal = None
                        raise self._server.down(refusal) from refusal
        except TimeoutError as error:
            if channel.asked:  # and no answer: that connection hears nothing any more
                self._hearing.cancel()
            raise self._server.down(error) from error

    async def _unsubscribe(self, name: str) -> None:
        if self._pubsub:
            with anyio.CancelScope(shield=True), suppress(*_CUT):
                await self._pubsub.unsubscribe(name)

    async def _open(self) -> PubSub:
        """Connected, and subscribed to what is listened to by now."""
        pubsub = self._server.redis.pubsub()
        try:
            await self._server.ask(pubsub.connect())
            channels = dict(self._channels)
            if channels:
                with suppress(AttributeError):
                    await self._server.ask(pubsub.subscribe(*channels))
            for channel in channels.values():
                channel.asked = True
        except BaseException:  # who listened may have left
            with anyio.move_on_after(self._server.limit_s, shield=True), suppress(*_CUT):
                await pubsub.aclose()
            raise
        self._pubsub, self._hearing = pubsub, anyio.CancelScope()
        self._tasks.start_soon(self._hear, pubsub, self._hearing)
        return pubsub

    async def _hear(self, pubsub: PubSub, hearing: anyio.CancelScope) -> None:
        try:
            with hearing:
                while True:
                    self._dispatch(await self._next(pubsub))
        except ResponseError as error:  # a channel that this user may not hear
            self._refusal = error
        except _CUT:
            pass
        except Exception:
            logger.exception("the connection that hears the answers failed; a new one is made")
        finally:
            self._pubsub = None
            for channel in self._channels.values():
                channel.set(asked=False, confirmed=False)
                channel.tell(None)  # an old worker's answer cannot go on; the others look into the log
            with anyio.move_on_after(self._server.limit_s, shield=True), suppress(*_CUT):
                await pubsub.aclose()
        await self._again()

    async def _again(self) -> None:
        """As long as anybody listens."""
        pause_s = _PAUSE_S
        if self._refusal:  # it would be refused again at once
            await anyio.sleep(_LONGEST_PAUSE_S)
        while self._channels:
            try:
                async with self._opening:
                    if not self._pubsub:
                        await self._open()
                return
            except QueueDown:
                await anyio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _next(self, pubsub: PubSub) -> dict[str, Any]:
        """The next message. After a silence the server is asked for a sign of life: TCP alone would not tell."""
        _stay(pubsub)
        message = await pubsub.get_message(timeout=SILENCE_S)
        if message is None:
            await self._server.seek()
            _stay(pubsub)
            await pubsub.ping()
            message = await pubsub.get_message(timeout=self._server.limit_s)
        if message is None:
            raise RedisTimeoutError("no sign of life")
        return message

    def _dispatch(self, message: dict[str, Any]) -> None:
        channel = self._channels.get((message["channel"] or b"").decode())
        if channel is None:
            return
        if message["type"] == "message":
            channel.tell(message["data"])
        elif message["type"] == "subscribe":
            channel.set(asked=True, confirmed=True)
            if channel.before:  # there was a time without, and redis-py or we have subscribed again
                channel.tell(None)
            channel.before = True


def _stay(pubsub: PubSub) -> None:
    """Raises RedisTimeoutError where another server is the primary by now."""
    if pubsub.connection and pubsub.connection.should_reconnect():
        raise RedisTimeoutError("another server is the primary")
