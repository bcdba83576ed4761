"""`tandem cache`: what answers are kept, how often they were given again, and a way to be rid of them.

Questions were typed by others and paths are names of files: they are shown, never obeyed.
"""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from bridge.reached import reached
from bridge.service import CacheEntry, CacheStats, Service
from bridge.settings import Settings
from bridge.terminal import on_one_line, say, say_json, table

_SHOWN_CHARS = 80  # of a question
_LAST_S = datetime.max.replace(tzinfo=UTC).timestamp() - 1


async def cache(arguments: argparse.Namespace, settings: Settings) -> None:
    async with reached(settings) as service:
        await look_after(arguments, service)


async def look_after(arguments: argparse.Namespace, service: Service) -> None:
    if arguments.action == "ls":
        _ls(arguments, await service.cache_entries())
    elif arguments.action == "clear":
        removed = await service.clear_cache()
        if arguments.json:
            say_json({"removed": removed})
        else:
            say(f"{removed} answer{'s' * (removed != 1)} removed")
    else:
        _say_stats(arguments, await service.cache_stats())


def _ls(arguments: argparse.Namespace, entries: Sequence[CacheEntry]) -> None:
    if arguments.json:
        for one in entries:
            say_json(one)
        return
    if not entries:
        say("no answer is kept")
        return
    rows = [
        (_when(one.asked_at), _when(one.used), str(one.uses), one.engine, _short(one.question), " ".join(one.documents))
        for one in entries
    ]
    say(table(("ASKED", "LAST USED", "USES", "ENGINE", "QUESTION", "RESTS ON"), rows))


def _say_stats(arguments: argparse.Namespace, stats: CacheStats) -> None:
    if arguments.json:
        say_json(stats)
        return
    say(f"entries    {stats.entries} of at most {stats.most}, {stats.bytes / 1e6:.1f} MB, used {stats.uses} times")
    say(f"questions  {stats.reused} answered from it since the start, {stats.missed} not")
    say(f"reused     over a similarity of {stats.threshold:g}, for {stats.ttl_s / 3600:g} hours")
    if stats.problem:
        say(f"problem    {on_one_line(stats.problem)}")


def _short(question: str) -> str:
    return question if len(question) <= _SHOWN_CHARS else question[: _SHOWN_CHARS - 1] + "…"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(min(seconds, _LAST_S), UTC).isoformat(timespec="seconds")
