"""What an operator asks of a queue: how many jobs wait, who takes them, how fast. Nothing is changed by it.

Workers say these things of themselves, so nothing is believed but its type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from wire.redis.server import Server, Step

COUNTED = ("admitted", "refused", "finished", "reclaimed", "dead", "cancelled", "retried")
_TOLD = ("engine", "model", "slots", "state", "mean_s", "tokens_per_s", "first_token_s")


@dataclass(frozen=True, slots=True)
class Worker:
    """`state`: "silent" has not beaten for two leases; "old" is one that never does. `in_flight`: jobs that the queue
    has given it. `mean_s` (a job) and `first_token_s` are 0 until a first job has ended. `seen_s`: seconds ago."""

    name: str
    state: Literal["ready", "draining", "silent", "old"]
    engine: str
    model: str | None
    slots: int
    in_flight: int
    mean_s: float
    tokens_per_s: float
    first_token_s: float
    seen_s: float

    @property
    def is_live(self) -> bool:
        return self.state in ("ready", "draining")


@dataclass(frozen=True, slots=True)
class Stream:
    """The jobs that name one model, or none. `wait_s`: a new job's, as it is judged at admission; null while nobody
    knows how long a job takes."""

    name: str
    depth: int
    waiting: int
    wait_s: float | None


@dataclass(frozen=True, slots=True)
class Queue:
    """`depth` = `waiting` + `in_flight`. `suspects`: groups of jobs that died together and wait for a worker of their
    own. `dead`: jobs given up and kept. `counters`: since the server was empty."""

    where: str
    depth: int
    waiting: int
    in_flight: int
    suspects: int
    dead: int
    streams: tuple[Stream, ...]
    workers: tuple[Worker, ...]
    counters: dict[str, int]


# A model's stream that is not there, not a stream, or not ours to see, is left out. KEYS: base. ARGV: group
_FIGURES = Step(
    """
local base, group = KEYS[1], ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local workers, streams, lengths, seen = {}, {base}, {}, {}
local registered = redis.call('ZRANGE', base .. ':workers', 0, -1, 'WITHSCORES')
for i = 1, #registered, 2 do
  local told = redis.call('HMGET', base .. ':worker:' .. registered[i], TOLD)
  workers[#workers + 1] = {registered[i], string.format('%.0f', now - registered[i + 1]), told}
  local model = told[2]
  if model and model ~= '' and not seen[model] then
    seen[model] = true
    streams[#streams + 1] = base .. ':' .. model
  end
end
for _, stream in ipairs(streams) do
  local depth, pending = redis.pcall('XLEN', stream), redis.pcall('XPENDING', stream, group)
  if type(depth) == 'number' then lengths[#lengths + 1] = {stream, depth, not pending.err and pending[4] or {}} end
end
local consumers = redis.pcall('XINFO', 'CONSUMERS', base, group)
return {workers, lengths, consumers.err and {} or consumers, redis.call('LLEN', base .. ':suspects'),
  redis.call('XLEN', base .. ':inference_dead'), redis.call('HMGET', base .. ':counters', COUNTED)}
""".replace("TOLD", ", ".join(map(repr, _TOLD))).replace("COUNTED", ", ".join(map(repr, COUNTED)))
)


class Office:
    def __init__(self, server: Server, base: str, group: str, lease_s: float) -> None:
        self._server, self._base, self._group, self._lease_s = server, base, group, lease_s

    async def figures(self) -> Queue:
        """May raise `QueueDown`."""
        answer: Any = await self._server.run(_FIGURES, (self._base,), self._group)
        told, lengths, consumers, suspects, dead, counts = answer
        pending = _pending(lengths)
        registered: list[Worker] = [self._worker(name, silent, words, pending) for name, silent, words in told]
        workers = registered + self._old(consumers, {worker.name for worker in registered}, pending)
        # As at admission: a job of any stream is waited for as long as all workers need for this one.
        rate = sum(worker.slots / worker.mean_s for worker in workers if worker.is_live and worker.mean_s)
        streams: list[Stream] = [_stream(name, depth, having, rate) for name, depth, having in lengths]
        return Queue(
            where=self._server.where,
            depth=sum(stream.depth for stream in streams),
            waiting=sum(stream.waiting for stream in streams),
            in_flight=sum(stream.depth - stream.waiting for stream in streams),
            suspects=suspects,
            dead=dead,
            streams=tuple(streams),
            workers=tuple(sorted(workers, key=lambda worker: worker.name)),
            counters={name: int(number(count)) for name, count in zip(COUNTED, counts, strict=True)},
        )

    def _worker(self, name: bytes, silent: bytes, told: Sequence[bytes | None], pending: dict[str, int]) -> Worker:
        engine, model, slots, state, mean_s, tokens_per_s, first_token_s = told
        seen_s = max(0.0, int(silent) / 1000)
        is_silent = seen_s > 2 * self._lease_s
        return Worker(
            name=text(name),
            state="silent" if is_silent else "draining" if state == b"draining" else "ready",
            engine=text(engine),
            model=text(model) or None,
            slots=int(number(slots)),
            in_flight=pending.get(text(name), 0),
            mean_s=number(mean_s),
            tokens_per_s=number(tokens_per_s),
            first_token_s=number(first_token_s),
            seen_s=seen_s,
        )

    def _old(self, consumers: Sequence[Sequence[Any]], known: set[str], pending: dict[str, int]) -> list[Worker]:
        """Those that never beat, while they still ask for jobs or have some."""
        found: list[Worker] = []
        for one in consumers:
            told: dict[bytes, Any] = dict(zip(one[::2], one[1::2], strict=True))
            name, idle_s = text(told[b"name"]), told[b"idle"] / 1000
            in_flight = pending.get(name, 0)
            if name not in known and not name.startswith("-") and (in_flight or idle_s < 2 * self._lease_s):
                found.append(Worker(name, "old", "", None, 0, in_flight, 0.0, 0.0, 0.0, idle_s))
        return found


def _pending(lengths: Sequence[Sequence[Any]]) -> dict[str, int]:
    """How many jobs each consumer has, over all streams."""
    found: dict[str, int] = {}
    for _, _, consumers in lengths:
        for name, count in consumers or ():
            found[text(name)] = found.get(text(name), 0) + int(count)
    return found


def _stream(name: bytes, depth: int, consumers: Sequence[tuple[bytes, bytes]] | None, rate: float) -> Stream:
    # Names that begin so are no workers: their jobs were handed back, or died together.
    in_flight = sum(int(count) for consumer, count in consumers or () if not consumer.startswith(b"-"))
    in_flight = min(in_flight, depth)
    return Stream(text(name), depth, depth - in_flight, depth / rate if rate else None)


def text(told: bytes | None) -> str:
    return (told or b"").decode(errors="replace")


def number(told: bytes | None) -> float:
    try:
        number = float(told or 0)
    except ValueError:
        return 0.0
    return number if isfinite(number) and number > 0 else 0.0
