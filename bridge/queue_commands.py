"""`tandem workers` and `tandem dead`: they ask Redis itself, so they need no daemon.

What comes from there was written by other machines: it is shown, never obeyed.
"""

import argparse
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from msgspec import to_builtins

from bridge.service import BadInput, Unavailable
from bridge.settings import Settings, worded
from bridge.terminal import on_one_line, say, say_json, table
from wire import Malformed, QueueDown, Unknown, embedding
from wire.messages import decode_job
from wire.redis import RedisWire
from wire.redis.dead import Dead, DeadLetters, NotRetried
from wire.redis.office import Queue, Worker

_LAST_S = datetime.max.replace(tzinfo=UTC).timestamp() - 1
_SHOWN_CHARS = 2_000  # of what cannot be read
_HEADS = ("WORKER", "STATE", "ENGINE", "MODEL", "JOBS", "TOKENS/S", "FIRST TOKEN", "A JOB", "LAST SEEN")


async def workers(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _wires(settings) as (answering, embeds):
        queue = await answering.office().figures()
        other = await embeds.office().figures()
    embedding_queue = other if other.workers or other.depth or other.dead else None
    if arguments.json:
        say_json({**to_builtins(queue), "embedding": to_builtins(embedding_queue)})
        return
    _say_queue(queue, "`tandem worker`")
    if embedding_queue:
        say("")
        _say_queue(embedding_queue, "`tandem worker --task embed`")


async def dead(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _wires(settings) as wires:
        both = [wire.dead_letters() for wire in wires]
        if arguments.action == "ls":
            found = [one for letters in both for one in await letters.latest(arguments.n + 1)]
            _ls(arguments, sorted(found, key=lambda one: one.died_ms, reverse=True))
            return
        letters, one = await _found(both, arguments.id)
        if arguments.action == "show":
            _show(arguments, one, await letters.data(one))
        else:
            await _done(arguments, letters, one)


async def _found(both: Sequence[DeadLetters], word: str) -> tuple[DeadLetters, Dead]:
    for letters in both:
        with suppress(Unknown):
            return letters, await letters.find(word)
    raise Unknown(f"no dead job {word!r}: `tandem dead ls` lists them")


async def _done(arguments: argparse.Namespace, letters: DeadLetters, one: Dead) -> None:
    if arguments.action == "retry":
        await letters.retry(one)
        told = f"the request {one.request_id} is in the queue again"
    else:
        await letters.drop(one)
        told = f"the dead job {one.id} is dropped"
    if arguments.json:
        say_json({"id": one.id, "request_id": one.request_id, "action": arguments.action})
    else:
        say(on_one_line(told))


@asynccontextmanager
async def _wires(settings: Settings) -> AsyncGenerator[tuple[RedisWire, RedisWire]]:
    """To the queue of questions and the one of texts to embed, as workers find them. Raises what a command may."""
    url, key = settings.redis_url or "redis://localhost:6379", settings.redis_stream_key
    with worded():
        first, second = (
            RedisWire(url, one, settings.redis_key, lease_s=settings.lease_s) for one in (key, embedding.queue(key))
        )
    try:
        async with first, second:
            yield first, second
    except QueueDown as error:
        raise Unavailable(str(error)) from error
    except (Unknown, NotRetried) as error:
        raise BadInput(on_one_line(str(error))) from error


def _say_queue(queue: Queue, command: str) -> None:
    for line in _queue_in_words(queue):
        say(on_one_line(line))
    if queue.workers:
        say("\n" + table(_HEADS, [_row(worker) for worker in queue.workers]))
    else:
        say(f"workers    none: on the GPU box, {command} with the same REDIS_URL and REDIS_STREAM_KEY")


def _queue_in_words(queue: Queue) -> list[str]:
    lines: list[str] = []
    for stream in queue.streams:
        wait = "" if stream.wait_s is None else f"; a new one would wait about {stream.wait_s:.1f} s"
        lines.append(
            f"queue      {stream.name}: {stream.waiting} waiting, {stream.depth - stream.waiting} under way{wait}"
        )
    if queue.suspects:
        lines.append(f"suspects   {queue.suspects} groups of jobs that died together wait for a worker of their own")
    lines.append("counted    " + ", ".join(f"{count} {name}" for name, count in queue.counters.items()))
    if queue.dead:
        lines.append(f"dead       {queue.dead} kept: `tandem dead ls`")
    return lines


def _row(worker: Worker) -> tuple[str, ...]:
    def seconds(value: float) -> str:
        return f"{value:.2f} s" if value else "-"

    return (
        worker.name,
        worker.state,
        worker.engine or "-",
        worker.model or "-",
        f"{worker.in_flight} of {worker.slots}" if worker.slots else str(worker.in_flight),
        f"{worker.tokens_per_s:.1f}" if worker.is_live else "-",
        seconds(worker.first_token_s),
        seconds(worker.mean_s),
        f"{worker.seen_s:.0f} s ago",
    )


def _ls(arguments: argparse.Namespace, found: Sequence[Dead]) -> None:
    listed = found[: arguments.n]
    if arguments.json:
        for one in listed:
            say_json(_fields(one))
        return
    if not listed:
        say("no job was given up")
        return
    rows = [(one.id, one.request_id or "-", _when(one), str(one.failures), one.reason) for one in listed]
    say(table(("ID", "REQUEST", "GIVEN UP", "DEATHS", "REASON"), rows))
    if len(found) > len(listed):
        say(f"and older ones: `tandem dead ls -n {2 * arguments.n}`")


def _show(arguments: argparse.Namespace, one: Dead, data: bytes) -> None:
    try:
        job = decode_job(data)
    except Malformed:
        job = None
    raw = data.decode(errors="replace")
    if arguments.json:
        say_json({**_fields(one), "job": to_builtins(job) if job else None, "data": None if job else raw})
        return
    lines = {
        "id": one.id,
        "request": one.request_id or "-",
        "given up": f"{_when(one)} by {one.consumers}",
        "reason": one.reason,
        "deaths": str(one.failures),
        "stream": one.stream,
    }
    if job:
        lines["question"] = job.prompt
        lines |= {f"passage {n}": f"{passage.path}: {passage.text}" for n, passage in enumerate(job.context, 1)}
    else:
        lines["data"] = raw[:_SHOWN_CHARS] + ("…" if len(raw) > _SHOWN_CHARS else "")
    for name, value in lines.items():
        say(f"{name:10} {on_one_line(value)}")


def _fields(one: Dead) -> dict[str, Any]:
    return {**asdict(one), "died_at": _when(one)}


def _when(one: Dead) -> str:
    return datetime.fromtimestamp(min(one.died_ms / 1000, _LAST_S), UTC).isoformat(timespec="seconds")
