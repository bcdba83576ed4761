"""The steps of `wire.steps` on a Redis server. The scripts are in `wire.redis.lua`; here are their arguments."""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream
from redis.exceptions import RedisError, ResponseError

from wire import Busy, QueueDown, Told
from wire.messages import Final, encode_reply
from wire.redis import lua
from wire.redis.ear import Ear
from wire.redis.server import Server
from wire.steps import (
    DEADLINE_MS,
    DEATHS,
    KEPT_MS,
    SPANS_MOST,
    Admitted,
    Beat,
    Figures,
    Frame,
    Heard,
    Logged,
    Started,
    Taken,
    Terms,
)

GROUP = "gpu_workers"
_BURIED = f"a worker died {DEATHS} times with nothing but this job"
_POISON = encode_reply(Final(error=f"given up: {_BURIED}", error_code="poison"))
_KEPT_DATA = 1_000_000  # bytes of a dead job

_Entries = list[tuple[bytes, list[bytes]]]


class RedisSteps:
    """See `Steps`. `base` is the stream of the jobs that name no model."""

    def __init__(
        self,
        server: Server,
        ear: Ear,
        base: str,
        lease_s: float,
        patience_s: float,
        silence_s: float,
        kept_s: float,
        reclaim_s: float = 1.0,
    ) -> None:
        self._server, self._ear, self._base = server, ear, base
        # A reader is told what was the matter before its own patience ends.
        self.away_s = 0.75 * silence_s
        self._lease_ms, self._silence_ms = round(lease_s * 1000), round(silence_s * 1000)
        self._patience_s, self._kept_ms = patience_s, round(kept_s * 1000)
        self._reclaim_s = min(reclaim_s, lease_s / 3)
        self._joined: set[str] = set()
        self._looked = float("-inf")
        self._alone = self._suspects = False
        self._turn = 0

    def listen(self, request_id: str) -> AbstractAsyncContextManager[MemoryObjectReceiveStream[Heard]]:
        return self._ear.listen(f"result:{request_id}")

    def cancels(self) -> AbstractAsyncContextManager[MemoryObjectReceiveStream[Heard]]:
        return self._ear.listen(f"{self._base}:ctl:cancel")

    async def admit(self, request_id: str, data: bytes, terms: Terms) -> Admitted:
        keys = (terms.stream, self._base, self._job(request_id))
        values = (request_id, data, terms.client, terms.idem, terms.deadline_ms, terms.depth, terms.quota)
        terms_ms = (self._lease_ms, self._kept_ms, self._silence_ms)
        told = await self._server.run(lua.ADMIT, keys, *values, *terms_ms, terms.record)
        if told[0] == b"ok":
            return Admitted(told[1].decode(), is_new=bool(told[2]))
        if told[0] == b"model":
            model, others = terms.stream.removeprefix(f"{self._base}:"), told[1].decode() or "none"
            raise QueueDown(f"no worker has the model {model!r}; the models of those that listen: {others}")
        after_s, depth = int(told[2]), int(told[3])
        why = {
            b"depth": f"{depth} jobs are in the queue, which takes {terms.depth} at most",
            b"late": f"{depth} jobs are in the queue: the answer would come after its deadline",
            b"quota": f"{terms.quota} answers of this client are under way, which is all it may have at once",
        }[told[1]]
        raise Busy(f"{why}; try again in {after_s} s", after_s)

    async def read(self, request_id: str, after: tuple[int, int]) -> Logged:
        since = f"({after[0]}-{after[1]}" if any(after) else "-"
        known, entries = await self._server.run(lua.READ, (self._job(request_id), self._log(request_id)), since)
        return Logged(bool(known), _frames(entries))

    async def record(self, request_id: str) -> bytes | None:
        return await self._server.ask(cast("Any", self._server.redis.hget(self._job(request_id), "hits")))

    async def spans(self, request_id: str, trace: str) -> Told:
        told = await self._server.run(lua.SPANS, (self._job(request_id),), f"spans:{trace}", SPANS_MOST + 1)
        return Told(told[0], bool(told[1]), bool(told[2]))

    async def cancel(self, request_id: str, final: bytes) -> bool:
        keys = (self._base, self._job(request_id))
        return bool(await self._server.run(lua.CANCEL, keys, GROUP, request_id, final, KEPT_MS + DEADLINE_MS))

    async def workers(self) -> int:
        """Those that beat, and old ones that asked for a job, within two leases."""
        limit_ms = 2 * self._lease_ms
        try:
            async with self._server.redis.pipeline(transaction=False) as asked:
                asked.time()
                asked.zrange(f"{self._base}:workers", 0, -1, withscores=True)
                asked.xinfo_consumers(self._base, GROUP)
                told = await asked.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise self._server.down(error) from error
        for one in told:
            if isinstance(one, ResponseError) and _nothing_there(one):
                return 0
            if isinstance(one, Exception):
                raise self._server.down(one) from one
        (seconds, micros), beats, consumers = told
        registered, since = dict(beats), seconds * 1000 + micros // 1000 - limit_ms
        old = [one for one in consumers if one["name"] not in registered and not one["name"].startswith(b"-")]
        return sum(beat > since for beat in registered.values()) + sum(one["idle"] < limit_ms for one in old)

    async def trim(self, stream: str, request_id: str) -> None:
        await self._server.run(lua.TRIM, (stream, self._base), GROUP, request_id)

    # --- the worker's

    async def take(self, worker: str, streams: Sequence[str], slots: int, held: int) -> list[Taken]:
        if self._alone and held:
            return await self._nothing()
        self._alone = False
        for stream in streams:
            if stream not in self._joined:
                await self._join(stream, worker)
        due = anyio.current_time() - self._looked > self._reclaim_s
        if due or self._suspects:
            waiting, *found = await self._look(worker, streams, slots, held, due)
            self._suspects = bool(waiting or found)  # perhaps: what lapsed makes them
            if found:
                self._alone = waiting == 0
                return _taken(found[0].decode(), found[1])
            if waiting:
                return await self._nothing()
        return await self._new(worker, streams, slots)

    async def _look(self, worker: str, streams: Sequence[str], slots: int, held: int, due: bool) -> list[Any]:
        """In one call: until it is answered the worker hears of no job."""
        if due:
            self._looked = anyio.current_time()
        values = (self._lease_ms, slots, self._silence_ms, _POISON, _BURIED, held, "1" if due else "", *streams)
        return await self._server.run(lua.LOOK, (self._base,), GROUP, worker, *values)

    async def _nothing(self) -> list[Taken]:
        await anyio.sleep(min(0.05, self._patience_s))
        return []

    async def _new(self, worker: str, streams: Sequence[str], slots: int) -> list[Taken]:
        block_ms = round(min(self._patience_s, self._lease_ms / 3000) * 1000)
        if len(streams) == 1:
            return await self._read(worker, streams, slots, block_ms)
        # COUNT is of each stream: one after the other, or there would be more jobs than slots. None is always first.
        self._turn = (self._turn + 1) % len(streams)
        found: list[Taken] = []
        for stream in (*streams[self._turn :], *streams[: self._turn]):
            if len(found) < slots:
                found += await self._read(worker, [stream], slots - len(found), None)
        if found:
            return found
        found = await self._read(worker, streams, slots, block_ms)
        for more in found[slots:]:  # they came in between
            await self._run_in(lua.HAND_BACK, more.stream, worker, more.entry, self._lease_ms)
        return found[:slots]

    async def _read(self, worker: str, streams: Sequence[str], slots: int, block_ms: int | None) -> list[Taken]:
        ids = dict.fromkeys(streams, ">")
        try:
            found = await self._server.taking.xreadgroup(GROUP, worker, cast("Any", ids), slots, block_ms)
        except ResponseError as error:
            if not _nothing_there(error):
                raise self._server.down(error) from error
            # Somebody flushed the server or deleted the stream: the next take makes the group again.
            self._joined.clear()
            return []
        except (RedisError, OSError) as error:
            raise self._server.down(error) from error
        streams_found = cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", found)
        return [
            Taken(stream.decode(), entry.decode(), fields.get(b"data", b""))
            for stream, entries in streams_found
            for entry, fields in entries
        ]

    async def _join(self, stream: str, worker: str) -> None:
        redis = self._server.redis
        try:
            await redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise self._server.down(error) from error
        except (RedisError, OSError) as error:
            raise self._server.down(error) from error
        await self._server.ask(redis.xgroup_createconsumer(stream, GROUP, worker))
        self._joined.add(stream)

    async def start(self, worker: str, taken: Taken, request_id: str) -> Started:
        keys = (taken.stream, self._base, self._job(request_id), self._log(request_id))
        told = await self._server.run(lua.START, keys, GROUP, worker, taken.entry, request_id, DEADLINE_MS)
        state = told[0].decode()
        if state in ("lost", "done"):
            return Started(state)
        return Started(state, int(told[1]), int(told[2]) / 1000, _frames(told[3]), int(told[4]) / 1000)

    async def tell(self, request_id: str, trace: str, spans: bytes) -> None:
        await self._server.run(lua.TELL, (self._job(request_id),), f"spans:{trace}", spans, SPANS_MOST)

    async def append(self, frames: Sequence[Frame]) -> list[bool]:
        # One call, for its cost hardly depends on how many frames it has.
        logs = [self._log(frame.request_id) for frame in frames]
        values = [value for f in frames for value in (f.request_id, f.epoch, f.seq, f.data)]
        return [bool(kept) for kept in await self._server.run(lua.APPEND, logs, *values)]

    async def finish(self, worker: str, frame: Frame) -> bool:
        keys = (frame.stream, self._base, self._job(frame.request_id), self._log(frame.request_id))
        values = (worker, frame.entry, frame.request_id, str(frame.epoch), str(frame.seq), frame.data)
        return bool(await self._server.run(lua.FINISH, keys, GROUP, *values))

    async def beat(self, worker: str, held: Sequence[Frame], figures: Figures) -> Beat:
        card = figures.card
        told = {
            "engine": card.engine,
            "model": card.model or "",
            "slots": card.slots,
            "state": figures.state,
            "in_flight": figures.in_flight,
            "mean_s": round(figures.mean_s, 4),
            "tokens_per_s": round(figures.tokens_per_s, 1),
            "first_token_s": round(figures.first_token_s, 4),
        }
        names = [name for frame in held for name in (frame.stream, frame.entry, frame.request_id)]
        values = (worker, 2 * self._lease_ms, msgspec.json.encode(told), *names)
        lost, cancelled = await self._server.run(lua.BEAT, (self._base,), GROUP, *values)
        return Beat(frozenset(one.decode() for one in lost), frozenset(one.decode() for one in cancelled))

    async def hand_back(self, worker: str, frame: Frame) -> None:
        await self._run_in(lua.HAND_BACK, frame.stream, worker, frame.entry, self._lease_ms)

    async def bury(self, worker: str, taken: Taken, reason: str, request_id: str | None, final: bytes) -> None:
        values = (taken.entry, taken.data[:_KEPT_DATA], reason, request_id or "", final)
        await self._run_in(lua.BURY, taken.stream, worker, *values)

    async def leave(self, worker: str) -> None:
        await self._server.run(lua.LEAVE, (self._base,), GROUP, worker, *sorted(self._joined))

    async def _run_in(self, step: Any, stream: str, worker: str, *values: str | bytes | float) -> Any:
        return await self._server.run(step, (stream, self._base), GROUP, worker, *values)

    def _job(self, request_id: str) -> str:
        return f"{self._base}:job:{request_id}"

    def _log(self, request_id: str) -> str:
        return f"{self._base}:rlog:{request_id}"


def _frames(entries: _Entries) -> tuple[bytes, ...]:
    return tuple(fields[1] for _, fields in entries if fields[0] == b"d")


def _taken(stream: str, entries: _Entries) -> list[Taken]:
    return [
        Taken(stream, entry.decode(), dict(zip(f[::2], f[1::2], strict=True)).get(b"data", b"")) for entry, f in entries
    ]


def _nothing_there(error: ResponseError) -> bool:
    """The stream or the group is not there (yet), or went away under a read that was waiting."""
    return str(error).startswith(("NOGROUP", "UNBLOCKED", "no such key"))
