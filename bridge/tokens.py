"""Who may call over TCP by a token of their own: named, limited to some folders, and revoked one by one.

They are kept in `tokens.json` in the data folder, which only its user may read. A secret is 32 random bytes and is not
kept: its SHA-256 is. The file is looked at before each use, so a daemon under way knows at once what another process
added or revoked. It stays when its last token is revoked: to be open again to everybody is a decision of its own.
"""

import fcntl
import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bridge.callers import Caller
from bridge.service import BadInput
from bridge.written import write_private
from indexer.filters import Reach

logger = logging.getLogger("tandem")

PREFIX = "tandem_"  # by which programs that look for secrets, and people, know one
RATE = 300
ASKS = 30
_NAME = re.compile(r"[\w.@+-]{1,64}")


class Token(msgspec.Struct, frozen=True):
    """`sha256` is null where `subject` is not: the name by which an authorization server knows this caller. `folders`
    and `globs`: as in `Reach`; everything where both are null. Times are seconds since the epoch."""

    id: str
    name: str
    created: float
    sha256: str | None = None
    subject: str | None = None
    folders: tuple[str, ...] | None = None
    globs: tuple[str, ...] | None = None
    rate: int | None = RATE
    asks: int | None = ASKS
    expires: float | None = None

    @property
    def caller(self) -> Caller:
        everything = self.folders is None and self.globs is None
        reach = None if everything else Reach(self.folders or (), self.globs or ())
        return Caller(self.id, self.name, reach, self.rate, self.asks, self.expires)


class _Kept(msgspec.Struct, frozen=True):
    """`key` is by what the daemon knows whose answer an id is."""

    key: str
    tokens: tuple[Token, ...] = ()
    version: int = 1


class Unreadable(Exception):
    """The file is not what this version of Tandem wrote; the message says what to do."""


class Tokens:
    """What `file` says now. Every method looks whether it has changed, which costs some microseconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._kept: _Kept | None = None
        self._own_key = secrets.token_hex(32)
        self._by_hash: dict[str, Token] = {}
        self._by_subject: dict[str, Token] = {}
        self._ids: frozenset[str] = frozenset()

    @property
    def are_asked_for(self) -> bool:
        """Whether there has ever been a token: from then on nobody comes in over TCP without one."""
        self._look()
        return self._seen is not None

    @property
    def key(self) -> bytes:
        self._look()
        return bytes.fromhex(self._kept.key if self._kept else self._own_key)

    def of_secret(self, secret: str) -> Caller | None:
        """Null also where it has expired."""
        self._look()
        return _in_time(self._by_hash.get(_hash(secret)))

    def of_subject(self, subject: str) -> Caller | None:
        self._look()
        return _in_time(self._by_subject.get(subject))

    def stands(self, caller: Caller) -> bool:
        """Whether they may still go on."""
        self._look()
        return caller.id in self._ids and not _is_over(caller.expires)

    def _look(self) -> None:
        try:
            found = self._file.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            seen = None
        if seen == self._seen:
            return
        self._seen, self._kept = seen, None
        try:
            self._kept = read(self._file)
        except Unreadable as error:
            logger.error("nobody comes in by a named token: %s", error)
        tokens = self._kept.tokens if self._kept else ()
        self._by_hash = {one.sha256: one for one in tokens if one.sha256}
        self._by_subject = {one.subject: one for one in tokens if one.subject}
        self._ids = frozenset(one.id for one in tokens)


def read(file: Path) -> _Kept | None:
    """None where there is no file. Raises Unreadable."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
        bytes.fromhex(kept.key)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Unreadable(
            f"{file} was expected to hold tokens, as `tandem token add` writes them: {error}. Bring it back from a "
            "backup; or remove it, and give new tokens"
        ) from error
    return kept


def add(file: Path, token: Token) -> None:
    """Raises BadInput where the name, or the subject, is another's or is none."""
    if not _NAME.fullmatch(token.name):
        raise BadInput(f"expected a name of 1 to 64 letters, digits and . _ @ + -; got {token.name[:80]!r}")
    with _changing(file) as kept:
        if any(one.name == token.name for one in kept.tokens):
            raise BadInput(
                f"there is a token {token.name!r}: choose another name, or `tandem token revoke {token.name}` first"
            )
        if token.subject and (other := next((one for one in kept.tokens if one.subject == token.subject), None)):
            raise BadInput(f"{token.subject!r} has a token: {other.name!r}; revoke that first")
        _write(file, msgspec.structs.replace(kept, tokens=(*kept.tokens, token)))


def revoke(file: Path, name: str) -> int:
    """How many are left. Raises BadInput where there is none of this name."""
    with _changing(file) as kept:
        left = tuple(one for one in kept.tokens if one.name != name)
        if len(left) == len(kept.tokens):
            raise BadInput(f"there is no token {name[:80]!r}; `tandem token ls` lists them")
        _write(file, msgspec.structs.replace(kept, tokens=left))
    return len(left)


def listed(file: Path) -> Sequence[Token]:
    kept = read(file)
    return kept.tokens if kept else ()


def new_secret() -> tuple[str, str]:
    """(the secret, its hash)."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, _hash(secret)


def new_id() -> str:
    return secrets.token_hex(8)


@contextmanager
def _changing(file: Path) -> Generator[_Kept]:
    """One process at a time. The daemon's lock is another one: it runs meanwhile."""
    descriptor = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield read(file) or _Kept(secrets.token_hex(32))
    finally:
        os.close(descriptor)


def _write(file: Path, kept: _Kept) -> None:
    write_private(file, msgspec.json.format(msgspec.json.encode(kept), indent=1))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _in_time(token: Token | None) -> Caller | None:
    return token.caller if token and not _is_over(token.expires) else None


def _is_over(expires: float | None) -> bool:
    return expires is not None and time.time() >= expires
