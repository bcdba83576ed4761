"""`tandem service` in words: what was written where, what runs, and what to do next."""

import argparse
import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

from bridge.install.entry import own_command
from bridge.install.files import Refused, content, replaced
from bridge.services import Service, kept, settings_file
from bridge.services.asked import (
    ENGINES_OWN,
    SYSTEM_USER,
    Asked,
    barred,
    check_lasting,
    systems_service,
    users_service,
)
from bridge.services.control import Manager, linger, lingers, make_folder, make_user, manager
from bridge.services.installed import installed
from bridge.services.launchd import plist
from bridge.services.places import Places, places
from bridge.services.systemd import STATE, Unwritable, unit
from bridge.settings import Settings, said
from bridge.terminal import printable, say, say_json


async def service(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raises Refused."""
    if sys.platform == "win32":
        raise Refused("services are systemd's or launchd's, and Windows has neither: use its Task Scheduler")
    if arguments.action == "status":
        _tell_all(arguments.json)
    elif arguments.action == "uninstall":
        _uninstall(arguments.name, _places(arguments.system))
    else:
        _install(arguments, settings)


def everywhere() -> list[Places]:
    return [_places(system) for system in (False, True)]


def _places(system: bool) -> Places:
    return places(system, sys.platform, os.environ, Path.home())


def _install(arguments: argparse.Namespace, settings: Settings) -> None:
    where, words = _places(arguments.system), said()
    check_lasting(Path(sys.prefix))
    named = settings.data if arguments.data or "TANDEM_DATA" in words else None
    asked = _asked(arguments, named)
    program, file = own_command({}), where.settings_of(asked.name)
    if arguments.system:
        made = systems_service(asked, program, file, os.environ)
        _check_reach(made)
    else:
        made = users_service(asked, program, file, settings.data)
    text = _text(made, where)
    carried = _carried(words, made.kind)
    if arguments.print:
        _print(where.unit(made.name), text, file, carried)
        return
    _check_root(where)
    _prepare(made, where)
    changed = _write(made, where, text, carried)
    _start(made, where, changed=changed, stays=arguments.linger)


def _asked(arguments: argparse.Namespace, data: Path | None) -> Asked:
    runs = arguments.runs  # the words as their own command reads them
    words = list(arguments.words)
    paths = {
        *getattr(runs, "folders", ()),
        *filter(None, [getattr(runs, "config", None), getattr(runs, "alive", None)]),
    }
    if missing := [word for word in paths if word != getattr(runs, "alive", None) and not _is_there(word)]:
        raise Refused(f"{missing[0]} was expected to be there, and is not; nothing was written")
    engine = getattr(runs, "engine", None)
    if engine == "vllm" and not runs.config and Path("config.yaml").is_file():
        words += ["--config", "config.yaml"]  # what it would find here, it would not find there
        paths.add("config.yaml")
    name = arguments.name or arguments.kind
    return Asked(
        arguments.kind,
        name,
        words,
        paths,
        engine,
        getattr(runs, "phoenix", False),
        data,
        arguments.user,
        (Path(sys.executable).resolve(), Path(__file__).parent),
    )


def _is_there(word: str) -> bool:
    return Path(word).expanduser().exists()


def _text(made: Service, where: Places) -> bytes:
    try:
        return plist(made, where.logs) if where.logs else unit(made).encode()
    except Unwritable as error:
        raise Refused(f"{error}; nothing was written") from error


def _carried(words: Mapping[str, str], kind: str) -> dict[str, str]:
    """The settings that hold here, in the shell and in `.env`, are the service's too; the folder is in its command."""
    others = {name: os.environ[name] for name in ENGINES_OWN if kind == "worker" and os.environ.get(name)}
    return {name: word for name, word in {**words, **others}.items() if name != "TANDEM_DATA"}


def _check_reach(made: Service) -> None:
    """Raises Refused where the service's user could not read what it is to run."""
    assert made.user
    for path in (Path(made.command[0]), *made.reads):
        if (door := barred(path.parent, made.user)) is not None:
            raise Refused(
                f"the service would run as {made.user}, who may not enter {door}, where this Tandem lies: install it "
                "where all may read, e.g. `python3 -m venv /opt/tandem && /opt/tandem/bin/pip install tandem-rag`, and "
                "ask again with /opt/tandem/bin/tandem"
            )


def _check_root(where: Places) -> None:
    if where.is_system and os.geteuid() != 0:
        raise Refused(f"--system writes to {where.units}, which root may: use sudo, or leave --system out")


def _prepare(made: Service, where: Places) -> None:
    """The user, and the folders that have to be there before the first start."""
    if where.logs:
        where.logs.mkdir(parents=True, exist_ok=True)
    if made.user == SYSTEM_USER and not where.is_launchd and not _is_user(SYSTEM_USER):
        make_user(SYSTEM_USER, made.data)
    if made.user and not _is_user(made.user):
        raise Refused(f"the service was to run as {made.user}, who is no user of this machine: name one with --user")
    if not made.user:
        made.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    elif where.is_launchd or made.data.parent != STATE:  # that one systemd makes
        make_folder(made.data, made.user)
    if made.user and made.cache and not where.is_launchd:
        make_folder(made.cache, made.user)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _write(made: Service, where: Places, text: bytes, carried: Mapping[str, str]) -> bool:
    """Whether anything changed."""
    file = where.unit(made.name)
    try:
        settings = replaced(
            made.settings, lambda before: settings_file.merged(before, carried, is_dotenv=where.is_launchd)
        )
    except settings_file.Unwritable as error:
        raise Refused(f"{error}; nothing was written") from error
    made.settings.chmod(0o600)
    if where.is_launchd and made.user:
        who = pwd.getpwnam(made.user)
        for one in (made.settings.parent, made.settings):
            os.chown(one, who.pw_uid, who.pw_gid)
    written = kept.write(file, text, 0o644)
    if written and written.backup:
        say(f"{_path(file)} had been changed by hand: as it was, it is {_path(written.backup)}")
    say(f"{made.name}: {_path(file)} {'is written' if written else 'stands as it is asked for'}")
    _drop_needless_backup(settings.backup if settings else None)
    say(f"its settings: {_path(made.settings)}, for its user alone; after a change there, start it anew")
    return bool(written or settings)


def _drop_needless_backup(backup: Path | None) -> None:
    if backup and kept.is_untouched(content(backup) or b""):
        backup.unlink()


def _start(made: Service, where: Places, *, changed: bool, stays: bool) -> None:
    ours, file = manager(where), where.unit(made.name)
    if not ours.runs:
        say(f"systemd does not run here, so nothing was started; where it does: {_by_hand(ours, file)}")
        return
    ours.start(made.name, made.kind, file, again=changed)
    state = ours.state(made.name, file)
    say(f"{made.name}: {state.told}{f', {printable(state.says)}' if state.says else ''}; `tandem service status`")
    if made.kind == "worker" and not _knows_queue(made):
        who = f"sudo -u {made.user} " if made.user else ""
        say(
            f"next: it looks for Redis on this machine; pair it (`{who}{made.command[0]} pair --data "
            f"{_path(made.data)} CODE`), or set REDIS_URL in {_path(made.settings)}, and start it anew"
        )
    if not where.is_system and not where.is_launchd:
        _tell_lingering(stays)


def _knows_queue(made: Service) -> bool:
    paired = made.data / "paired"
    return b"REDIS_URL=" in (content(made.settings) or b"") or (paired.is_dir() and any(paired.iterdir()))


def _tell_lingering(stays: bool) -> None:
    who = pwd.getpwuid(os.getuid()).pw_name
    if lingers(who):
        return
    if stays:
        linger(who)
        say(f"{who}'s services now run from the machine's start on, and after log-out")
    else:
        say(
            f"note: systemd ends {who}'s services when {who} logs out, and starts them at log-in, not with the "
            "machine; where that is not meant: `loginctl enable-linger`, or --linger here"
        )


def _uninstall(name: str, where: Places) -> None:
    _check_root(where)
    file = where.unit(name)
    before = content(file)
    if before is None:
        others = [one.name for one in installed([where])]
        known = f"; there is {', '.join(others)}" if others else ""
        raise Refused(f"no service {name} is installed, {file} was expected{known}")
    if not kept.is_ours(before):
        raise Refused(f"{file} is not ours: remove it by hand, where that is meant")
    ours = manager(where)
    if ours.runs:
        ours.stop(name, file)
    removed = kept.remove(file)
    if ours.runs:
        ours.forget()
    say(
        f"{name}: stopped and removed"
        + (f" (as it was: {_path(removed.backup)})" if removed and removed.backup else "")
    )
    settings = where.settings_of(name)
    if (told := content(settings)) is not None:
        if kept.is_untouched(told):
            settings.unlink()
        else:
            say(f"{_path(settings)} has settings of yours, and stays")
    folders = [settings.parent, where.settings] if where.is_launchd else [settings.parent]
    if not where.is_system:
        folders += [where.units, where.units.parent] if not where.is_launchd else []
    kept.tidy(folders)
    say("the index and what else lies in its data folder stay")


def _tell_all(as_json: bool) -> None:
    found = list(installed(everywhere()))
    for one in found:
        if as_json:
            say_json(one)
            continue
        more = [
            one.state,
            *([f"process {one.pid}"] if one.pid else []),
            *([f"started again {one.restarts} times"] if one.restarts else []),
        ]
        say(f"{one.name:10} {one.scope:6} {', '.join(more)}")
        if one.says:
            say(f"{'':17} {printable(one.says)}")
        if one.problem:
            say(f"{'':17} {printable(one.problem)}")
    if not found and not as_json:
        say("no service is installed: `tandem service install queue|worker|daemon`")


def _print(file: Path, text: bytes, settings: Path, carried: Mapping[str, str]) -> None:
    print(f"tandem: {printable(str(file))} would be this; nothing was written", file=sys.stderr)  # noqa: T201
    sys.stdout.buffer.write(kept.marked(text))
    sys.stdout.buffer.flush()
    names = ", ".join(carried) or "nothing yet"
    print(f"tandem: {printable(str(settings))} would set {names}", file=sys.stderr)  # noqa: T201


def _by_hand(ours: Manager, file: Path) -> str:
    return f"`{ours.by_hand(file)}`"


def _path(path: Path) -> str:
    return printable(str(path))
