"""Two machines are paired through the queue they are to share. Of secrets only hashes travel, and only over TLS.

beside the queue, as the user `pair`          on the other machine, as the user once-ID
makes once-ID; SET waits, again and again     EXISTS waits: somebody is there
BLPOP asked                               <-  RPUSH asked {nonce, name, sha256 of its own secret}
once-ID off: nobody else comes in by it
makes ROLE-NAME with ROLE's rights; ACL SAVE
RPUSH answer:NONCE {user}                 ->  BLPOP answer:NONCE; logs in as that user
removes once-ID                           <-  RPUSH asked {nonce, done}

All keys begin with {key}:pair:ID; while a name is given, {key}:pair:name:USER is there. Redis 7.0 or newer, with a
file of its users.
"""

# redis-py leaves many of its answers untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec

from wire import QueueDown
from wire.redis.server import Server

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
ROLES = ("bridge", "worker")
LIMIT_S = 5.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WAITS_MS = 3000
_ADMITS_MS = 10_000
_LOOK_S = 1
_PASSING = "once-"


class NotPaired(Exception):
    """The message says why not, and what to do."""


class NotKept(NotPaired):
    """The queue could not write down what it knows of its users."""


class Asking(msgspec.Struct, frozen=True, omit_defaults=True):
    """`sha256`: of the password that the machine has made for itself. `done`: it has what it asked for."""

    nonce: str
    name: str = ""
    sha256: str = ""
    done: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    user: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    user: str
    role: str
    name: str


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def passing_user(id_: str) -> str:
    return f"{_PASSING}{id_}"


class Registry:
    """Who is paired. Every call may raise QueueDown."""

    def __init__(self, server: Server, key: str) -> None:
        self._server, self._key = server, key

    async def machines(self) -> list[Machine]:
        return [Machine(user, *user.split("-", 1)) for user in sorted(await self._lines()) if is_machine(user)]

    async def revoke(self, user: str) -> bool:
        """From now on it is refused, and what connections it has are cut. Whether there was such a machine. Raises
        NotKept; then it is still listed, so that it can be revoked again."""
        if not is_machine(user) or not await self._acl("DELUSER", user):
            return False
        try:
            await self._acl("SAVE")
        except QueueDown as error:
            await self._acl("SETUSER", user, "reset")
            raise NotKept(
                f"{user} is refused for now, but the queue could not write that down, and would let it in again after "
                f"its next start: see to its disk, then revoke it once more ({error})"
            ) from error
        return True

    @asynccontextmanager
    async def offer(self, role: str, patience_s: float = 10.0) -> AsyncGenerator["Offer"]:
        """Lets one machine in, once, until it is left. `patience_s`: how long that one may take with its answer."""
        await self._sweep()
        offer = Offer(self, self._server, self._key, role, patience_s)
        user = passing_user(offer.id)
        try:
            await offer.wait_visibly()
            await self._acl("SETUSER", user, "reset", "on", f"#{hashed(offer.secret)}", *_passing_rights(offer.place))
            yield offer
        finally:
            with anyio.move_on_after(LIMIT_S, shield=True):
                with suppress(QueueDown):  # with it that user has gone too, for it was never saved alone
                    await self._acl("DELUSER", user)
                    await self._acl("SAVE")
                    await self._server.ask(self._server.redis.delete(f"{offer.place}:waits", f"{offer.place}:asked"))

    async def admit(self, role: str, name: str, sha256: str) -> str:
        """The user made for it. Raises NotPaired."""
        if not NAME.fullmatch(name) or not _SHA256.fullmatch(sha256):
            raise NotPaired("what it asked for could not be read: install the same Tandem on both machines")
        user = f"{role}-{name}"
        mine = f"{self._key}:pair:name:{user}"
        # Another `tandem pair` may be about to give the same name.
        is_mine = await self._server.ask(self._server.redis.set(mine, 1, px=_ADMITS_MS, nx=True))
        try:
            return await self._made(role, user, sha256, is_taken=not is_mine)
        finally:
            if is_mine:
                with anyio.move_on_after(LIMIT_S, shield=True), suppress(QueueDown):
                    await self._server.ask(self._server.redis.delete(mine))

    async def _made(self, role: str, user: str, sha256: str, *, is_taken: bool) -> str:
        lines = await self._lines()
        if is_taken or user in lines:
            # To replace it would cut off a machine that nobody has named, and a name of our own nobody would know.
            raise NotPaired(
                f"a machine is paired as {user}: give this one another name (`tandem pair --name NAME CODE`), or take "
                f"the pairing back first, on the queue's machine (`tandem pair --revoke {user}`)"
            )
        if role not in lines:
            raise NotPaired(f"the queue has no user {role!r} whose rights it could have: see compose/users.acl")
        await self._acl("SETUSER", user, "reset", "on", f"#{sha256}", *_rights(lines[role]))
        try:
            await self._acl("SAVE")
        except QueueDown as error:
            await self._acl("DELUSER", user)
            raise NotKept(f"the queue could not write down whom it lets in: see to its disk ({error})") from error
        return user

    async def close(self, id_: str) -> None:
        """Nobody comes in by that code any more; who is in may hear the answer."""
        await self._acl("SETUSER", passing_user(id_), "off", "resetpass")

    async def _sweep(self) -> None:
        """Removes what a `tandem pair` left that was killed."""
        for user in await self._lines():
            if user.startswith(_PASSING):
                waits = f"{self._key}:pair:{user.removeprefix(_PASSING)}:waits"
                if not await self._server.ask(self._server.redis.exists(waits)):
                    await self._acl("DELUSER", user)

    async def _lines(self) -> dict[str, str]:
        """User -> its line, as an ACL file has it."""
        lines = [line.decode() if isinstance(line, bytes) else line for line in await self._acl("LIST")]
        return {line.split(" ", 2)[1]: line for line in lines}

    async def _acl(self, *words: str) -> Any:
        return await self._server.ask(self._server.redis.execute_command("ACL", *words))


class Offer:
    """`id` and `secret` are what the other machine must be told. `place` is what its keys begin with."""

    def __init__(self, registry: Registry, server: Server, key: str, role: str, patience_s: float) -> None:
        self.id, self.secret = secrets.token_hex(6), secrets.token_urlsafe(16)
        self.place = f"{key}:pair:{self.id}"
        self._registry, self._server, self._role, self._patience_s = registry, server, role, patience_s

    async def taken(self, within_s: float) -> str | None:
        """The user that the first machine was given; null where none has asked. Raises NotPaired where it went away, or
        was not written down."""
        until = anyio.current_time() + within_s
        while anyio.current_time() < until:
            # What has begun is brought to its end, or there would be a user that nobody has.
            asking = await self._heard()
            user = None
            with anyio.CancelScope(shield=True):
                user = await self._answered(asking)
            if user:
                return user
        return None

    async def wait_visibly(self) -> None:
        await self._server.ask(self._server.redis.set(f"{self.place}:waits", 1, px=_WAITS_MS))

    async def _answered(self, asking: Asking | None) -> str | None:
        if asking is None or asking.done:
            return None
        try:
            user = await self._registry.admit(self._role, asking.name, asking.sha256)
        except NotPaired as error:
            await self._tell(asking, Answer(refused=str(error)))
            if isinstance(error, NotKept):
                raise
            return None
        await self._registry.close(self.id)
        await self._tell(asking, Answer(user=user))
        if await self._acknowledged(asking):
            return user
        await self._registry.revoke(user)
        raise NotPaired(f"{user} asked, and went away before it was let in: make a new code")

    async def _acknowledged(self, first: Asking) -> bool:
        with anyio.move_on_after(self._patience_s):
            while True:
                asking = await self._heard()
                if asking and asking.nonce == first.nonce:
                    return True
                if asking:
                    await self._tell(asking, Answer(refused=_USED))
        return False

    async def _heard(self) -> Asking | None:
        """What a machine says within a second; what cannot be read is nothing."""
        await self.wait_visibly()
        found = await self._server.ask(self._server.taking.blpop([f"{self.place}:asked"], timeout=_LOOK_S))
        try:
            return msgspec.json.decode(found[1], type=Asking) if found else None
        except msgspec.DecodeError:
            return None

    async def _tell(self, asking: Asking, answer: Answer) -> None:
        place = f"{self.place}:answer:{asking.nonce[:64]}"
        pipe = self._server.redis.pipeline(transaction=False)
        pipe.rpush(place, msgspec.json.encode(answer))
        pipe.expire(place, 60)
        await self._server.ask(pipe.execute())


_USED = "another machine has just used this code: make a new one (`tandem pair` on the queue's machine)"


def _passing_rights(place: str) -> Sequence[str]:
    """To hand over one request and read one answer."""
    asks = f"(+rpush %W~{place}:asked)"
    return ("resetkeys", "resetchannels", "-@all", asks, f"(+blpop ~{place}:answer:*)", f"(+exists %R~{place}:waits)")


def _rights(line: str) -> Sequence[str]:
    """Of a user's line, all but who it is."""
    ours = ("on", "off", "nopass", "resetpass", "sanitize-payload", "skip-sanitize-payload")
    return [word for word in line.split()[2:] if word not in ours and not word.startswith("#")]


def is_machine(user: str) -> bool:
    role, _, name = user.partition("-")
    return role in ROLES and bool(NAME.fullmatch(name))


@asynccontextmanager
async def _closing(server: Server, key: str) -> AsyncGenerator[Registry]:
    try:
        yield Registry(server, key)
    finally:
        await server.close()


def registry(url: str, password: str | None, key: str) -> AbstractAsyncContextManager[Registry]:
    """As the user `pair`. Raises ValueError for a URL that is none."""
    return _closing(Server(url, password, LIMIT_S), key)
