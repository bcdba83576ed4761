"""Callers whom an authorization server vouches for (OAuth 2.1): this daemon is the resource, another program logs in.

Each access token is shown to the server's introspection endpoint (RFC 7662), and what it said holds for half a minute.
Who is meant by it must be let in here: `tandem token add NAME --oauth SUBJECT` says what they may see. Clients find the
server by the metadata of RFC 9728, which the MCP SDK writes.
"""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
import msgspec
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from starlette.routing import BaseRoute, Route

from bridge.callers import Caller
from bridge.door import TurnedAway
from bridge.settings import Settings
from bridge.tokens import Tokens

logger = logging.getLogger("tandem")

HOLDS_S = 30.0
_MOST = 1_000
_TIMEOUT_S = 5.0
_RETRY_AFTER_S = 5
_ROOT = "/.well-known/oauth-protected-resource"


class _Said(msgspec.Struct, frozen=True):
    """What an authorization server says of a token, as far as we ask."""

    active: bool = False
    sub: str | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    exp: float | None = None


@dataclass(slots=True)
class OAuth:
    """Open with `opened_oauth`. `challenge`: what a 401 tells a client; `routes`: where it then looks."""

    client: httpx.AsyncClient
    url: str
    issuer: str
    resource: str
    tokens: Tokens
    challenge: str
    routes: Sequence[BaseRoute]
    _kept: OrderedDict[bytes, tuple[float, _Said]] = field(default_factory=OrderedDict[bytes, tuple[float, _Said]])

    async def caller(self, token: str) -> Caller | None:
        """Null where the token is none. Raises TurnedAway."""
        said = await self._introspected(token)
        audience = [said.aud] if isinstance(said.aud, str) else said.aud or []
        is_ours = _bare(self.resource) in map(_bare, audience) and _bare(said.iss or self.issuer) == _bare(self.issuer)
        if not said.active or not said.sub or not is_ours or (said.exp is not None and said.exp <= time.time()):
            return None
        known = self.tokens.of_subject(said.sub)
        if known is None:
            words = (
                f"{said.sub[:80]!r} is known to {self.issuer}, and was not let in here: ask whoever runs this Tandem"
            )
            raise TurnedAway(403, "scope", words)
        ends = [moment for moment in (known.expires, said.exp) if moment is not None]
        return replace(known, expires=min(ends, default=None))

    async def _introspected(self, token: str) -> _Said:
        key, now = hashlib.sha256(token.encode(errors="replace")).digest(), time.monotonic()
        until, said = self._kept.get(key, (0.0, None))
        if said is None or now >= until:
            said = await self._asked(token)
            self._kept[key] = now + HOLDS_S, said
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return said

    async def _asked(self, token: str) -> _Said:
        try:
            reply = await self.client.post(self.url, data={"token": token, "token_type_hint": "access_token"})
            reply.raise_for_status()
            return msgspec.json.decode(reply.content, type=_Said)
        except (httpx.HTTPError, ValueError) as error:
            logger.warning("%s could not be asked about a token: %s: %s", self.url, type(error).__name__, error)
            words = f"the authorization server {self.issuer} cannot be asked about your token now: come again"
            raise TurnedAway(503, "unavailable", words, {"Retry-After": str(_RETRY_AFTER_S)}) from error


@asynccontextmanager
async def opened_oauth(settings: Settings, tokens: Tokens) -> AsyncGenerator[OAuth]:
    issuer, url, resource = settings.oauth_issuer, settings.oauth_introspection_url, settings.oauth_resource
    assert issuer and url and resource
    ours = None
    if settings.oauth_client_id:
        ours = httpx.BasicAuth(settings.oauth_client_id, settings.oauth_client_secret or "")
    async with httpx.AsyncClient(auth=ours, timeout=_TIMEOUT_S, headers={"Accept": "application/json"}) as client:
        yield OAuth(client, url, issuer, resource, tokens, *_metadata(issuer, resource))


def _metadata(issuer: str, resource: str) -> tuple[str, Sequence[BaseRoute]]:
    # Parsed by this model both URLs stay as they were written, without a slash at their end.
    parsed = AuthSettings.model_validate(
        {"issuer_url": issuer, "resource_server_url": resource, "validate_token_resource": False}
    )
    assert parsed.resource_server_url
    (told,) = create_protected_resource_routes(parsed.resource_server_url, [parsed.issuer_url], resource_name="Tandem")
    routes = [told] if told.path == _ROOT else [told, Route(_ROOT, told.endpoint, methods=["GET", "OPTIONS"])]
    return f'Bearer resource_metadata="{build_resource_metadata_url(parsed.resource_server_url)}"', routes


def _bare(url: str) -> str:
    return url.rstrip("/")
