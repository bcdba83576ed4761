"""Several Redis servers of which one is the primary: sentinels say which, and choose another when it is gone.

find        all sentinels are asked at once; of what half of them say, the latest choice counts
follow      a pool's connections go to the primary; once it is another one, they go there at their next use
"""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from weakref import WeakSet

import anyio
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from wire.redis.ready import ReadyPool
from wire.redis.trust import Trusting

_URL = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#@]+)/(?P<name>[^/?#]+)"
    r"(?:/(?P<db>\d+)?)?(?:\?(?P<query>[^#]*))?"
)
_PORT = 26379
Address = tuple[str, int]


class NoPrimary(Exception):
    """The message says what the sentinels answered. `met`: why one of them, `sentinel`, did not; else it is null."""

    def __init__(self, message: str, sentinel: str = "", met: Exception | None = None) -> None:
        super().__init__(message)
        self.sentinel, self.met = sentinel, met


@dataclass(frozen=True, slots=True)
class Named:
    """`server`: REDIS_URL as it would be of one server, to which the address is missing; `sentinels`: theirs, by
    host:port."""

    name: str
    server: str
    sentinels: Mapping[str, str]


def named(url: str) -> Named | None:
    """Null for the URL of a server. Raises ValueError for one of sentinels that cannot be read."""
    if not url.startswith(("redis+sentinel:", "rediss+sentinel:")):
        return None
    if not (read := _URL.fullmatch(url)):
        raise ValueError(url)
    options = dict(parse_qsl(read["query"] or "", keep_blank_values=True, strict_parsing=bool(read["query"])))
    login = f"{quote(options.pop('sentinel_username', ''))}:{quote(options.pop('sentinel_password', ''), safe='')}@"
    rest, scheme = f"?{urlencode(options)}" if options else "", read["scheme"]
    without_db = {name: value for name, value in options.items() if name != "db"}
    theirs = f"?{urlencode(without_db)}" if without_db else ""
    hosts = [_host(one) for one in read["hosts"].split(",")]
    return Named(
        unquote(read["name"]),
        f"{scheme}://{read['user'] + '@' if read['user'] else ''}{hosts[0]}/{read['db'] or ''}{rest}",
        {host: f"{scheme}://{login if login != ':@' else ''}{host}{theirs}" for host in hosts},
    )


def _host(word: str) -> str:
    parts = urlsplit(f"//{word}")
    if not parts.hostname:
        raise ValueError(word)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or _PORT}"


class Primary:
    """The one server that takes what is written. Its connections are told when it is another one."""

    def __init__(self, name: str, sentinels: Mapping[str, Redis]) -> None:
        self._name, self._sentinels = name, sentinels
        self._finding = anyio.Lock()
        self._began = float("-inf")
        self._found: Address | NoPrimary = NoPrimary("")
        self._address: Address | None = None
        self.connections: WeakSet[Connection] = WeakSet()

    @property
    def where(self) -> str:
        who = f"{self._name} of the sentinels {', '.join(self._sentinels)}"
        return f"{self._address[0]}:{self._address[1]} ({who})" if self._address else who

    async def find(self) -> Address:
        """As the sentinels say now; who asks at the same time is told the same. Raises NoPrimary."""
        asked = anyio.current_time()
        async with self._finding:
            if self._began < asked:
                began = anyio.current_time()
                self._found = await self._asked()
                self._began = began
        if isinstance(self._found, NoPrimary):
            raise NoPrimary(str(self._found), self._found.sentinel, self._found.met)
        self._follow(self._found)
        return self._found

    def _follow(self, address: Address) -> None:
        if self._address not in (None, address):
            for connection in self.connections:
                connection.mark_for_reconnect()
        self._address = address

    async def _asked(self) -> Address | NoPrimary:
        said: list[dict[str, Any]] = []
        met: list[tuple[str, Exception]] = []

        async def ask(where: str, sentinel: Redis) -> None:
            try:
                said.append(cast("dict[str, Any]", await sentinel.sentinel_masters()))
            except (RedisError, OSError) as error:
                met.append((where, error))
            # One alone may be cut off, and name the former one.
            if len(said) >= (len(self._sentinels) + 1) // 2:
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for where, sentinel in self._sentinels.items():
                tasks.start_soon(ask, where, sentinel)
        if not said:
            return NoPrimary("no sentinel answers", *met[0])
        states = [masters[self._name] for masters in said if self._name in masters]
        if not states:
            known = sorted({name for masters in said for name in masters})
            return NoPrimary(
                f"the sentinels that REDIS_URL names know no {self._name!r}: expected after their addresses, "
                f"/{' or /'.join(known) or 'the name they are configured with'}"
            )
        living = [one for one in states if one["is_master"] and not (one["is_sdown"] or one["is_odown"])]
        if not living:
            return NoPrimary(
                f"the sentinels say that the primary of {self._name!r} is down: a moment later they have chosen "
                "another, where enough of them and a replica are up"
            )
        latest = max(living, key=lambda one: int(one["config-epoch"]))
        return str(latest["ip"]), int(latest["port"])


class FollowingPool(ReadyPool):
    """See `follow`."""

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        if connection.should_reconnect():
            await connection.disconnect()
        await super().ensure_connection(connection)


def follow(pool: FollowingPool, primary: Primary) -> None:
    """The connections of this pool, which trusts whom it trusts already, go to the primary."""
    by_tls = issubclass(pool.connection_class, Trusting)
    pool.connection_class = _FollowingByTLS if by_tls else _Following
    pool.connection_kwargs["primary"] = primary


class _Following(Connection):
    def __init__(self, *, primary: Primary, **options: Any) -> None:
        super().__init__(**options)
        self._primary = primary
        primary.connections.add(self)

    async def _connect(self) -> None:
        self.host, self.port = await self._primary.find()
        self.reset_should_reconnect()
        await super()._connect()

    async def read_response(self, *words: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*words, **options)
        except ResponseError as error:
            # A server that is no primary any more, or that has been cut off from all others and knows it.
            if isinstance(error, ReadOnlyError) or re.search("READONLY|NOREPLICAS", str(error)):
                self.mark_for_reconnect()
            raise


class _FollowingByTLS(_Following, Trusting):
    pass
