"""Hosts out of network namespaces, for tests and benchmarks of several machines. Linux, and root.

    with hosts("laptop", "box", delay_ms=50, loss=0.01) as (laptop, box):
        async with place.program("worker", …, before=box.inside): …
        box.cut(); box.mend(); box.reboot()

A host has one device, `wan0`, on a network that all of them share and nothing else is on, and a loopback of its own.
They share the disk, and so the Unix sockets: that is how a test talks to a program on a host. Without a delay the
network is a bridge; with one, a relay's.
"""

import errno
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from tests.two_machines import relay
from tests.two_machines.relay import DEVICE, PREFIX

_END_S = 60
_PORTS = 65_536
_MADE = count()
_NAMED = re.compile(r"^tandem-(\d+)-\S+", re.MULTILINE)


class NoHosts(Exception):
    """No hosts can be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Link:
    """`loss`: of what arrives, 0 to 1. `gone`: packets vanish both ways, and nobody is told. `closed`: nobody comes in
    who was not called."""

    loss: float = 0.0
    gone: bool = False
    closed: bool = False

    def rules(self) -> str:
        """For nft, in place of those that were there."""
        arriving = [f"iifname {DEVICE} numgen random mod 100000 < {min(round(self.loss * 100_000), 99_999)} drop"]
        arriving += [f"iifname {DEVICE} ct state new drop"] if self.closed else []
        leaving: list[str] = []
        if self.gone:
            arriving, leaving = [f"iifname {DEVICE} drop"], [f"oifname {DEVICE} drop"]
        lines = ["table inet link", "delete table inet link", "table inet link {"]
        for hook, rules in (("input", arriving), ("output", leaving)):
            lines += [f"chain {hook} {{", f"type filter hook {hook} priority 0", *rules, "}"]
        return "\n".join([*lines, "}", ""])


@dataclass(slots=True)
class Host:
    """`name`: the namespace's."""

    name: str
    address: str
    link: Link = field(default_factory=Link)

    @property
    def inside(self) -> Sequence[str]:
        """Before a command's words: it runs on this host."""
        return ("ip", "netns", "exec", self.name)

    def apply(self, link: Link) -> None:
        self.link = link
        _run(*self.inside, "nft", "-f", "-", stdin=link.rules())

    def unplug(self) -> None:
        """The cable is out: this host knows, the others do not."""
        _run("ip", "-n", self.name, "link", "set", DEVICE, "down")

    def cut(self) -> None:
        """Somewhere on the way: packets vanish, and nobody is told."""
        self.apply(replace(self.link, gone=True))

    def mend(self) -> None:
        self.apply(replace(self.link, gone=False))
        _run("ip", "-n", self.name, "link", "set", DEVICE, "up")

    def close(self) -> None:
        """No way in any more, as behind a NAT."""
        self.apply(replace(self.link, closed=True))

    def reboot(self) -> None:
        """Power off and on: all its processes are gone, and whoever talked to them has heard nothing of it."""
        before = self.link
        self.cut()
        self.kill()
        # What the kernel keeps of their connections would still say goodbye.
        _run(*self.inside, "ss", "--kill", "--tcp", "--all", "--no-header")
        self.apply(before)

    def kill(self) -> None:
        """Returns once no process of the host is left."""
        while processes := [int(word) for word in _run("ip", "netns", "pids", self.name).split()]:
            for process in processes:
                with suppress(ProcessLookupError):
                    handle = os.pidfd_open(process)
                    with os.fdopen(handle):
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                        select.select([handle], [], [], _END_S)

    @contextmanager
    def entered(self) -> Generator[None]:
        """Sockets that are made here, in this thread, are this host's and stay so. Nothing may be awaited inside."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        relay.enter(os.open(f"/run/netns/{self.name}", os.O_RDONLY))
        try:
            yield
        finally:
            relay.enter(home)

    def listeners(self) -> set[int]:
        """The TCP ports that are open to more than the host itself, as it says."""
        told = _run(*self.inside, "ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines()
        places = [line.split()[3].rpartition(":") for line in told]
        return {int(port) for address, _, port in places if not address.strip("[]").startswith(("127.", "::1"))}

    def open_ports(self, to: "Host", at_once: int = 500, limit_s: float = 5) -> set[int]:
        """Of all the TCP ports of another host those that can be connected to from here."""
        batches = (range(first, min(first + at_once, _PORTS)) for first in range(1, _PORTS, at_once))
        return {port for ports in batches for port in self._opened(to, ports, limit_s)}

    def reaches(self, to: "Host", port: int, limit_s: float = 1) -> bool:
        return bool(self._opened(to, (port,), limit_s))

    def _opened(self, to: "Host", ports: Sequence[int], limit_s: float) -> set[int]:
        """A port that does not answer within the limit is not open."""
        with ExitStack() as stack:
            with self.entered():
                tried = {port: stack.enter_context(socket.socket()) for port in ports}
            poll, opened = select.poll(), set[int]()
            of = {one.fileno(): port for port, one in tried.items()}
            for port, one in tried.items():
                one.setblocking(False)
                if one.connect_ex((to.address, port)) in (0, errno.EINPROGRESS):
                    poll.register(one, select.POLLOUT)
                else:  # no way there at all
                    del of[one.fileno()]
            while of and (found := poll.poll(limit_s * 1000)):
                for handle, _ in found:
                    poll.unregister(handle)
                    port = of.pop(handle)
                    if not tried[port].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        opened.add(port)
            return opened


@contextmanager
def hosts(*names: str, delay_ms: float = 0.0, jitter_ms: float = 0.0, loss: float = 0.0) -> Generator[tuple[Host, ...]]:
    """Hosts on one network. `delay_ms`: each way; `loss`: of what arrives at each. Raises NoHosts."""
    if reason := _lacking():
        raise NoHosts(reason)
    _sweep()
    network = f"tandem-{os.getpid()}-{next(_MADE)}"
    made = tuple(Host(f"{network}-{name}", f"10.77.0.{n}") for n, name in enumerate(names, 1))
    with ExitStack() as stack:
        for host in made:
            stack.enter_context(_namespace(host.name))
            stack.callback(host.kill)
        wired = _relayed(made, delay_ms, jitter_ms) if delay_ms else _bridged(made, f"{network}-hub")
        stack.enter_context(wired)
        for host in made:
            host.apply(Link(loss))
        yield made


def _lacking() -> str | None:
    if sys.platform != "linux" or os.geteuid():
        return "hosts are network namespaces, which are made by root on Linux"
    if missing := [name for name in ("ip", "ss", "nft") if not shutil.which(name)]:
        return f"not on PATH: {', '.join(missing)} (iproute2, nftables)"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun"
    return None


def _sweep() -> None:
    """What runs that were killed have left."""
    for found in _NAMED.finditer(_run("ip", "netns", "list")):
        if not Path("/proc", found[1]).exists():
            Host(found[0], "").kill()
            subprocess.run(["ip", "netns", "delete", found[0]], check=False, capture_output=True)


@contextmanager
def _namespace(name: str) -> Generator[None]:
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        _run("ip", "netns", "delete", name)


@contextmanager
def _bridged(made: Sequence[Host], hub: str) -> Generator[None]:
    with _namespace(hub):
        _run("ip", "-n", hub, "link", "add", "bridge", "up", "type", "bridge")
        for n, host in enumerate(made):
            end = ("type", "veth", "peer", "name", DEVICE, "netns", host.name)
            _run("ip", "-n", hub, "link", "add", f"host{n}", "up", "master", "bridge", *end)
            _run("ip", "-n", host.name, "address", "add", f"{host.address}/{PREFIX}", "dev", DEVICE)
            _run("ip", "-n", host.name, "link", "set", DEVICE, "up")
        yield


@contextmanager
def _relayed(made: Sequence[Host], delay_ms: float, jitter_ms: float) -> Generator[None]:
    words = [relay.__file__, str(delay_ms), str(jitter_ms), *(f"{host.name}={host.address}" for host in made)]
    with subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        if process.stdout.readline() != b"up\n":
            raise NoHosts("the relay between the hosts did not start; what it said is above")
        yield


def _run(*words: str, stdin: str = "") -> str:
    ran = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=_END_S)
    if ran.returncode:
        raise NoHosts(f"{' '.join(words)} failed: {ran.stderr.strip()}")
    return ran.stdout
