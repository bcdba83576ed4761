"""TLS to a Redis server: whom a client believes, decided once for all its connections.

redis-py reads the system's certificates anew for each connection, which holds everything else in the process up for
some 70 ms: thirty at once, and their handshakes are late for no other reason.
"""

# redis-py leaves many of its types out.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import ssl
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, SSLConnection
from redis.asyncio.connection import RedisSSLContext


def share(pool: BlockingConnectionPool) -> None:
    """All TLS connections of this pool have one context. Raises what a connection raises for options it has not."""
    if issubclass(pool.connection_class, SSLConnection):
        first = pool.connection_class(**pool.connection_kwargs)
        pool.connection_kwargs["trust"] = _Trust(first.ssl_context)
        pool.connection_class = Trusting


class _Trust:
    """Made with the first connection, so that a file that is missing is named by each that is tried without it."""

    def __init__(self, options: RedisSSLContext) -> None:
        self._options = options
        self._context: ssl.SSLContext | None = None

    def get(self) -> ssl.SSLContext:
        self._context = self._context or _context(self._options)
        return self._context


class Trusting(SSLConnection):
    def __init__(self, *, trust: _Trust, **options: Any) -> None:
        super().__init__(**options)
        self._trust = trust

    def _connection_arguments(self) -> dict[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": self._trust.get()}


def _context(options: RedisSSLContext) -> ssl.SSLContext:
    """Where a CA is named it is the only one that is believed; else the system's are."""
    context = ssl.create_default_context(cafile=options.ca_certs, capath=options.ca_path, cadata=options.ca_data)
    context.check_hostname = options.check_hostname
    context.verify_mode = cast("ssl.VerifyMode", options.cert_reqs)
    for flag in options.include_verify_flags or ():
        context.verify_flags |= flag
    for flag in options.exclude_verify_flags or ():
        context.verify_flags &= ~flag
    if options.certfile:
        context.load_cert_chain(options.certfile, options.keyfile, options.password)
    if options.min_version is not None:
        context.minimum_version = cast("ssl.TLSVersion", options.min_version)
    if options.ciphers is not None:
        context.set_ciphers(options.ciphers)
    return context
