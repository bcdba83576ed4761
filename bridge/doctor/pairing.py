"""As whom this machine comes to its queue, and what counts instead."""

from functools import partial

from bridge import paired
from bridge.doctor.check import Check, in_thread, resolved
from bridge.doctor.recorded import Recorded
from bridge.overruled import overruling
from bridge.paired import Paired
from bridge.settings import Settings
from wire import QueueDown


async def pairing(settings: Settings, _recorded: Recorded) -> list[Check]:
    ways = await in_thread(partial(paired.by_code, settings.data))
    return [await _judged(settings, role, entry) for role, entry in ways.items()]


async def _judged(settings: Settings, role: str, entry: Paired) -> Check:
    what = f"as {entry.user} with the queue at {entry.where}"
    if instead := await in_thread(partial(overruling, settings.data, role, entry)):
        remedy = f"unset it there, or forget the pairing: `tandem pair --leave {role}`"
        return Check("pairing", "warning", f"{what}, but this counts instead: {', '.join(instead)}", remedy)
    if entry.url != settings.redis_url and (problem := await _problem(entry)):  # else it is told beside the workers
        return Check("pairing", "failed", f"{what}: {problem}")
    return Check("pairing", "ok", what)


async def _problem(entry: Paired) -> str | None:
    from wire.redis import RedisWire

    await resolved(entry.url)
    try:
        async with RedisWire(entry.url, entry.stream_key, entry.key) as wire:
            await wire.record("none")  # what bridges may ask, and workers too
    except (QueueDown, ValueError) as error:
        return str(error)
    return None
