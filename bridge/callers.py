"""Who asks, as the guard knows them: what they may see, and how often they may ask."""

from contextvars import ContextVar
from dataclasses import dataclass

from indexer.filters import Reach


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token of their own. `id` is never given twice, `name` may be. `reach`: null where they may see
    everything. `rate` and `asks`: requests and questions a minute, null for any number. `expires`: in seconds since
    the epoch."""

    id: str
    name: str
    reach: Reach | None = None
    rate: int | None = None
    asks: int | None = None
    expires: float | None = None


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Null is the owner: over the Unix socket, with TANDEM_TOKEN, or where no token is asked for."""
