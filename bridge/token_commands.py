"""`tandem token`: give somebody a token of their own, see who has one, take it back.

They need no daemon: one under way notices at its next request.
"""

import argparse
import logging
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bridge import tokens
from bridge.folder import Folder
from bridge.service import BadInput
from bridge.settings import Settings
from bridge.terminal import printable, say, say_json, table
from bridge.tokens import Token
from indexer.filters import BadFilter, Reach, seen_by

logger = logging.getLogger("tandem")

_IN = re.compile(r"([0-9]{1,5})\s*([hdwy])", re.IGNORECASE)
_UNIT_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_END = datetime.max.replace(tzinfo=UTC).timestamp()  # of the times that can be told
_RATE = re.compile(r"([1-9][0-9]{0,6})(?:\s*/\s*min)?")
_WILD = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"([\\*?\[\]!# ])")


async def token(arguments: argparse.Namespace, settings: Settings) -> None:
    folder = Folder(settings.data)
    try:
        if arguments.action == "add":
            folder.make()
            _add(arguments, folder.tokens)
        elif arguments.action == "ls":
            _ls(arguments, tokens.listed(folder.tokens))
        else:
            _revoke(arguments, folder.tokens)
    except tokens.Unreadable as error:
        raise BadInput(str(error)) from error


def _add(arguments: argparse.Namespace, file: Path) -> None:
    secret, hashed = (None, None) if arguments.oauth else tokens.new_secret()
    folders, globs = _reach(arguments.within, Path.cwd())
    made = Token(
        tokens.new_id(),
        arguments.name,
        time.time(),
        sha256=hashed,
        subject=arguments.oauth,
        folders=folders,
        globs=globs,
        rate=_rate("--rate", arguments.rate, tokens.RATE),
        asks=_rate("--asks", arguments.asks, tokens.ASKS),
        expires=_moment(arguments.expires, time.time()) if arguments.expires else None,
    )
    tokens.add(file, made)
    if arguments.json:
        say_json(_told(made) | ({"token": secret} if secret else {}))
        return
    if secret:
        say(secret)
    logger.info("%s sees %s; %s; %s", made.name, printable(_seen(made)), _often(made), _until(made))
    if secret:
        logger.info("this is the only time that the token is shown: it goes into `Authorization: Bearer …`")


def _ls(arguments: argparse.Namespace, given: Sequence[Token]) -> None:
    if arguments.json:
        for one in given:
            say_json(_told(one))
        return
    if not given:
        say("no token is given; `tandem token add NAME` makes one")
        return
    rows = [
        (one.name, "oauth" if one.subject else "token", _often(one), _until(one), _when(one.created), _seen(one))
        for one in given
    ]
    say(printable(table(("NAME", "BY", "HOW OFTEN", "HOW LONG", "SINCE", "SEES"), rows)))


def _revoke(arguments: argparse.Namespace, file: Path) -> None:
    left = tokens.revoke(file, arguments.name)
    if arguments.json:
        say_json({"name": arguments.name, "left": left})
        return
    say(f"{arguments.name} is revoked")
    if not left:
        logger.info(
            "nobody has a token of their own now, and one is still asked for over TCP; to be open to this machine's "
            "programs again, remove %s",
            file,
        )


def _reach(words: Sequence[str], here: Path) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """(folders, globs), both null for everything. Raises BadInput."""
    if not words:
        return None, None
    folders, globs = list[str](), list[str]()
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            folders.append(str(path.resolve()))
        elif path.is_file():
            globs.append(_literally(path.resolve()))
        else:
            globs.append(_glob(word, here))
    return tuple(folders), tuple(globs)


def _glob(word: str, here: Path) -> str:
    """From the root of the file system on, as a shell would complete it. Raises BadInput."""
    expected = f"--in was expected to be a folder that exists, or a pattern such as 'notes/**/*.md'; got {word[:200]!r}"
    if not _WILD.search(word) or not word.isprintable() or word.startswith("!"):
        raise BadInput(expected)
    whole = str(Path(word).expanduser()) if word.startswith("~") else word
    if not whole.startswith("/"):
        whole = f"{_literally(here.resolve())}/{whole.removeprefix('./')}"
    if ".." in whole.split("/"):
        raise BadInput(f"{expected}; a pattern has no ..")
    try:
        seen_by(Reach(globs=(whole,)))
    except BadFilter as error:
        raise BadInput(expected) from error
    return whole


def _literally(path: Path) -> str:
    return _SPECIAL.sub(r"\\\1", str(path))


def _rate(option: str, word: str | None, otherwise: int) -> int | None:
    if word is None:
        return otherwise
    if word.strip().lower() == "any":
        return None
    if not (found := _RATE.fullmatch(word.strip())):
        raise BadInput(f"{option} was expected to be like 60/min, or any; got {word[:80]!r}")
    return int(found[1])


def _moment(word: str, now: float) -> float:
    """Raises BadInput."""
    if within := _IN.fullmatch(word.strip()):
        moment = now + int(within[1]) * _UNIT_S[within[2].lower()]
    else:
        try:
            at = datetime.fromisoformat(word.strip())
        except ValueError:
            at = None
        moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() if at else 0
    if not now < moment < _END:
        raise BadInput(f"--expires was expected to be like 90d, 12w or 2031-01-31, in the future; got {word[:80]!r}")
    return moment


def _told(one: Token) -> dict[str, object]:
    """Without its hash."""
    seen = None if one.folders is None else [*one.folders, *(one.globs or ())]
    expires = _when(one.expires) if one.expires is not None else None
    told: dict[str, object] = {"name": one.name, "in": seen, "rate": one.rate, "asks": one.asks, "expires": expires}
    return told | {"created": _when(one.created), "oauth": one.subject}


def _seen(one: Token) -> str:
    return "everything" if one.folders is None else ", ".join([*one.folders, *(one.globs or ())])


def _often(one: Token) -> str:
    def words(number: int | None, what: str) -> str:
        return f"any number of {what}" if number is None else f"{number} {what}"

    return f"{words(one.rate, 'calls')} and {words(one.asks, 'questions')} a minute"


def _until(one: Token) -> str:
    if one.expires is None:
        return "until revoked"
    return f"{'until' if one.expires > time.time() else 'expired'} {_when(one.expires)}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
