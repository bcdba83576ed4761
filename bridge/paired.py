"""What a machine knows of the queue it is paired with: DATA/paired/ROLE.toml, the settings' lowest layer.

A role is what a user of the queue may do: `bridge`, `worker`, `admin`, or `pair`, which lets others in. Stdlib only.
"""

import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from bridge.written import write_private

BY_CODE = ("bridge", "worker")  # what a code lets a machine in as


@dataclass(frozen=True, slots=True)
class Paired:
    """`url` names the user and the file with the CA, `key` is the user's password."""

    url: str
    key: str
    stream_key: str

    def __repr__(self) -> str:
        return f"Paired({self.url})"

    @property
    def user(self) -> str:
        return urlsplit(self.url).username or ""

    @property
    def where(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def ca(self) -> Path:
        return Path(parse_qs(urlsplit(self.url).query).get("ssl_ca_certs", [""])[0])


def folder(data: Path) -> Path:
    return data / "paired"


def file(data: Path, role: str) -> Path:
    return folder(data) / f"{role}.toml"


def files(data: Path, roles: Sequence[str]) -> Path:
    """Of the first of these roles that this machine has; where it has none, of the last."""
    places = [file(data, role) for role in roles]
    return next((place for place in places if place.exists()), places[-1])


def read(data: Path, role: str) -> Paired | None:
    """Null also where it is not what was written here: who loads the settings is told."""
    try:
        told = tomllib.loads(file(data, role).read_text("utf-8"))
        return Paired(found(data, str(told["redis_url"])), str(told["redis_key"]), str(told["redis_stream_key"]))
    except (OSError, ValueError, KeyError):
        return None


def found(data: Path, url: str) -> str:
    """With the CA in this folder, where the one that `url` names went away with the folder's former name."""
    named, beside = Paired(url, "", "").ca, folder(data) / "ca.crt"
    if named == beside or named.parts[-2:] != beside.parts[-2:] or named.exists() or not beside.exists():
        return url
    return url.replace(quote(os.fspath(named)), quote(os.fspath(beside)))


def ways(data: Path) -> dict[str, Paired]:
    """By role, how this machine comes to send jobs and to take them."""
    found = {role: read(data, role) for role in BY_CODE}
    return {role: one for role, one in found.items() if one}


def by_code(data: Path) -> dict[str, Paired]:
    """Those of the ways that a code opened. Beside its own queue a machine has users by the names of the roles."""
    return {role: one for role, one in ways(data).items() if one.user != role}


def known(data: Path, url: str | None) -> Paired | None:
    """How this machine is paired with the queue at `url`, if it is."""
    return next((one for one in ways(data).values() if one.url == url), None)


def write(data: Path, role: str, paired: Paired) -> None:
    place = file(data, role)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = {"redis_url": paired.url, "redis_key": paired.key, "redis_stream_key": paired.stream_key}
    # A JSON string is a TOML string, but for what lies beyond the basic plane when it is escaped.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in told.items()]
    write_private(place, "".join(["# Written by `tandem pair` and `tandem queue`.\n", *lines]).encode())


def url(user: str, address: str, port: int, ca: Path) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"rediss://{user}@{host}:{port}?ssl_ca_certs={quote(os.fspath(ca))}"
