"""The texts of a queue's server: compose/redis.conf and compose/users.acl with places, keys and users filled in (pure).

The rules of the roles and the server's settings are said in those two files alone; in a wheel they lie beside this one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wire import embedding

KEY = "inference_queue"
_LINE = re.compile(r"user (\S+) on #SHA256_OF_\S+ (.*)")
_KEYS = re.compile(rf"\b({KEY}|{embedding.QUEUE})\b")
_SHA256 = re.compile(r"#([0-9a-f]{64})\b")


def template(name: str) -> str:
    beside = Path(__file__).with_name("compose") / name
    return (beside if beside.exists() else Path(__file__).parent.parent / "compose" / name).read_text("utf-8")


def redis_conf(text: str, values: Mapping[str, str]) -> str:
    """`text` with the values of these settings; what it does not name is added at its end."""
    for name, value in values.items():
        line = f"{name} {value}"
        text, found = re.subn(rf"^{name} .*$", lambda _: line, text, flags=re.MULTILINE)  # noqa: B023 (used at once)
        text += "" if found else f"{line}\n"
    return text


def quoted(place: Path) -> str:
    """As redis.conf wants a path that may have blanks."""
    return '"' + str(place).replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Users:
    """`default`: the whole line of the user whom nobody is. `rules`: role -> what it may."""

    default: str
    rules: Mapping[str, str]


def users(text: str, stream_key: str) -> Users:
    """compose/users.acl for the keys of this queue."""
    mine = {KEY: stream_key, embedding.QUEUE: embedding.queue(stream_key)}
    default, *roles = _KEYS.sub(lambda found: mine[found[1]], text).splitlines()
    found = [_LINE.fullmatch(line) for line in roles]
    return Users(default, {line[1]: line[2] for line in found if line})


def users_acl(users: Users, hashes: Mapping[str, Sequence[str]], others: Sequence[str] = ()) -> str:
    """`hashes`: user -> of its passwords. A role without any lets nobody in; ROLE-NAME may what its role may."""
    lines = [users.default]
    for user in sorted({*users.rules, *hashes}, key=lambda user: (user not in users.rules, user)):
        known = "".join(f"#{one} " for one in hashes.get(user, ()))
        lines.append(f"user {user} {'on ' + known if known else 'off '}{users.rules[_role(user)]}")
    return "\n".join([*lines, *others]) + "\n"


def kept(text: str, users: Users) -> tuple[dict[str, list[str]], list[str]]:
    """Of an ACL file as Redis has written it: the machines' hashes, and the lines that are not ours."""
    machines: dict[str, list[str]] = {}
    others: list[str] = []
    for line in text.splitlines():
        _, _, said = line.partition("user ")
        user, _, rest = said.partition(" ")
        if "-" in user and _role(user) in users.rules:
            # One that somebody has set `off` stays so.
            head = rest.partition("~")[0]
            machines[user] = _SHA256.findall(head) if rest.startswith("on ") else []
        elif user and user not in ("default", *users.rules) and not user.startswith("once-"):
            others.append(line)
    return machines, others


def _role(user: str) -> str:
    return user.partition("-")[0]
