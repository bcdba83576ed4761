"""The connections to one Redis server, and their errors in words."""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import hashlib
import ssl
from collections.abc import Awaitable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import anyio
from anyio.abc import TaskGroup
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from wire import QueueDown
from wire.redis.ready import ReadyPool
from wire.redis.sentinel import FollowingPool, Named, NoPrimary, Primary, follow, named
from wire.redis.trust import share

# Jobs in an answer that nobody waited for would be in our name and in nobody's hands.
TAKE_LIMIT_S = 10.0
CONNECTIONS = 32
T = TypeVar("T")


class Step:
    """A Lua script, known to the server by its hash."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Server:
    def __init__(self, url: str, password: str | None, limit_s: float) -> None:
        self.limit_s = limit_s
        self._tls = url.startswith("rediss")
        self._sentinels: dict[str, Redis] = {}
        self._primary: Primary | None = None
        if several := _named(url):
            # Half of the limit, for the server is to be called within it too.
            self._sentinels = {
                where: _client(one, None, limit_s / 2, limit_s / 2) for where, one in several.sentinels.items()
            }
            self._primary = Primary(several.name, self._sentinels)
            url = several.server
        self.redis = _client(url, password, limit_s, limit_s, self._primary)
        self.taking = _client(url, password, limit_s, TAKE_LIMIT_S, self._primary)

    @property
    def where(self) -> str:
        if self._primary:
            return self._primary.where
        where = self.redis.connection_pool.connection_kwargs
        return where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"

    async def close(self) -> None:
        """Within the limit, whether or not the server says goodbye."""
        with anyio.move_on_after(self.limit_s, shield=True):
            # In tasks: of a cancellation, redis-py's gathering forgets whose it was, and ours would end our caller.
            async with anyio.create_task_group() as closing:
                for client in (self.redis, self.taking, *self._sentinels.values()):
                    closing.start_soon(_close, client)

    @contextmanager
    def keeping_ready(self, tasks: TaskGroup) -> Generator[ReadyPool]:
        """Meanwhile a call finds a connection open; the connections. `tasks` must live longer."""
        pool = cast("ReadyPool", self.redis.connection_pool)
        pool.tasks = tasks
        try:
            yield pool
        finally:
            pool.tasks = None

    async def seek(self) -> None:
        """Whether another server is the primary by now, where sentinels can tell: all connections then go there."""
        if self._primary:
            with suppress(NoPrimary):
                await self._primary.find()

    async def ask(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except (RedisError, OSError) as error:
            raise self.down(error) from error

    async def run(self, step: Step, keys: Sequence[str], *values: str | bytes | float) -> Any:
        try:
            return await self.redis.evalsha(step.sha, len(keys), *keys, *values)
        except NoScriptError:  # the server is new, or has restarted
            return await self.ask(self.redis.eval(step.source, len(keys), *keys, *values))
        except (RedisError, OSError) as error:
            raise self.down(error) from error

    def down(self, error: Exception | None) -> QueueDown:
        if error and isinstance(found := error.__cause__, NoPrimary):
            return _unfound(found, self._tls)
        match error:
            case AuthenticationError():
                return QueueDown(
                    f"Redis at {self.where} refused the password: set REDIS_URL or REDIS_KEY right; where this machine "
                    "was paired, that was taken back: pair it again by a new code (`tandem pair` on the queue's "
                    "machine), or forget it (`tandem pair --leave`)"
                )
            case NoPermissionError():
                return QueueDown(self._forbidden(error))
            case RedisTimeoutError() | TimeoutError():
                or_plain = ", and does it speak TLS" if self._tls else ""
                return QueueDown(f"Redis at {self.where} did not answer in time: is it up, and reachable{or_plain}?")
            # Redis 7.0 has no code of its own for what a script may not do.
            case ResponseError() if "user executing the script" in str(error):
                return QueueDown(self._forbidden(error))
            case ResponseError():
                return QueueDown(f"Redis at {self.where} refused: {error}")
            case _:
                return QueueDown(f"Redis at {self.where} {_unreached(error, self._tls)}")

    def _forbidden(self, error: Exception) -> str:
        return (
            f"Redis at {self.where} does not allow this user that: see compose/users.acl, or REDIS_URL's user ({error})"
        )


async def _close(client: Redis) -> None:
    with suppress(RedisError, OSError):
        await client.aclose()


def _named(url: str) -> Named | None:
    try:
        return named(url)
    except ValueError:
        raise ValueError(
            "expected REDIS_URL as redis+sentinel://[user:password@]host:26379[,host:26379…]/NAME[/db], or, with TLS, "
            "as rediss+sentinel://…/NAME[?ssl_ca_certs=FILE], NAME being what the sentinels call the primary"
        ) from None


def _client(
    url: str, password: str | None, connect_limit_s: float, limit_s: float, primary: Primary | None = None
) -> Redis:
    options: dict[str, Any] = {"password": password} if password else {}
    try:
        pool = (FollowingPool if primary else ReadyPool).from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=10,
            socket_timeout=limit_s,
            socket_connect_timeout=connect_limit_s,
            # No retry and no silent reconnect: what is repeated, and when, is decided above.
            retry=Retry(NoBackoff(), 0, supported_errors=()),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            # Nor a call of each new connection to say who made redis-py.
            driver_info=None,
            **options,
        )
        # An option that this kind of connection has not is told only when one is made.
        pool.connection_class(**pool.connection_kwargs)
        share(pool)
        if primary and isinstance(pool, FollowingPool):
            follow(pool, primary)
    except (ValueError, TypeError, RedisError):
        # Not redis-py's words: they may quote a part of the password.
        raise ValueError(
            "expected REDIS_URL as redis://[user:password@]host:port[/db], or, with TLS, as "
            "rediss://[user:password@]host:port[/db][?ssl_ca_certs=FILE]"
        ) from None
    return Redis.from_pool(pool)


def _unfound(found: NoPrimary, tls: bool) -> QueueDown:
    match found.met:
        case None:
            return QueueDown(str(found))
        case AuthenticationError() | NoPermissionError():
            return QueueDown(
                f"the sentinel at {found.sentinel} refused us ({found.met}): its user and password go into REDIS_URL "
                "as ?sentinel_username=…&sentinel_password=…"
            )
        case RedisTimeoutError() | TimeoutError():
            or_plain = ", and does it speak TLS" if tls else ""
            return QueueDown(f"no sentinel answers in time: is {found.sentinel} up, and reachable{or_plain}?")
        case _:
            return QueueDown(f"no sentinel answers: the one at {found.sentinel} {_unreached(found.met, tls)}")


def _unreached(error: Exception | None, tls: bool) -> str:
    """redis-py has one class for all of it; what was the matter is in the error that it met."""
    met = error.__context__ if error else None
    if isinstance(met, ssl.SSLCertVerificationError):
        why = met.verify_message.rstrip(".")
        return f"shows a certificate that is not believed ({why}): name its CA, REDIS_URL=rediss://…?ssl_ca_certs=FILE"
    if isinstance(met, ssl.SSLError) and "WRONG_VERSION" not in str(met):
        return f"could not be spoken to by TLS ({met}): is the file that REDIS_URL names as ssl_ca_certs a certificate?"
    if tls and isinstance(met, FileNotFoundError):
        return "was not called: REDIS_URL names a file of certificates (ssl_…) that is not there"
    if isinstance(met, ConnectionResetError | ssl.SSLError):
        other = "redis:// where it speaks no TLS" if tls else "rediss:// where it speaks TLS"
        return f"cannot be reached: start it, or set REDIS_URL right (it hung up; {other})"
    return "cannot be reached: start it, or set REDIS_URL right"
