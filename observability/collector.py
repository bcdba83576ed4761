"""Where spans go: a collector's address, and one request to it."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

ANSWER_S = 5.0

# The statuses after which OTLP/HTTP lets a client send the same batch again. Sent twice is kept once: Phoenix
# knows a span by its id.
AGAIN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Address:
    """Where spans go. `remedy` ends the sentence that says they do not get there."""

    url: httpx.URL
    headers: Mapping[str, str]
    remedy: str = "start Phoenix there, or correct or unset PHOENIX_COLLECTOR_ENDPOINT"

    def __str__(self) -> str:
        """Fit to be shown: without a user's name, password or token."""
        return str(self.url.copy_with(userinfo=b"", query=None))


def address(endpoint: str, api_key: str | None = None, remedy: str | None = None) -> Address:
    """`endpoint` with or without the path /v1/traces. Raises ValueError where it is no URL or the key no header."""
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            f"PHOENIX_COLLECTOR_ENDPOINT must be a URL like http://127.0.0.1:6006, not {endpoint!r}: "
            "correct or unset it"
        )
    path = url.path.rstrip("/")
    url = url.copy_with(path=path if path.endswith("/v1/traces") else f"{path}/v1/traces")
    headers = {"content-type": "application/x-protobuf"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable() and api_key):
            raise ValueError("PHOENIX_API_KEY must be printable ASCII on one line: copy the key again, or unset it")
        headers["authorization"] = f"Bearer {api_key}"
    return Address(url, headers, remedy) if remedy else Address(url, headers)


@dataclass(frozen=True, slots=True)
class Failure:
    what: str
    again: bool
    remedy: str | None = None


def client_for(where: Address) -> httpx.Client:
    # A proxy set for the Internet must not get what is meant for this machine.
    here = where.url.host in ("127.0.0.1", "localhost", "::1")
    return httpx.Client(headers=where.headers, timeout=ANSWER_S, trust_env=not here)


def posted(client: httpx.Client, where: Address, body: bytes) -> Failure | None:
    try:
        answer = client.post(where.url, content=body)
    except httpx.TimeoutException:
        return Failure(f"{where} did not answer within {ANSWER_S:g} s", again=True)
    except httpx.HTTPError as error:
        return Failure(f"{where} cannot be reached ({error})", again=True)
    if answer.is_success:
        return None
    if answer.status_code in (401, 403):
        remedy = "set PHOENIX_API_KEY to a key made in Phoenix under Settings, API Keys"
        return Failure(f"{where} refuses the key with {answer.status_code}", again=False, remedy=remedy)
    said = f"{where} answered {answer.status_code} {answer.reason_phrase}"
    return Failure(f"{said}: its own log says why", again=answer.status_code in AGAIN)
