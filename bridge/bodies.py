"""What callers of the gateway send."""

import msgspec

from indexer.filters import Filters


class _Filtered(msgspec.Struct, frozen=True, kw_only=True):
    within: str | None = msgspec.field(name="in", default=None)
    types: str | list[str] | None = msgspec.field(name="type", default=None)
    since: str | None = None

    @property
    def filters(self) -> Filters:
        return Filters.asked(self.within, self.types, self.since)


class SearchBody(_Filtered, frozen=True):
    query: str
    limit: int = 10
    explain: bool = False


class AskBody(_Filtered, frozen=True):
    text: str
    session: str | None = None


class RatingBody(msgspec.Struct, frozen=True):
    trace_id: str
    up: bool
    comment: str | None = None


class IndexBody(msgspec.Struct, frozen=True):
    folders: list[str]
    accept_deletions: bool = False


class ReindexBody(msgspec.Struct, frozen=True):
    path: str | None = None


class ForgetBody(msgspec.Struct, frozen=True):
    path: str
