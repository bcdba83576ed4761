"""The word that `tandem pair` prints and another machine is told: its fields, and a sum that tells a cut one (pure)."""

import binascii
import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from bridge.addresses import is_address

PREFIX = "tandempair1_"
_ANY_VERSION = re.compile(r"tandempair\d+_")
_SUM_BYTES = 6

Role = Literal["bridge", "worker"]


class WrongCode(ValueError):
    """The message says what is wrong with it, and never quotes it."""


class Code(msgspec.Struct, frozen=True, array_like=True):
    """`id` and `secret` are those of a user that Redis knows for one pairing. `ca` is a certificate (DER), and what the
    server shows must be by it."""

    role: Role
    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{1,64}\Z")]
    secret: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,200}\Z")]
    stream_key: Annotated[str, Meta(pattern=r"\A[^\x00-\x20\x7f]{1,200}\Z")]
    port: Annotated[int, Meta(ge=1, le=65535)]
    addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=32)]
    ca: Annotated[bytes, Meta(max_length=16_384)]

    def __post_init__(self) -> None:
        if not all(map(is_address, self.addresses)):
            raise ValueError("an address was expected to be a host name or an IP address")

    def __repr__(self) -> str:
        return f"Code({self.role}, {self.id})"


def write(code: Code) -> str:
    body = msgspec.msgpack.encode(code)
    return PREFIX + urlsafe_b64encode(_sum(body) + body).decode().rstrip("=")


def read(text: str) -> Code:
    """White space in it means nothing. Raises WrongCode."""
    word = "".join(text.split())
    if not word:
        raise WrongCode(f"expected a code, {PREFIX}…, as `tandem pair` prints it on the queue's machine; got nothing")
    if not word.startswith(PREFIX):
        if _ANY_VERSION.match(word):
            raise WrongCode("the code is of another version of Tandem: install the same one on both machines")
        raise WrongCode(
            f"expected a code, {PREFIX}…, as `tandem pair` prints it on the queue's machine; what came begins otherwise"
        )
    try:
        coded = word.removeprefix(PREFIX)
        raw = urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        told, body = raw[:_SUM_BYTES], raw[_SUM_BYTES:]
        if told != _sum(body):
            raise ValueError
        return msgspec.msgpack.decode(body, type=Code)
    except (binascii.Error, ValueError):
        raise WrongCode(
            "the code is cut or mistyped: copy the whole of it, from tandempair to its end, or make a new one"
        ) from None


def _sum(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_SUM_BYTES]
