"""The other end of `wire.redis.pairing`: a machine that was told a code asks for a user of its own."""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import secrets
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from wire import QueueDown
from wire.redis.pairing import LIMIT_S, Answer, Asking, NotPaired, hashed, is_machine, passing_user
from wire.redis.server import Server

_AGAIN = "make a new one (`tandem pair` on the queue's machine)"


@dataclass(frozen=True, slots=True)
class Told:
    """What a code says. `key` is the stream's."""

    id: str
    secret: str = field(repr=False)
    key: str

    @property
    def place(self) -> str:
        return f"{self.key}:pair:{self.id}"


UrlOf = Callable[[str, str], str]
"""(user, address) -> the URL, which names the only CA that is believed."""


async def redeem(told: Told, addresses: Sequence[str], url_of: UrlOf, name: str, secret: str) -> tuple[str, str]:
    """(the user that we are now, whose password is `secret`; the first address that answered). Raises NotPaired."""
    user = passing_user(told.id)
    address = await _first(addresses, lambda one: _is_waited_for(url_of(user, one), told))
    asking = Asking(secrets.token_hex(16), name, hashed(secret))
    async with _server(url_of(user, address), told.secret) as server:
        # All over one connection: with the first word the code is used, and lets no other in.
        await _of_code(server, server.taking.rpush(f"{told.place}:asked", msgspec.json.encode(asking)))
        place = f"{told.place}:answer:{asking.nonce}"
        found = await _of_code(server, server.taking.blpop([place], timeout=LIMIT_S))
        if not found:
            raise NotPaired(f"nobody waits for this code any more: {_AGAIN}")
        answer = _read(found[1])
        if answer.refused or not is_machine(answer.user):
            raise NotPaired(answer.refused or f"the queue's machine gave no user: {_AGAIN}")
        async with _server(url_of(answer.user, address), secret) as own:
            await _of_code(own, own.redis.ping())
        await _of_code(
            server, server.taking.rpush(f"{told.place}:asked", msgspec.json.encode(Asking(asking.nonce, done=True)))
        )
    return answer.user, address


def _read(data: bytes) -> Answer:
    try:
        return msgspec.json.decode(data, type=Answer)
    except msgspec.DecodeError:
        return Answer()


async def _first(addresses: Sequence[str], is_there: Callable[[str], Awaitable[None]]) -> str:
    """All are called at once: one that does not answer must not keep the others waiting."""
    answered: list[str] = []
    refusals: list[str] = []

    async def call(address: str, tasks: anyio.abc.TaskGroup) -> None:
        try:
            await is_there(address)
            answered.append(address)
            tasks.cancel_scope.cancel()
        except QueueDown as error:
            refusals.append(str(error))

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                tasks.start_soon(call, address, tasks)
    except* NotPaired as group:
        raise group.exceptions[0] from None
    if not answered:
        raise NotPaired("; ".join(sorted(refusals)))
    return answered[0]


async def _is_waited_for(url: str, told: Told) -> None:
    async with _server(url, told.secret) as server:
        if not await _of_code(server, server.redis.exists(f"{told.place}:waits")):
            raise NotPaired(f"nobody waits for this code any more: {_AGAIN}")


async def _of_code(server: Server, answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (AuthenticationError, NoPermissionError) as error:
        raise NotPaired(f"{server.where} knows this code no more: it was used, or has expired; {_AGAIN}") from error
    except (RedisError, OSError) as error:
        raise QueueDown(_away(server, error)) from error


def _away(server: Server, error: Exception) -> str:
    met = error.__context__
    if not isinstance(met, ssl.SSLCertVerificationError):
        return str(server.down(error))
    why = met.verify_message.rstrip(".")
    if "not yet valid" in why or "expired" in why:
        return f"{server.where} shows a certificate that is not valid now ({why}): set both machines' clocks right"
    if "mismatch" in why:
        return (
            f"{server.where} shows a certificate for other addresses ({why}): start the queue once more, as "
            f"`tandem queue --address ADDRESS` with the one by which this machine reaches it, and make a new code"
        )
    return f"{server.where} shows a certificate that is not by the CA in the code ({why}): another server answers there"


@asynccontextmanager
async def _server(url: str, password: str) -> AsyncGenerator[Server]:
    server = Server(url, password, LIMIT_S)
    try:
        yield server
    finally:
        await server.close()
