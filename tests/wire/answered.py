"""A worker's end that serves one job, for tests of the Redis adapter."""

import uuid

from wire import Delta, Final, Inbox, Job
from wire.redis import RedisWire


async def serve(inbox: Inbox) -> None:
    deliveries = []
    while not deliveries:
        deliveries = await inbox.take(1)
    async with inbox.hold(deliveries[0]) as hold:
        await hold.emit(Delta("ok"))
        await hold.finish(Final())


async def answer(wire: RedisWire, inbox: Inbox) -> str:
    async with wire.send(Job(uuid.uuid4().hex, "why?")) as replies:
        await serve(inbox)
        return "".join([reply.chunk async for reply in replies])
