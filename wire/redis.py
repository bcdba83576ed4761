"""The wire through Redis 6.2 or newer: PROTOCOL's fixed part, which old bridges and old workers speak too.

    stream {key}            job entries, field `data`      bridge XADD -> worker XREADGROUP, XACK, XDEL
    group  gpu_workers      from id 0, made by whichever worker comes first
    pub/sub result:{id}     replies                        worker PUBLISH -> bridge

Pub/sub keeps nothing: when the connection that hears the answers is lost, every answer under way ends
with `QueueDown`, for a part of it may be missing.
"""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import logging
import os
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar, cast

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from wire import Delivery, Inbox, QueueDown
from wire.messages import (
    Delta,
    Final,
    Job,
    Malformed,
    Reply,
    decode_job,
    decode_replies,
    encode_job,
    encode_reply,
)

GROUP = "gpu_workers"
SILENCE_S = 5.0
# Jobs in an answer that nobody waited for would be in our name and in nobody's hands.
TAKE_LIMIT_S = 10.0
CONNECTIONS = 32
# Reading one's own history from here finds nothing and is the cheapest sign of life: before Redis 7.2 a
# read that blocks in vain does not count as one. (The very highest id means ">", and takes a job.)
PAST_ALL = "18446744073709551615-0"

logger = logging.getLogger(__name__)
T = TypeVar("T")


class RedisWire:
    """Both ends: `async with RedisWire(url) as wire`. Entering asks nothing of the server.

    `key` is the stream's; `password` is used where the URL has none; `patience_s` is how long a `take` waits for
    a first job; a worker silent for two `lease_s` counts as gone; a server silent for `limit_s` is down.
    """

    def __init__(
        self,
        url: str,
        key: str = "inference_queue",
        password: str | None = None,
        patience_s: float = 1.0,
        lease_s: float = 15.0,
        limit_s: float = 2.0,
    ) -> None:
        self._key = key
        self._patience_s = patience_s
        self._lease_s = lease_s
        self._server = _Server(url, password, limit_s)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            opened.push_async_callback(self._server.close)
            tasks = await opened.enter_async_context(_background())
            self._ear = _Ear(self._server, tasks)
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    @asynccontextmanager
    async def send(self, job: Job) -> AsyncGenerator[AsyncIterator[Reply]]:
        data = encode_job(job)
        # Subscribe before the job exists: pub/sub keeps nothing for latecomers.
        async with self._ear.listen(f"result:{job.request_id}") as heard:
            await self._server.ask(self._server.redis.xadd(self._key, {"data": data}))
            async with aclosing(self._replies(heard)) as replies:
                yield replies

    async def _replies(self, heard: "MemoryObjectReceiveStream[_Heard]") -> AsyncGenerator[Reply]:
        seen = 0
        async for data in heard:
            if isinstance(data, QueueDown):
                raise data
            for reply in self._read(data):
                # An error ends the answer wherever it stands; anything else must follow on what was seen.
                if not (isinstance(reply, Final) and reply.error):
                    if reply.seq > seen + 1:
                        raise QueueDown(f"Redis at {self._server.where} lost a part of the answer: ask again")
                    if 0 < reply.seq <= seen:
                        continue
                seen = max(seen, reply.seq)
                yield reply
                if isinstance(reply, Final):
                    return

    def _read(self, data: bytes) -> tuple[Reply, ...]:
        try:
            return decode_replies(data)
        except Malformed as error:
            return (Final(error=f"a worker's reply cannot be read: {error}", error_code="engine"),)

    async def workers(self) -> int:
        """Consumers of the group that gave a sign of life within two leases; old workers count too."""
        try:
            consumers = await self._server.redis.xinfo_consumers(self._key, GROUP)
        except ResponseError as error:
            if _nothing_there(error):
                return 0
            raise self._server.down(error) from error
        except (RedisError, OSError) as error:
            raise self._server.down(error) from error
        return sum(consumer["idle"] < 2 * self._lease_s * 1000 for consumer in consumers)

    @asynccontextmanager
    async def attach(self) -> AsyncGenerator[Inbox]:
        inbox = _RedisInbox(self._server, self._key, self._patience_s)
        async with _background() as tasks:
            tasks.start_soon(inbox.beat, self._lease_s / 3)
            try:
                yield inbox
            finally:
                with anyio.move_on_after(self._server.limit_s, shield=True):
                    await inbox.leave()


@asynccontextmanager
async def _background() -> AsyncGenerator[TaskGroup]:
    """Tasks that end with the body. The body's error leaves as it is, not in an ExceptionGroup."""
    tasks = await anyio.create_task_group().__aenter__()
    try:
        yield tasks
    finally:
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)


class _Server:
    """The connections, and their errors in words."""

    def __init__(self, url: str, password: str | None, limit_s: float) -> None:
        self.limit_s = limit_s
        self.redis = _client(url, password, limit_s, limit_s)
        self.taking = _client(url, password, limit_s, TAKE_LIMIT_S)
        where = self.redis.connection_pool.connection_kwargs
        self.where: str = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"

    async def close(self) -> None:
        with anyio.move_on_after(self.limit_s, shield=True):
            await self.redis.aclose()
            await self.taking.aclose()

    async def ask(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except (RedisError, OSError) as error:
            raise self.down(error) from error

    def down(self, error: Exception | None) -> QueueDown:
        match error:
            case AuthenticationError():
                return QueueDown(f"Redis at {self.where} refused the password: set REDIS_URL or REDIS_KEY right")
            case NoPermissionError():
                return QueueDown(f"Redis at {self.where} does not allow this user that: {error}")
            case RedisTimeoutError() | TimeoutError():
                return QueueDown(f"Redis at {self.where} did not answer in time: is it up, and reachable?")
            case ResponseError():
                return QueueDown(f"Redis at {self.where} refused: {error}")
            case _:
                return QueueDown(f"Redis at {self.where} cannot be reached: start it, or set REDIS_URL right")


def _client(url: str, password: str | None, connect_limit_s: float, limit_s: float) -> Redis:
    options: dict[str, Any] = {"password": password} if password else {}
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=10,
            socket_timeout=limit_s,
            socket_connect_timeout=connect_limit_s,
            # No retry and no silent reconnect: a repeated XADD is a second job, and a pub/sub connection
            # that came back has missed something.
            retry=Retry(NoBackoff(), 0, supported_errors=()),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **options,
        )
    except ValueError:
        # Not redis-py's words: they may quote a part of the password.
        raise ValueError("expected REDIS_URL as redis://[user:password@]host:port[/db]") from None
    return Redis.from_pool(pool)


_Heard = bytes | QueueDown


@dataclass(slots=True, eq=False)
class _Listener:
    said: MemoryObjectSendStream[_Heard]
    confirmed: anyio.Event = field(default_factory=anyio.Event)
    lost: QueueDown | None = None

    def lose(self, error: QueueDown) -> None:
        self.lost = error
        self.said.send_nowait(error)
        self.confirmed.set()


class _Ear:
    """The one pub/sub connection of a process: it hears all answers and hands each to its reader."""

    def __init__(self, server: _Server, tasks: TaskGroup) -> None:
        self._server = server
        self._tasks = tasks
        self._opening = anyio.Lock()
        self._pubsub: PubSub | None = None
        self._listeners: dict[str, _Listener] = {}

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncGenerator[MemoryObjectReceiveStream[_Heard]]:
        """What is published on `channel` from now on: the server has confirmed. Raises `QueueDown`."""
        if channel in self._listeners:
            raise ValueError(f"expected a request_id of its own, but somebody reads {channel!r}")
        # Unbounded: one answer's length is the most that a reader can lag behind.
        said, heard = anyio.create_memory_object_stream[_Heard](float("inf"))
        listener = _Listener(said)
        with said, heard:
            try:
                await self._subscribe(channel, listener)
                yield heard
            finally:
                await self._unsubscribe(channel)

    async def _subscribe(self, channel: str, listener: _Listener) -> None:
        try:
            with anyio.fail_after(self._server.limit_s):
                async with self._opening:
                    pubsub = self._pubsub or await self._open()
                self._listeners[channel] = listener
                await self._server.ask(pubsub.subscribe(channel))
                await listener.confirmed.wait()
        except TimeoutError as error:
            raise self._server.down(error) from error
        if listener.lost:
            raise listener.lost

    async def _unsubscribe(self, channel: str) -> None:
        if self._listeners.pop(channel, None) and self._pubsub:
            with anyio.CancelScope(shield=True), suppress(QueueDown):
                await self._server.ask(self._pubsub.unsubscribe(channel))

    async def _open(self) -> PubSub:
        pubsub = self._server.redis.pubsub()
        await self._server.ask(pubsub.connect())
        self._pubsub = pubsub
        self._tasks.start_soon(self._hear, pubsub)
        return pubsub

    async def _hear(self, pubsub: PubSub) -> None:
        error: Exception | None = None
        try:
            while True:
                self._dispatch(await self._next(pubsub))
        except (RedisError, OSError) as gone:
            error = gone
        except Exception as gone:
            logger.exception("the connection that hears the answers failed")
            error = gone
        finally:
            self._pubsub = None
            for listener in self._listeners.values():
                listener.lose(self._server.down(error))
            with anyio.move_on_after(self._server.limit_s, shield=True):
                await pubsub.aclose()

    async def _next(self, pubsub: PubSub) -> dict[str, Any]:
        """The next message. After a silence the server is asked for a sign of life: TCP alone would not tell."""
        message = await pubsub.get_message(timeout=SILENCE_S)
        if message is None:
            await pubsub.ping()
            message = await pubsub.get_message(timeout=self._server.limit_s)
        if message is None:
            raise RedisTimeoutError("no sign of life")
        return message

    def _dispatch(self, message: dict[str, Any]) -> None:
        listener = self._listeners.get((message["channel"] or b"").decode())
        if listener is None:
            return
        if message["type"] == "message":
            listener.said.send_nowait(message["data"])
        elif message["type"] == "subscribe" and not listener.confirmed.is_set():
            listener.confirmed.set()
        elif message["type"] == "subscribe":
            # Confirmed twice: redis-py has reconnected in between, and what was said then is lost.
            listener.lose(self._server.down(None))


class _RedisInbox:
    """A worker's end. The group and this consumer in it are made when the first job is asked for."""

    def __init__(self, server: _Server, key: str, patience_s: float) -> None:
        self._server = server
        self._key = key
        self._patience_s = patience_s
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._joined = False

    async def take(self, slots: int) -> list[Delivery]:
        block_ms = round(self._patience_s * 1000)
        try:
            if not self._joined:
                await self._join()
            found = await self._server.taking.xreadgroup(GROUP, self._consumer, {self._key: ">"}, slots, block_ms)
        except ResponseError as error:
            if not _nothing_there(error):
                raise self._server.down(error) from error
            # Somebody flushed the server or deleted the stream: the next take makes the group again.
            self._joined = False
            return []
        except (RedisError, OSError) as error:
            raise self._server.down(error) from error
        streams = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", found)
        entries = [entry for _, entries in streams for entry in entries]
        deliveries = [await self._read(entry.decode(), fields) for entry, fields in entries]
        return [delivery for delivery in deliveries if delivery]

    async def emit(self, delivery: Delivery, delta: Delta) -> None:
        channel = f"result:{delivery.job.request_id}"
        await self._server.ask(self._server.redis.publish(channel, encode_reply(delta)))

    async def finish(self, delivery: Delivery, final: Final) -> None:
        await self._finish(delivery.ticket, delivery.job.request_id, final)

    async def beat(self, every_s: float) -> None:
        """Says that this worker lives, also while all its slots are busy and nothing is taken."""
        while True:
            await anyio.sleep(every_s)
            if self._joined:
                with suppress(RedisError, OSError):
                    await self._server.redis.xreadgroup(GROUP, self._consumer, {self._key: PAST_ALL}, 1)

    async def leave(self) -> None:
        """Takes the consumer out of the group, unless jobs are still in its name: they would go with it."""
        redis = self._server.redis
        with suppress(RedisError, OSError):
            for consumer in await redis.xinfo_consumers(self._key, GROUP) if self._joined else ():
                if consumer["name"].decode() == self._consumer and not consumer["pending"]:
                    await redis.xgroup_delconsumer(self._key, GROUP, self._consumer)

    async def _join(self) -> None:
        try:
            await self._server.redis.xgroup_create(self._key, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        await self._server.redis.xgroup_createconsumer(self._key, GROUP, self._consumer)
        self._joined = True

    async def _read(self, entry: str, fields: dict[bytes, bytes]) -> Delivery | None:
        try:
            return Delivery(decode_job(fields.get(b"data", b"")), entry)
        except Malformed as error:
            logger.warning("job entry %s refused: %s", entry, error)
            final = Final(error=f"the job cannot be read: {error}", error_code="invalid_job")
            await self._finish(entry, _request_id(fields), final)
            return None

    async def _finish(self, entry: str, request_id: str | None, final: Final) -> None:
        # One transaction, in this order: a final without its acknowledgement, or the reverse, never shows.
        async with self._server.redis.pipeline(transaction=True) as steps:
            if request_id:
                steps.publish(f"result:{request_id}", encode_reply(final))
            steps.xack(self._key, GROUP, entry)
            steps.xdel(self._key, entry)
            await self._server.ask(steps.execute())


def _nothing_there(error: ResponseError) -> bool:
    """The stream or the group is not there (yet), or went away under a read that was waiting."""
    return str(error).startswith(("NOGROUP", "UNBLOCKED", "no such key"))


def _request_id(fields: dict[bytes, bytes]) -> str | None:
    """The id of a job that is no good otherwise. json, for it reads the NaN that Python peers write."""
    try:
        match json.loads(fields[b"data"]):
            case {"request_id": str(request_id)}:
                request_id.encode()
                return request_id
            case _:
                return None
    except (KeyError, ValueError, RecursionError):
        return None
