"""`tandem install` in words: what was written where, and what to do next."""

import argparse
import os
import sys
from pathlib import Path

from bridge.install import Refused, Target, target
from bridge.install.entry import entry, own_command
from bridge.install.files import Written, content
from bridge.settings import Settings
from bridge.terminal import printable, say
from bridge.whereabouts import users_data


async def install(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raises Refused."""
    ours = target(arguments.client, Path.cwd() if arguments.project else None)
    if arguments.uninstall:
        if arguments.print:
            _print(ours, ours.without_entry(content(ours.file)))
        else:
            _tell_gone(ours, ours.uninstall())
        return
    # A client may start us without XDG_DATA_HOME, and the usual folder would be another one.
    is_usual = settings.data == Path(users_data()).resolve() and not os.environ.get("XDG_DATA_HOME")
    data = None if is_usual else settings.data
    wanted = entry(own_command(os.environ), data, _folders(arguments.watch), ours.client.has_type)
    if arguments.print:
        _print(ours, ours.with_entry(content(ours.file), wanted))
        return
    if not ours.file.parent.is_dir():
        _note(f"{ours.file.parent} was not there: is {ours.client.title} installed?")
    _tell(ours, ours.install(wanted))


def _folders(words: list[str]) -> list[str]:
    folders = [Path(word).expanduser().absolute() for word in words]
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        raise Refused(f"--watch was expected to name a folder, {missing[0]} is none; nothing was written")
    return [str(folder) for folder in folders]


def _tell(ours: Target, written: Written | None) -> None:
    if written is None:
        say(f"nothing to change: {printable(str(ours.file))} has tandem as it is asked for")
        return
    say(f"{ours.client.title} has tandem now, in {printable(str(ours.file))}{_kept(written)}")
    say(f"next: {ours.client.next_step}")


def _tell_gone(ours: Target, written: Written | None) -> None:
    if written is None:
        say(f"nothing to take out: {printable(str(ours.file))} does not name tandem")
        return
    say(f"tandem is taken out of {printable(str(ours.file))}{_kept(written)}; the index stays as it is")
    say(f"next: restart {ours.client.title}")


def _kept(written: Written) -> str:
    return f" (as it was: {printable(str(written.backup))})" if written.backup else ""


def _print(ours: Target, data: bytes | None) -> None:
    """To the byte, also where a console would write other line ends."""
    _note(
        f"{ours.file} would be " + ("this; nothing was written" if data is not None else "removed: it had tandem only")
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(data or b"")
    sys.stdout.buffer.flush()


def _note(words: str) -> None:
    print(f"tandem: {printable(words)}", file=sys.stderr)  # noqa: T201
