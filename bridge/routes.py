"""The settings become ways to a worker: the queue's, or a worker in this process."""

from contextlib import AsyncExitStack
from functools import partial

import anyio
import anyio.abc

from bridge.answer import Route
from bridge.homing import Homeward, Homing
from bridge.settings import Settings, openai_settings, worded
from inference_server.engines import Generate
from inference_server.worker import work
from wire import QueueDown
from wire.memory import MemoryWire

_SLOTS = 8  # answers under way at once in this process
_WAITING = 200  # more is refused, with a word when to come back


async def open_routes(
    settings: Settings,
    stack: AsyncExitStack,
    tasks: anyio.abc.TaskGroup,
    stopped: anyio.Event,
    homing: Homing | None = None,
) -> list[Route]:
    """The configured engine first, the extractive one behind it unless the settings refuse that. What spans tell
    elsewhere comes by `homing`."""
    from inference_server.engines.extractive import extractive

    async def local(generate: Generate, label: str) -> Route:
        wire = MemoryWire(depth=_WAITING)
        tasks.start_soon(partial(work, wire, generate, slots=_SLOTS, stopped=stopped))
        return Route(wire, label)

    last = await local(extractive, "extractive")
    if settings.engine == "extractive":
        return [last]
    if settings.engine == "redis":
        from wire.redis import RedisWire

        assert settings.redis_url is not None
        with worded():
            redis = RedisWire(
                settings.redis_url,
                settings.redis_stream_key,
                settings.redis_key,
                lease_s=settings.lease_s,
                depth=settings.redis_stream_maxlen,
                silence_s=settings.result_timeout_sec,
            )
        await stack.enter_async_context(redis)
        label = f"redis {settings.redis_stream_key}"
        first = Route(homing.over(redis), label, partial(homing.resumed, redis)) if homing else Route(redis, label)
    else:
        from inference_server.engines.openai import openai_engine

        with worded():
            engine = await stack.enter_async_context(openai_engine(*openai_settings(settings)))
        first = await local(engine, f"openai {settings.model or ''}".strip())
    return [first] if settings.no_worker == "refuse" else [first, last]


async def engine_of(settings: Settings, route: Route) -> str:
    """What would answer there now, its model too; "" where no worker is there to say it."""
    if settings.engine != "redis":
        return f"{route.label} {settings.model or ''}"
    from wire.redis import RedisWire

    wire = route.wire.wire if isinstance(route.wire, Homeward) else route.wire
    assert isinstance(wire, RedisWire)
    try:
        figures = await wire.office().figures()
    except QueueDown:
        return ""
    live = {f"{one.engine} {one.model or ''}" for one in figures.workers if one.is_live}
    return ", ".join([route.label, *sorted(live)]) if live else ""
