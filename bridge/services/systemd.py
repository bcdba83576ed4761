"""A service as a unit of systemd, 252 or later. Pure."""

from pathlib import Path

from bridge.services import TITLES, Service

STATE = Path("/var/lib")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@+=:,./-")
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))


class Unwritable(Exception):
    """A word that no unit can hold; the message says which and why."""


def unit(service: Service) -> str:
    """Raises Unwritable."""
    sections = {"Unit": _unit(service), "Service": _service(service), "Install": _install(service)}
    return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())


def quoted(word: str) -> str:
    """As `ExecStart=` reads a word: no specifier, no variable, no separator. Raises Unwritable."""
    return _in_quotes(_checked(word).replace("%", "%%").replace("$", "$$"))


def _unit(service: Service) -> list[str]:
    lines = [f"Description={TITLES[service.kind]}", "Documentation=man:systemd.service(5)"]
    if service.user:  # the manager of a user knows no such targets
        lines += ["Wants=network-online.target", "After=network-online.target"]
    return lines


def _service(service: Service) -> list[str]:
    program, *words = service.command
    return [
        *_start(service),
        # No variable is looked for in the program's own name.
        f"ExecStart={' '.join([_in_quotes(_checked(program).replace('%', '%%')), *map(quoted, words)])}",
        f"EnvironmentFile=-{_line(service.settings)}",
        f"WorkingDirectory={_line(service.data)}",
        "Restart=on-failure",
        "RestartSec=5",
        # What was asked for wrongly is wrong again.
        "RestartPreventExitStatus=2",
        "KillSignal=SIGTERM",
        # The main process ends its children itself: an engine must live until its answers are out.
        "KillMode=mixed",
        f"TimeoutStopSec={service.stop_s}",
        "UMask=0077",
        *_confined(service),
        *(_confined_by_root(service) if service.user else ()),
    ]


def _start(service: Service) -> list[str]:
    if service.kind == "queue":  # becomes redis-server, which may have been built without this
        return ["Type=exec"]
    # A model's weights may take as long as they take.
    return ["Type=notify", "NotifyAccess=main", f"TimeoutStartSec={'infinity' if service.kind == 'worker' else 300}"]


def _install(service: Service) -> list[str]:
    return [f"WantedBy={'multi-user.target' if service.user else 'default.target'}"]


def _confined(service: Service) -> list[str]:
    """What the manager of a user can do too."""
    lines = [
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
    ]
    return lines if service.makes_code else [*lines, "MemoryDenyWriteExecute=yes"]


def _confined_by_root(service: Service) -> list[str]:
    lines = [
        f"User={service.user}",
        *([f"SupplementaryGroups={' '.join(service.groups)}"] if service.groups else []),
        *_files(service),
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "KeyringMode=private",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        "RemoveIPC=yes" if service.kind != "daemon" else "RemoveIPC=no",
        # Beyond what @system-service allows already; no program of ours asks for it.
        "SystemCallFilter=~@privileged",
    ]
    return lines if service.computes_on_gpu else [*lines, "PrivateDevices=yes"]


def _files(service: Service) -> list[str]:
    lines = ["ProtectSystem=strict"]
    if service.data.parent == STATE:
        lines += [f"StateDirectory={service.data.name}", "StateDirectoryMode=0700"]
    if service.kind == "daemon":
        # It reads the user's files, which may lie in /tmp too, and keeps a long path's sockets there.
        writable = [service.data, *filter(None, [service.cache]), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
        home = "read-only"
    else:
        writable = [] if service.data.parent == STATE else [service.data]
        lines.append("PrivateTmp=yes")
        reads = (*map(Path, service.command), *service.reads, service.data)
        home = "read-only" if any(map(_is_in_a_home, reads)) else "yes"
    if writable:
        lines.append(
            f"ReadWritePaths={' '.join(_in_quotes(_checked(str(path)).replace('%', '%%')) for path in writable)}"
        )
    return [*lines, f"ProtectHome={home}"]


def _is_in_a_home(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in _HOMES)


def _in_quotes(word: str) -> str:
    if word and _PLAIN.issuperset(word.replace("%%", "").replace("$$", "")):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _line(path: Path) -> str:
    """A path that stands alone on its line, where quotes mean nothing."""
    word = _checked(str(path))
    if word != word.strip() or word.endswith("\\"):
        raise Unwritable(f"no unit can name {word!r}, for its blank or backslash at the end: choose another folder")
    return word.replace("%", "%%")


def _checked(word: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Unwritable(f"words of a unit were expected in UTF-8, one is {word!a}") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in word):
        raise Unwritable(f"words of a unit can hold no line breaks and control characters, one is {word!a}")
    return word
