"""A server or a network between us and it that dies, hangs, forgets, delays or refuses: nothing is lost unsaid."""

import signal
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from anyio import fail_after
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, SocketAttribute
from redis.asyncio import Redis

from tests.wire.answered import answer, serve
from wire import Delivery, Delta, Final, Inbox, Job, QueueDown, Unknown
from wire.asking import Cancels
from wire.redis import RedisWire

Carry = Callable[[bytes, ByteStream, ByteStream], Awaitable[None]]
StartRedis = Callable[..., "subprocess.Popen[bytes]"]
LEASE_S = 6


@pytest.fixture
async def wire(redis_url: str, key: str) -> AsyncIterator[RedisWire]:
    async with RedisWire(redis_url, key, patience_s=0.05) as wire:
        yield wire


@asynccontextmanager
async def network(redis_url: str, carry: Carry) -> AsyncGenerator[str]:
    """A way to Redis on which `carry(block, server, client)` passes on what clients send; EndOfStream from it cuts."""
    port = int(redis_url.rpartition(":")[2])

    async def back(server: ByteReceiveStream, client: ByteSendStream) -> None:
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async for block in server:
                await client.send(block)

    async def connect(client: ByteStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", port) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(back, server, client)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    await carry(await client.receive(), server, client)
            tasks.cancel_scope.cancel()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, connect)
        yield f"redis://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def test_a_job_does_not_exist_before_its_reader_is_known_to_listen(redis_url: str, redis: Any, key: str) -> None:
    subscribing, go_on = anyio.Event(), anyio.Event()

    async def hold_subscriptions(block: bytes, server: ByteStream, client: ByteStream) -> None:
        if b"\r\nSUBSCRIBE" in block and b"result:" in block:
            subscribing.set()
            await go_on.wait()
        await server.send(block)

    with fail_after(30):
        async with (
            network(redis_url, hold_subscriptions) as url,
            RedisWire(url, key) as wire,
            RedisWire(redis_url, key) as workers_end,
            workers_end.attach() as inbox,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(answer, wire, inbox)
            await subscribing.wait()
            for _ in range(5):
                assert await workers_end.workers() <= 1
                assert await redis.xlen(key) == 0
            go_on.set()


async def test_a_job_whose_sending_was_cut_is_reported_and_never_sent_twice(
    redis_url: str, redis: Any, key: str
) -> None:
    async with RedisWire(redis_url, key) as wire, wire.send(Job(f"known-{key}", "the server knows the step now")):
        pass

    async def cut_after_enqueueing(block: bytes, server: ByteStream, client: ByteStream) -> None:
        if b"$7\r\nEVALSHA" in block and b"cut-" in block:
            await client.aclose()
            await server.send(block)
            raise anyio.EndOfStream
        await server.send(block)

    with fail_after(30):
        async with network(redis_url, cut_after_enqueueing) as url, RedisWire(url, key) as wire:
            with pytest.raises(QueueDown):
                async with wire.send(Job(f"cut-{key}", "why?")):
                    pass
            while await redis.xlen(key) < 2:
                pass
    assert await redis.xlen(key) == 2


async def test_what_was_said_while_a_subscription_was_made_again_behind_our_back_is_read_from_the_log(
    redis_url: str, key: str
) -> None:
    go_on = anyio.Event()

    async def subscribe_again(block: bytes, server: ByteStream, client: ByteStream) -> None:
        await server.send(block)
        if b"\r\nSUBSCRIBE" in block:
            tasks.start_soon(later, block, server)

    async def later(block: bytes, server: ByteStream) -> None:
        await go_on.wait()
        await server.send(block)

    with fail_after(30):
        async with (
            anyio.create_task_group() as tasks,
            network(redis_url, subscribe_again) as url,
            RedisWire(url, key) as wire,
            RedisWire(redis_url, key) as workers_end,
            wire.send(Job(f"again-{key}", "why?")) as replies,
        ):
            async with workers_end.attach() as inbox:
                (delivery,) = await inbox.take(1)
                async with inbox.hold(delivery) as hold:
                    await hold.emit(Delta("said"))
                    go_on.set()
                    assert (await anext(replies)).chunk == "said"
                    await hold.finish(Final())
            assert isinstance(await anext(replies), Final)


async def test_the_group_is_made_again_after_the_server_was_flushed(port: int, start_redis: StartRedis) -> None:
    start_redis(port)
    async with RedisWire(f"redis://127.0.0.1:{port}", patience_s=0.05) as wire, wire.attach() as inbox:
        with fail_after(30):
            assert await answer(wire, inbox) == "ok"
            async with Redis(port=port) as redis:
                await redis.flushall()
            assert await answer(wire, inbox) == "ok"


async def test_connections_that_died_in_silence_are_not_taken_for_the_end_of_the_server(
    redis_url: str, key: str
) -> None:
    """As behind a router that forgot them, or after the server's machine lost its power: nobody says so."""
    living: set[ByteStream] = set()
    dead: set[ByteStream] = set()

    async def silence_the_dead(block: bytes, server: ByteStream, client: ByteStream) -> None:
        living.add(client)
        if client in dead:
            await anyio.sleep_forever()
        await server.send(block)

    with fail_after(30):
        async with (
            network(redis_url, silence_the_dead) as url,
            RedisWire(url, key, limit_s=1) as wire,
            RedisWire(redis_url, key, patience_s=0.05) as workers_end,
            workers_end.attach() as inbox,
        ):
            async with anyio.create_task_group() as tasks:  # several connections, and the one that hears
                for _ in range(4):
                    tasks.start_soon(wire.workers)
            assert await answer(wire, inbox) == "ok"
            assert len(living) >= 4
            dead |= living
            assert await wire.workers() == 1
            dead |= living
            assert await answer(wire, inbox) == "ok"
            dead |= living
            with pytest.raises(Unknown):
                await wire.resume("nobody's").__aenter__()


@pytest.mark.slow
async def test_a_worker_that_was_cut_off_goes_on_at_once_although_its_last_beat_comes_late(
    redis_url: str, key: str
) -> None:
    """What was sent into a link that is cut arrives once it is mended, and renews a lease that nobody holds."""
    mended = anyio.Event()
    mended.set()

    async def when_mended(block: bytes, server: ByteStream, client: ByteStream) -> None:
        await mended.wait()
        await server.send(block)

    with fail_after(30):
        async with (
            network(redis_url, when_mended) as url,
            RedisWire(redis_url, key) as wire,
            RedisWire(url, key, lease_s=LEASE_S, limit_s=1, patience_s=0.05) as workers_end,
            workers_end.attach() as inbox,
            wire.send(Job(f"cut-{key}", "why?")) as replies,
        ):
            (delivery,) = await inbox.take(1)
            async with inbox.hold(delivery) as hold:
                await hold.emit(Delta("one "))
                assert (await anext(replies)).chunk == "one "
                mended = anyio.Event()
                await anyio.sleep_forever()
            assert hold.ended == "lost"
            mended.set()
            with fail_after(LEASE_S * 2 / 3):  # not once it has run out
                async with inbox.hold(await taken_when_back(inbox)) as hold:
                    assert hold.said.text == "one "
                    await hold.emit(Delta("two"))
                    await hold.finish(Final())
            assert "".join([reply.chunk async for reply in replies]) == "two"


@pytest.mark.parametrize("patience_s", [10, 0.1], ids=["told that the queue is away", "gone before"])
async def test_an_answer_that_is_cancelled_while_the_link_is_cut_stops_once_it_is_mended(
    redis_url: str, key: str, patience_s: float
) -> None:
    is_cut = False

    async def lose(block: bytes, server: ByteStream, client: ByteStream) -> None:
        if is_cut:
            await anyio.sleep_forever()
        await server.send(block)

    with fail_after(20):
        async with (
            network(redis_url, lose) as url,
            RedisWire(url, key, limit_s=0.3) as wire,
            RedisWire(redis_url, key, patience_s=0.05) as workers_end,
            workers_end.attach() as inbox,
        ):
            async with wire.send(Job(f"cut-{key}", "why?")) as replies:
                (delivery,) = await inbox.take(1)
                async with inbox.hold(delivery) as hold:
                    await hold.emit(Delta("one "))
                    assert (await anext(replies)).chunk == "one "
                    is_cut = True
                    with suppress(QueueDown), anyio.move_on_after(patience_s):
                        await wire.cancel(f"cut-{key}")
                        raise AssertionError("nobody can have been told")
                    assert hold.ended is None
                    is_cut = False
                    await anyio.sleep_forever()
            assert hold.ended == "cancelled"


async def test_a_cancel_is_tried_as_long_as_an_answer_may_last(port: int) -> None:
    async with RedisWire(f"redis://127.0.0.1:{port}") as wire:
        with fail_after(20):
            async with anyio.create_task_group() as tasks:  # left once nothing is tried any more
                cancels = Cancels(wire.steps, tasks, last_s=0.1)
                for n in range(3):
                    with pytest.raises(QueueDown):
                        await cancels.cancel(str(n))


async def test_who_cancels_over_a_wire_that_was_left_is_told_as_before(port: int) -> None:
    async with RedisWire(f"redis://127.0.0.1:{port}") as wire:
        pass
    with pytest.raises(QueueDown):
        await wire.cancel("late")


async def taken_when_back(inbox: Inbox) -> Delivery:
    while True:
        with suppress(QueueDown):
            for delivery in await inbox.take(1):
                return delivery
        await anyio.sleep(0.05)


async def test_a_server_that_dies_is_waited_for_and_the_answer_goes_on(port: int, start_redis: StartRedis) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always")
    server = start_redis(port, *options)
    async with RedisWire(f"redis://127.0.0.1:{port}", patience_s=0.05) as wire, wire.attach() as inbox:
        with fail_after(30):
            async with wire.send(Job("cut", "why?")) as replies:
                (delivery,) = await inbox.take(1)
                async with inbox.hold(delivery) as hold:
                    await hold.emit(Delta("one "))
                    assert (await anext(replies)).chunk == "one "
                    server.kill()
                    server.wait()
                    for call in (wire.send(Job("x", "y")).__aenter__, lambda: inbox.take(1), wire.workers):
                        with pytest.raises(QueueDown, match="cannot be reached"):
                            await call()
                    await hold.emit(Delta("two"))
                    start_redis(port, *options)
                    await hold.finish(Final())
                assert "".join([reply.chunk async for reply in replies]) == "two"
            assert await answer(wire, inbox) == "ok"


async def test_a_job_that_a_restarted_server_has_lost_is_sent_again(port: int, start_redis: StartRedis) -> None:
    server = start_redis(port)
    async with RedisWire(f"redis://127.0.0.1:{port}", patience_s=0.05) as wire, wire.attach() as inbox:
        with fail_after(30):
            async with wire.send(Job("lost", "why?")) as replies:
                server.kill()
                server.wait()
                start_redis(port)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(serve_when_back, inbox)
                    assert "".join([reply.chunk async for reply in replies]) == "ok"


async def test_an_answer_that_a_restarted_server_has_lost_ends_and_is_never_joined_to_another(
    port: int, start_redis: StartRedis
) -> None:
    server = start_redis(port)
    async with RedisWire(f"redis://127.0.0.1:{port}", patience_s=0.05) as wire, wire.attach() as inbox:
        with fail_after(30):
            async with wire.send(Job("lost", "why?")) as replies:
                (delivery,) = await inbox.take(1)
                async with inbox.hold(delivery) as hold:
                    await hold.emit(Delta("one "))
                    await anext(replies)
                    server.kill()
                    server.wait()
                    start_redis(port)
                    await hold.emit(Delta("two"))
                    await anyio.sleep_forever()
                assert hold.ended == "lost"
                (final,) = [reply async for reply in replies]
    assert isinstance(final, Final) and final.error_code == "restarted"


async def serve_when_back(inbox: Inbox) -> None:
    while True:
        try:
            return await serve(inbox)
        except QueueDown:
            await anyio.sleep(0.05)


async def test_a_connection_that_drops_loses_nothing(wire: RedisWire, redis: Any) -> None:
    with fail_after(30):
        async with wire.send(Job("dropped", "why?")) as replies, wire.attach() as inbox:
            (delivery,) = await inbox.take(1)
            async with inbox.hold(delivery) as hold:
                await hold.emit(Delta("one "))
                first = await anext(replies)
                await redis.client_kill_filter(_type="pubsub")
                await hold.emit(Delta("two"))
                await hold.finish(Final())
            assert "".join([first.chunk, *[reply.chunk async for reply in replies]]) == "one two"


async def test_an_old_workers_answer_ends_when_the_connection_drops(wire: RedisWire, redis: Any) -> None:
    with fail_after(30):
        async with wire.send(Job("dropped", "why?")) as replies:
            await redis.publish("result:dropped", '{"chunk": "a", "is_final": false}')
            assert await anext(replies) == Delta("a")
            await redis.client_kill_filter(_type="pubsub")
            with pytest.raises(QueueDown, match="ask again"):
                await anext(replies)


async def test_a_server_that_hangs_is_told_within_the_limit(port: int, start_redis: StartRedis) -> None:
    server = start_redis(port)
    async with RedisWire(f"redis://127.0.0.1:{port}", limit_s=1) as wire, wire.send(Job("warm", "up")):
        server.send_signal(signal.SIGSTOP)
        with fail_after(30), pytest.raises(QueueDown, match=f"{port} did not answer"):
            async with wire.send(Job("x", "y")):
                pass


async def test_jobs_that_are_handed_over_late_are_taken_all_the_same(redis_url: str, redis: Any, key: str) -> None:
    async def hand_over_late(block: bytes, server: ByteStream, client: ByteStream) -> None:
        if b"XREADGROUP" in block:
            # The network's delay, longer than the limit: nothing else is being waited for.
            await anyio.sleep(1.4)
        await server.send(block)

    with fail_after(30):
        async with (
            network(redis_url, hand_over_late) as url,
            RedisWire(url, key, limit_s=1) as wire,
            wire.send(Job("late", "why?")),
            wire.attach() as inbox,
        ):
            assert [delivery.job.request_id for delivery in await inbox.take(1)] == ["late"]


@pytest.mark.parametrize("secret", ["wrong-secret", ""])
async def test_a_wrong_or_missing_password_is_named_without_showing_it(
    port: int, start_redis: StartRedis, secret: str
) -> None:
    start_redis(port, "--requirepass", "right")
    async with RedisWire(f"redis://:{secret}@127.0.0.1:{port}") as wire:
        with pytest.raises(QueueDown, match=f"127.0.0.1:{port} refused the password.*REDIS_KEY") as told:
            async with wire.send(Job("x", "y")):
                pass
        assert "secret" not in str(told.value)
    async with RedisWire(f"redis://127.0.0.1:{port}", password="right") as wire:
        assert await wire.workers() == 0


@pytest.mark.parametrize("url", ["http://:secret@host", "redis://:sec/ret@host:port", ""])
async def test_an_address_that_is_none_is_refused_at_once_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected REDIS_URL as redis://") as told:
        RedisWire(url)
    assert "sec" not in str(told.value)
