"""The jobs that were given up: a worker could not read them, or died of them alone, several times.

latest   the last ones, `data`: one as it was sent     reads only
retry    one goes into its stream again, as if new     one step
drop     one is forgotten
"""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass
from typing import Any

from wire import Unknown
from wire.messages import Malformed, decode_job
from wire.redis.office import number, text
from wire.redis.server import Server, Step
from wire.steps import DEADLINE_MS, KEPT_MS

_PAGE = 100


class NotRetried(Exception):
    """The job stays among the dead; the message says why."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A job given up. `id` is the queue's own; `died_ms` since 1970; `failures`: workers that died of it alone."""

    id: str
    request_id: str
    died_ms: int
    reason: str
    failures: int
    consumers: str
    stream: str
    size: int


# Without the payloads, which may be long. KEYS: base. ARGV: from where down, how many
_DEAD = Step("""
local found = {}
for _, one in ipairs(redis.call('XREVRANGE', KEYS[1] .. ':inference_dead', ARGV[1], '-', 'COUNT', ARGV[2])) do
  local told = {}
  for i = 1, #one[2], 2 do told[one[2][i]] = one[2][i + 1] end
  found[#found + 1] = {one[1], told.request_id or '', told.reason or '', told.failures or '0', told.consumers or '',
    told.stream or '', tostring(#(told.data or ''))}
end
return found
""")

# Its log begins anew: who still reads the former one is told `restarted`, and who still writes it is refused.
# KEYS: base, stream, job, log. ARGV: dead entry, request id, data, deadline, ttl
_RETRY = Step("""
local base, stream, job = KEYS[1], KEYS[2], KEYS[3]
local told = redis.call('HMGET', job, 'done', 'epoch')
if told[2] and not told[1] then return 'under way' end
if redis.call('XDEL', base .. ':inference_dead', ARGV[1]) == 0 then return 'gone' end
redis.call('DEL', job, KEYS[4], base .. ':cancel:' .. ARGV[2])
local t = redis.call('TIME')
local deadline = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[4])
local entry = redis.call('XADD', stream, '*', 'data', ARGV[3])
redis.call('HSET', job, 'state', 'queued', 'epoch', told[2] or '0', 'client', '', 'deadline', deadline,
  'stream', stream, 'entry', entry)
redis.call('PEXPIRE', job, ARGV[5])
redis.call('HINCRBY', base .. ':counters', 'retried', 1)
return 'ok'
""")


class DeadLetters:
    """Every call may raise `QueueDown`."""

    def __init__(self, server: Server, base: str) -> None:
        self._server, self._base, self._stream = server, base, f"{base}:inference_dead"

    async def latest(self, limit: int, below: str = "") -> tuple[Dead, ...]:
        """The latest first; `below`: those before this one."""
        since = f"({below}" if below else "+"
        return tuple(_dead(*one) for one in await self._server.run(_DEAD, (self._base,), since, limit))

    async def find(self, word: str) -> Dead:
        """By its own id or its request's; of a request that died twice, the later one. Raises Unknown."""
        below = ""
        while page := await self.latest(_PAGE, below):
            if found := next((one for one in page if word in (one.id, one.request_id)), None):
                return found
            below = page[-1].id
        raise Unknown(f"no dead job {word!r} at {self._base}: `tandem dead ls` lists them")

    async def data(self, dead: Dead) -> bytes:
        """The job as it was sent; of one that could not be read, its beginning. Raises Unknown."""
        entries: Any = await self._server.ask(self._server.redis.xrange(self._stream, dead.id, dead.id))
        if not entries:
            raise _gone(dead)
        return entries[0][1].get(b"data", b"")

    async def retry(self, dead: Dead) -> None:
        """Raises Unknown or NotRetried."""
        data = await self.data(dead)
        try:
            job = decode_job(data)
        except Malformed as error:
            raise NotRetried(
                f"the job {dead.id} cannot be read by any worker: {error}; `tandem dead drop` removes it"
            ) from error
        # Not the stream that the entry names: a worker wrote that, and may have written anything.
        stream = f"{self._base}:{job.metadata.model}" if job.metadata.model else self._base
        keys = (self._base, stream, f"{self._base}:job:{job.request_id}", f"{self._base}:rlog:{job.request_id}")
        deadline_ms = job.metadata.deadline_ms or DEADLINE_MS
        values = (dead.id, job.request_id, data, deadline_ms, deadline_ms + KEPT_MS)
        match await self._server.run(_RETRY, keys, *values):
            case b"gone":
                raise _gone(dead)
            case b"under way":
                raise NotRetried(f"the request {job.request_id} is under way already: wait for its end")
            case _:
                return

    async def drop(self, dead: Dead) -> None:
        """Raises Unknown."""
        if not await self._server.ask(self._server.redis.xdel(self._stream, dead.id)):
            raise _gone(dead)


def _dead(
    id_: bytes, request_id: bytes, reason: bytes, failures: bytes, who: bytes, stream: bytes, size: bytes
) -> Dead:
    return Dead(
        id=text(id_),
        request_id=text(request_id),
        died_ms=int(id_.partition(b"-")[0]),
        reason=text(reason),
        failures=int(number(failures)),
        consumers=text(who),
        stream=text(stream),
        size=int(size),
    )


def _gone(dead: Dead) -> Unknown:
    return Unknown(f"the dead job {dead.id} has just been dropped or sent again")
