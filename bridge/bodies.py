"""What callers of the gateway send."""

import msgspec


class SearchBody(msgspec.Struct, frozen=True):
    query: str
    limit: int = 10
    within: str | None = msgspec.field(name="in", default=None)


class AskBody(msgspec.Struct, frozen=True):
    text: str
    within: str | None = msgspec.field(name="in", default=None)
    session: str | None = None


class IndexBody(msgspec.Struct, frozen=True):
    folders: list[str]
    accept_deletions: bool = False


class ReindexBody(msgspec.Struct, frozen=True):
    path: str | None = None


class ForgetBody(msgspec.Struct, frozen=True):
    path: str
