"""A connection that is open before it is needed.

To open one takes three or four calls (TCP, TLS, the password), each as long as there and back: over a slow link, what
finds none free is as late as that.
"""

# redis-py leaves many of its types out.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeArgument=false

from contextlib import suppress
from typing import Any

from anyio.abc import TaskGroup
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError


class ReadyPool(BlockingConnectionPool):
    """With `tasks`, another connection is opened beside while the last free one is taken."""

    tasks: TaskGroup | None = None
    _opening = False

    @property
    def free(self) -> int:
        """How many are open, or to be opened again, and used by nobody."""
        return len(self._available_connections)

    async def get_connection(self, *words: Any, **options: Any) -> Any:
        if self.tasks and not self._opening and self.free < 2:
            self._opening = True
            self.tasks.start_soon(self._open)
        return await super().get_connection(*words, **options)

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        try:
            await super().ensure_connection(connection)
        except AttributeError as error:  # redis-py looks into an answer that no Redis gives
            await connection.disconnect(nowait=True)  # else who takes it next finds it open, without its password told
            raise RedisConnectionError("expected a Redis server") from error

    async def _open(self) -> None:
        try:
            with suppress(Exception):  # whoever needs one meets the same, and tells; the wire's other tasks go on
                await self.release(await super().get_connection())
        finally:
            self._opening = False
