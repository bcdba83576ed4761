"""`tandem queue`: its files are made, then this process becomes redis-server, which listens by TLS alone.

DATA/queue/redis.conf, users.acl           compose/'s, filled in; the users are read and written by Redis too
          ca.crt, ca.key                   an authority of its own; nothing else is by it
          redis.crt, redis.key             the server's certificate, for all its addresses
          data/                            Redis's own
DATA/paired/admin.toml, worker.toml, pair.toml    how this machine itself comes in
"""

import argparse
import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

from bridge import certificates, paired, queue_files
from bridge.addresses import is_address, is_ip, is_name
from bridge.folder import Folder
from bridge.paired import Paired
from bridge.service import BadInput, Unavailable
from bridge.settings import Settings, WrongSetting
from bridge.whereabouts import unwritable
from bridge.written import write_private
from wire.redis.pairing import hashed

PORT = 6379
HOW_REACHED = "say it with `tandem queue --address NAME` (in compose: QUEUE_ADDRESS), and start the queue anew"
OWN_ROLES = ("admin", "worker", "pair")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BESIDE = "redis"  # what containers beside it call it: compose/server.yaml
_STREAM_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_INSTALL = "Debian, Ubuntu: `apt install redis-server`; Fedora: `dnf install redis`; macOS: `brew install redis`"

logger = logging.getLogger("tandem")


async def queue(arguments: argparse.Namespace, settings: Settings) -> None:
    """Comes back only where nothing but the files was asked for."""
    Folder(settings.data).make()
    place = settings.data / "queue"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        lock = _locked(place)
        binary = None if arguments.init else redis_server()
        port = make(settings.data, settings.redis_stream_key, arguments.address, arguments.port)
    except OSError as error:
        raise unwritable(place, error) from error
    known = reachable(settings.data)
    names = ", ".join(known)
    if is_local(known):
        logger.warning("no address of this machine was found by which others reach it: %s", HOW_REACHED)
    if binary is None:
        os.close(lock)
        logger.info("the queue's files are in %s; `tandem queue` starts it, for %s", place, names)
        return
    _check_free(port)
    logger.info("the queue is at %s, port %d, by TLS alone; `tandem pair` lets a machine in", names, port)
    _become(binary, place / "redis.conf", lock)


def make(data: Path, stream_key: str, addresses: Sequence[str], port: int | None) -> int:
    """Makes what is missing, adds `addresses`, and brings the users' rights to those of this version. Returns the port.
    Raises BadInput, WrongSetting."""
    place = data / "queue"
    own = _own(data)
    stream_key = _kept_key(stream_key, own, place)
    _check(stream_key, addresses)
    port = port or next((_port(one) for one in own.values()), PORT)
    (place / "data").mkdir(mode=0o700, exist_ok=True)
    _certify(place, addresses)
    ca = place / "ca.crt"
    hashes: dict[str, Sequence[str]] = {}
    for role in OWN_ROLES:
        known = own.get(role)
        if known is None and paired.file(data, role).exists():
            logger.info("this machine is paired with another queue as %s, and stays so", role)
            continue
        key = known.key if known else secrets.token_urlsafe(32)
        entry = Paired(paired.url(role, "127.0.0.1", port, ca), key, stream_key)
        if known != entry:
            paired.write(data, role, entry)
        hashes[role] = [hashed(key)]
    acl, conf = place / "users.acl", place / "redis.conf"
    users = queue_files.users(queue_files.template("users.acl"), stream_key)
    machines, others = queue_files.kept(_text(acl), users)
    write_private(acl, queue_files.users_acl(users, {**machines, **hashes}, others).encode())
    text = _text(conf) or queue_files.template("redis.conf")
    write_private(conf, queue_files.redis_conf(text, _values(place, port)).encode())
    return port


def reachable(data: Path) -> tuple[str, ...]:
    """By what other machines call this queue; where none can, programs and containers on this one. Raises
    WrongSetting where there is none."""
    file = data / "queue" / "redis.crt"
    try:
        known = certificates.addresses(file.read_bytes())
    except (OSError, ValueError) as error:
        raise WrongSetting(f"{file} was expected to be the queue's certificate: `tandem queue` makes it") from error
    outside = tuple(one for one in known if one not in _LOOPBACK)
    return (*outside, "127.0.0.1") if is_local(outside) else outside


def is_local(addresses: Sequence[str]) -> bool:
    """Whether no other machine comes in by them."""
    return all(one in (*_LOOPBACK, _BESIDE) for one in addresses)


def runs(data: Path) -> bool:
    """Whether a queue runs on the files of this data folder."""
    try:
        os.close(_locked(data / "queue"))
    except (Unavailable, OSError):
        return True
    return False


def redis_server() -> str:
    """The first on PATH that can do it. Raises Unavailable."""
    seen: list[str] = []
    for folder in os.get_exec_path():
        if not (found := shutil.which("redis-server", path=folder)):
            continue
        if not (lack := _lack(found)):
            return found
        seen.append(f"{found} {lack}")
    came = f"found: {'; '.join(seen)}" if seen else "there is none"
    raise Unavailable(f"expected redis-server 7.0 or newer, built with TLS, on PATH; {came}. Install it ({_INSTALL})")


def _lack(binary: str) -> str | None:
    """What keeps it from being the queue's server."""
    try:
        number = re.search(r"v=(\d+)(\S*)", _said(binary, "--version"))
        # Without TLS the option is not known; with it, this is no number.
        told = _said(binary, "--tls-port", "x")
    except (OSError, subprocess.SubprocessError):
        return "does not run"
    if not number or int(number[1]) < 7:
        return f"is {number[1] + number[2] if number else 'of no known version'}"
    return "has no TLS" if "Bad directive" in told else None


def _said(*words: str) -> str:
    ended = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    return ended.stdout + ended.stderr


def _own(data: Path) -> dict[str, Paired]:
    """Of the roles of this machine, those that it has here: what a code lets in has a name of its own."""
    found = {role: paired.read(data, role) for role in OWN_ROLES}
    return {role: one for role, one in found.items() if one and one.user == role}


def _port(entry: Paired) -> int:
    return int(entry.where.rpartition(":")[2])


def _kept_key(stream_key: str, own: dict[str, Paired], place: Path) -> str:
    """That of the queue there is, where nobody asks for another."""
    made_for = next((one.stream_key for one in own.values()), stream_key)
    if stream_key not in (made_for, queue_files.KEY):
        raise WrongSetting(
            f"the queue in {place} was made for REDIS_STREAM_KEY={made_for}, it is {stream_key} now: set it as it was, "
            "or use another folder with --data"
        )
    return made_for


def _check(stream_key: str, addresses: Sequence[str]) -> None:
    if not _STREAM_KEY.fullmatch(stream_key):
        raise WrongSetting(
            "REDIS_STREAM_KEY was expected to be letters, digits and _ . : - for the rights of the queue's users; "
            f"it is {stream_key[:80]!r}"
        )
    check_addresses(addresses)


def check_addresses(addresses: Sequence[str]) -> None:
    """Raises BadInput."""
    for one in addresses:
        if not is_address(one):
            raise BadInput(f"--address was expected to be a host name or an IP address, without a port; got {one!r}")


def _certify(place: Path, addresses: Sequence[str]) -> None:
    ca, ca_key, crt, key = (place / name for name in ("ca.crt", "ca.key", "redis.crt", "redis.key"))
    if not (ca.exists() and ca_key.exists()):
        made_key, made = certificates.authority()
        write_private(ca_key, made_key)
        write_private(ca, made)
        crt.unlink(missing_ok=True)
    known = certificates.addresses(crt.read_bytes()) if crt.exists() and key.exists() else ()
    wanted = known or (*([] if addresses else _own_addresses()), *_LOOPBACK)
    wanted = tuple(dict.fromkeys([*_normal(addresses), *wanted]))
    if wanted != known:
        made_key, made = certificates.certificate(ca_key.read_bytes(), ca.read_bytes(), wanted)
        crt.unlink(missing_ok=True)  # one without its key is none
        write_private(key, made_key)
        write_private(crt, made)


def _normal(addresses: Sequence[str]) -> list[str]:
    return [str(ip_address(one)) if is_ip(one) else one.lower() for one in addresses]


def _own_addresses() -> list[str]:
    """Those that this machine calls others by, and its name where that is known."""
    found: list[str] = []
    for family, anybody in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((anybody, 9))  # nothing is sent
            found.append(str(asked.getsockname()[0]))
    with suppress(OSError):
        name = socket.gethostname().lower()
        if "." in name and is_name(name) and socket.gethostbyname(name):
            found.append(name)
    return [one for one in found if one not in _LOOPBACK]


def _values(place: Path, port: int) -> dict[str, str]:
    files = {"tls-cert-file": "redis.crt", "tls-key-file": "redis.key", "tls-ca-cert-file": "ca.crt"}
    files |= {"aclfile": "users.acl", "dir": "data"}
    return {"tls-port": str(port)} | {name: queue_files.quoted(place / file) for name, file in files.items()}


def _text(file: Path) -> str:
    return file.read_text("utf-8") if file.exists() else ""


def _locked(place: Path) -> int:
    """Raises Unavailable where a queue runs on these files: its lock outlives our becoming it."""
    descriptor = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(f"a queue runs on {place}: stop it first, or use another folder with --data") from None
    return descriptor


def _check_free(port: int) -> None:
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 (nobody listens)
        try:
            with socket.socket(family) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind((host, port))
        except PermissionError as error:
            raise Unavailable(f"port {port} is not this user's to listen on: choose another with --port") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Unavailable(
                    f"port {port} is taken, perhaps by the system's own Redis (`systemctl disable --now "
                    "redis-server`): stop who has it, or choose another with --port"
                ) from error


def _become(binary: str, conf: Path, lock: int) -> NoReturn:
    os.set_inheritable(lock, True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(2, 1)  # its log is no result
    os.execv(binary, [binary, os.fspath(conf)])  # noqa: S606
