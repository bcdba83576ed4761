"""`tandem pair`: beside the queue, let a machine in, see who is in, take it back; elsewhere, come in, or leave."""

import argparse
import logging
import os
import re
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio

from bridge import paired, pairing_code
from bridge.folder import Folder, running
from bridge.leaving import leave
from bridge.overruled import overruling
from bridge.paired import Paired
from bridge.pairing_code import Code, WrongCode
from bridge.queue_server import HOW_REACHED, check_addresses, is_local, reachable, runs
from bridge.service import BadInput, Unavailable
from bridge.settings import Settings, WrongSetting, worded
from bridge.terminal import say, say_json, table
from bridge.whereabouts import unwritable
from bridge.written import put_in_place, write_private
from wire import QueueDown
from wire.redis.pairing import NAME, Machine, NotPaired, Registry, registry
from wire.redis.redeeming import Told, redeem

logger = logging.getLogger("tandem")


async def pair(arguments: argparse.Namespace, settings: Settings) -> None:
    try:
        if arguments.code:
            await _redeem(arguments, settings)
        elif arguments.ls:
            await _ls(arguments, settings)
        elif arguments.revoke:
            await _revoke(arguments, settings)
        elif arguments.leave:
            leave(arguments, settings)
        else:
            await _offer(arguments, settings)
    except NotPaired as error:
        raise Unavailable(str(error)) from error
    except QueueDown as error:
        entry = None if arguments.code else paired.read(settings.data, "pair")
        if entry and entry.url == settings.redis_url and not runs(settings.data):
            raise Unavailable("the queue of this machine does not run: start it with `tandem queue`") from error
        raise Unavailable(str(error)) from error


async def _offer(arguments: argparse.Namespace, settings: Settings) -> None:
    check_addresses(arguments.address)
    beside = _beside(settings)
    ca = ssl.PEM_cert_to_DER_cert(beside.ca.read_text())
    async with _registry(beside) as known, known.offer(arguments.role) as offer:
        port = arguments.port or int(beside.where.rpartition(":")[2])
        addresses = tuple(arguments.address) or reachable(settings.data)
        if not arguments.address and is_local(addresses):
            named = ", ".join(addresses)
            logger.warning("the code names only %s, by which no other machine gets here: %s", named, HOW_REACHED)
        code = Code(arguments.role, offer.id, offer.secret, beside.stream_key, port, addresses, ca)
        _show(arguments, pairing_code.write(code))
        user = await offer.taken(arguments.wait)
    if user is None:
        raise Unavailable(f"nobody used the code within {arguments.wait:g} s: it is void; `tandem pair` makes another")
    if arguments.json:
        say_json({"user": user})
    else:
        logger.info("%s is paired", user)


async def _redeem(arguments: argparse.Namespace, settings: Settings) -> None:
    try:
        code = await _typed() if arguments.code == "-" else pairing_code.read(arguments.code)
    except WrongCode as error:
        raise BadInput(str(error)) from error
    name = _name(arguments.name)
    Folder(settings.data).make()
    place = paired.folder(settings.data)
    ca, beside = place / "ca.crt", place / "ca.crt.new"
    pem = ssl.DER_cert_to_PEM_cert(code.ca)
    _check_ca(settings.data, code.role, pem)
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        write_private(beside, pem.encode())
        told, secret = Told(code.id, code.secret, code.stream_key), secrets.token_urlsafe(32)
        url_of = partial(_url, code.port, beside)
        user, address = await redeem(told, code.addresses, url_of, name, secret)
        put_in_place(beside, ca)
        entry = Paired(paired.url(user, address, code.port, ca), secret, code.stream_key)
        paired.write(settings.data, code.role, entry)
    except OSError as error:
        raise unwritable(place, error) from error
    finally:
        beside.unlink(missing_ok=True)
    if arguments.json:
        say_json({"user": user, "role": code.role, "queue": entry.where})
    else:
        say(f"this machine is {user} at the queue at {entry.where}")
    _note(settings.data, code.role, entry)


async def _ls(arguments: argparse.Namespace, settings: Settings) -> None:
    beside = _beside(settings)
    async with _registry(beside) as known:
        machines = await known.machines()
    if arguments.json:
        for one in machines:
            say_json(one)
    elif machines:
        say(table(("USER", "ROLE", "NAME"), [(one.user, one.role, one.name) for one in machines]))
    else:
        say("no machine is paired; `tandem pair` makes a code for one")


async def _revoke(arguments: argparse.Namespace, settings: Settings) -> None:
    async with _registry(_beside(settings)) as known:
        user = _meant(arguments.revoke, await known.machines())
        await known.revoke(user)
    if arguments.json:
        say_json({"user": user})
    else:
        say(f"{user} is revoked, and what connections it had are cut")


def _meant(word: str, machines: list[Machine]) -> str:
    """By its user, or by its name where one machine has it. Raises BadInput."""
    found = [one.user for one in machines if word in (one.user, one.name)]
    if len(found) == 1:
        return found[0]
    which = f"{word!r} is {' and '.join(found)}: name one" if found else f"no machine is paired as {word[:80]!r}"
    raise BadInput(f"{which}; `tandem pair --ls` lists them")


def _beside(settings: Settings) -> Paired:
    """How we come in beside the queue. Raises WrongSetting."""
    if not settings.redis_url:
        raise WrongSetting(
            "without a code `tandem pair` is for the queue's machine, where `tandem queue` ran with the same data "
            "folder; on another machine: `tandem pair CODE`"
        )
    entry = Paired(settings.redis_url, settings.redis_key or "", settings.redis_stream_key)
    if not entry.ca.is_file():
        raise WrongSetting(
            "REDIS_URL was expected to name the CA that the code is to tell: rediss://…?ssl_ca_certs=FILE"
        )
    return entry


@asynccontextmanager
async def _registry(beside: Paired) -> AsyncGenerator[Registry]:
    with worded():
        known = registry(beside.url, beside.key, beside.stream_key)
    async with known as found:
        yield found


def _show(arguments: argparse.Namespace, word: str) -> None:
    if arguments.json:
        say_json({"code": word})
        return
    say(word)
    logger.info(
        "on the other machine: `tandem pair CODE`, or `tandem pair -` and paste it there; it is for one machine, and "
        "void after %g s",
        arguments.wait,
    )


async def _typed() -> Code:
    """From stdin, as soon as it is whole: who sends it may wait for us before ending."""
    if is_typed := sys.stdin.isatty():
        logger.info("paste the code; where nothing follows, an empty line ends it:")
    text = ""
    while (read := await _read(sys.stdin.fileno())) and not (is_typed and text and not read.strip()):
        text += read.decode(errors="replace")
        with suppress(WrongCode):
            return pairing_code.read(text)
    return pairing_code.read(text)


async def _read(descriptor: int) -> bytes:
    """Not in a thread: Ctrl-C would wait for it, and it for a word that nobody types any more."""
    with suppress(PermissionError):  # a file, which is never waited for
        await anyio.wait_readable(descriptor)
    return os.read(descriptor, 65_536)


def _name(word: str | None) -> str:
    """Raises BadInput for one that was given and cannot be one."""
    if word is None:
        host = socket.gethostname().partition(".")[0].lower()
        return re.sub(r"[^a-z0-9]+", "-", host).strip("-")[:40] or "machine"
    if not NAME.fullmatch(word):
        raise BadInput(f"--name was expected to be 1 to 40 of a-z, 0-9 and -, beginning with no -; got {word[:80]!r}")
    return word


def _url(port: int, ca: Path, user: str, address: str) -> str:
    return paired.url(user, address, port, ca)


def _check_ca(data: Path, role: str, pem: str) -> None:
    """One folder knows one queue's CA. Raises BadInput."""
    ca = paired.folder(data) / "ca.crt"
    for other, entry in paired.ways(data).items():
        if other != role and entry.ca == ca and ca.exists() and ca.read_text() != pem:
            raise BadInput(
                f"this machine is paired with another queue as {other} ({entry.where}): use another folder for this "
                f"one, with --data, or leave that one first (`tandem pair --leave {other}`)"
            )


def _note(data: Path, role: str, entry: Paired) -> None:
    """What keeps the pairing from being used at once."""
    if instead := overruling(data, role, entry):
        logger.warning("this counts instead of the pairing, unset it there: %s", ", ".join(instead))
    if role == "bridge" and running(str(Folder(data).http_socket)):
        logger.info("the daemon that runs learns of it when it starts again: `tandem down`, then `tandem up`")
