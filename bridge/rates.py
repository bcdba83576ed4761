"""How often somebody may ask: a bucket for each, which holds a minute's worth and fills again all the time."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

_MOST = 10_000  # buckets; the one that nobody took from longest goes, and would have been full


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rates:
    """`clock`: in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, who: str, per_minute: int | None) -> int | None:
        """None where they may; else in how many whole seconds they may again. Null a minute is any number."""
        if per_minute is None:
            return None
        now = self._clock()
        bucket = self._buckets.setdefault(who, _Bucket(per_minute, now))
        bucket.left = min(per_minute, bucket.left + (now - bucket.at) * per_minute / 60)
        bucket.at = now
        self._buckets.move_to_end(who)
        while len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            return max(1, ceil((1 - bucket.left) * 60 / per_minute))
        bucket.left -= 1
        return None
