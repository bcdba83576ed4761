"""Who may come in over TCP, and as whom: by TANDEM_TOKEN, by a token with a name, or by an authorization server's.

401  no token came, or one that nobody knows (any more)
403  an authorization server knows the caller, and nobody here let them in
429  they may not ask so often
503  the authorization server that knows their token is away
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers

from bridge.callers import Caller
from bridge.rates import Rates
from bridge.tokens import PREFIX, Tokens


class TurnedAway(Exception):
    """Why somebody may not come in; the rest of it is the HTTP response's."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


Introspect = Callable[[str], Awaitable[Caller | None]]
"""The caller whom an authorization server gave this token. Raises TurnedAway where they are not let in."""


@dataclass(frozen=True, slots=True)
class Door:
    """`token`: the owner's, as TANDEM_TOKEN. `introspect`: for tokens that are none of ours. `is_shut`: a token is
    asked for though there is none, for others than this machine can reach the port. `challenge`: what a 401 says."""

    token: str | None = None
    tokens: Tokens | None = None
    introspect: Introspect | None = None
    is_shut: bool = False
    challenge: str = "Bearer"
    rates: Rates = field(default_factory=Rates)

    @property
    def is_closed(self) -> bool:
        """Whether a token is asked for."""
        named = self.tokens is not None and self.tokens.are_asked_for
        return bool(self.token or self.is_shut or self.introspect or named)

    async def caller(self, headers: Headers) -> Caller | None:
        """Null for the owner. Raises TurnedAway."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip()
        if scheme.lower() != "bearer" or not given:
            raise self._unknown()
        if self.token and hmac.compare_digest(given.encode(), self.token.encode()):
            return None
        caller = self.tokens.of_secret(given) if self.tokens else None
        if caller is None and self.introspect and not given.startswith(PREFIX):
            caller = await self.introspect(given)
        if caller is None:
            raise self._unknown()
        if (wait_s := self.rates.take(caller.id, caller.rate)) is not None:
            told = f"{caller.name} may call {caller.rate} times a minute: come again in {wait_s} s"
            raise TurnedAway(429, "rate", told, {"Retry-After": str(wait_s)})
        return caller

    def stands(self, caller: Caller | None) -> bool:
        """Whether somebody who came in may stay."""
        return caller is None or (self.tokens is not None and self.tokens.stands(caller))

    def _unknown(self) -> TurnedAway:
        words = "expected Authorization: Bearer <token>"
        return TurnedAway(401, "token", words, {"WWW-Authenticate": self.challenge})
