"""A network that takes its time: packets between hosts arrive late, and in their order.

    python relay.py DELAY_MS JITTER_MS NAMESPACE=ADDRESS…

It makes the device `wan0` (TUN) in each namespace and hands each packet to the host that it is for. It says "up" once
all are there, and ends with its standard input. A process of its own: whoever measures is not in the way.
"""

import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress

DEVICE = "wan0"
PREFIX = 24
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PACKET = 65_536
_TO = slice(16, 20)  # of an IPv4 header

Late = deque[tuple[float, bytes]]


def main(delay_ms: float, jitter_ms: float, hosts: dict[str, str]) -> None:
    ways = {socket.inet_aton(address): _tun(namespace, address) for namespace, address in hosts.items()}
    sys.stdout.write("up\n")
    sys.stdout.flush()
    relay(ways, delay_ms / 1000, jitter_ms / 1000)


def relay(ways: dict[bytes, int], delay_s: float, jitter_s: float) -> None:
    """`ways`: the device of each address. Returns at the end of standard input."""
    late: dict[int, Late] = {device: deque() for device in ways.values()}
    poll = select.poll()
    for device in (*late, sys.stdin.fileno()):
        poll.register(device, select.POLLIN)
    while True:
        due = min((packets[0][0] for packets in late.values() if packets), default=None)
        wait_ms = None if due is None else max(0.0, due - time.monotonic()) * 1000
        for device, _ in poll.poll(wait_ms):
            if device not in late:
                return
            for packet in _arrived(device):
                if to := ways.get(packet[_TO]):
                    _add(late[to], packet, delay_s + random.uniform(-jitter_s, jitter_s))
        for device, packets in late.items():
            _deliver(device, packets)


def _arrived(device: int) -> list[bytes]:
    packets: list[bytes] = []
    with suppress(BlockingIOError, OSError):  # nothing more, or the device is down
        while len(packets) < _PACKET:
            packets.append(os.read(device, _PACKET))
    return [packet for packet in packets if packet[0] >> 4 == 4]


def _add(packets: Late, packet: bytes, delay_s: float) -> None:
    """Never before the one that came before it."""
    due = time.monotonic() + delay_s
    packets.append((max(due, packets[-1][0]) if packets else due, packet))


def _deliver(device: int, packets: Late) -> None:
    while packets and packets[0][0] <= time.monotonic():
        with suppress(OSError):  # a device that is down takes none
            os.write(device, packets.popleft()[1])


def _tun(namespace: str, address: str) -> int:
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter(os.open(f"/run/netns/{namespace}", os.O_RDONLY))
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    subprocess.run(["ip", "address", "add", f"{address}/{PREFIX}", "dev", DEVICE], check=True)
    subprocess.run(["ip", "link", "set", DEVICE, "up"], check=True)
    enter(home)
    return device


def enter(namespace: int) -> None:
    """This thread's network is that of an open namespace from here on; closes it."""
    with os.fdopen(namespace):
        if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), dict(word.split("=", 1) for word in sys.argv[3:]))  # pyright: ignore
