"""The hosts are what they are taken for: a link that loses, delays, is cut and mended; a way in that is closed."""

import socket
import subprocess
import sys
import time

import pytest

from tests.two_machines.hosts import Host, hosts

pytestmark = pytest.mark.slow

PORT = 7000


def listener(host: Host) -> socket.socket:
    with host.entered():
        return socket.create_server((host.address, PORT))


@pytest.mark.parametrize("delay_ms", [0, 20])
def test_a_link_is_cut_and_mended_and_a_way_in_is_closed_while_the_way_out_stays_open(delay_ms: float) -> None:
    with hosts("laptop", "box", delay_ms=delay_ms) as (laptop, box), listener(box), listener(laptop):
        assert laptop.reaches(box, PORT) and not laptop.reaches(box, PORT + 1)
        for cut in (box.cut, box.unplug, laptop.cut, laptop.unplug):
            cut()
            assert not laptop.reaches(box, PORT, limit_s=0.3)
            laptop.mend()
            box.mend()
            assert laptop.reaches(box, PORT)
        box.close()
        assert not laptop.reaches(box, PORT, limit_s=0.3)
        assert box.reaches(laptop, PORT)
        box.cut()
        box.mend()
        assert not laptop.reaches(box, PORT, limit_s=0.3)


def test_a_host_tells_the_ports_that_it_opens_to_others_and_another_finds_the_same() -> None:
    with hosts("laptop", "box") as (laptop, box), listener(box):
        with box.entered():
            hidden = socket.create_server(("127.0.0.1", PORT + 1))
        with hidden:
            assert box.listeners() == laptop.open_ports(box) == {PORT}


def test_packets_come_late_by_the_delay_of_each_way() -> None:
    with hosts("laptop", "box", delay_ms=50) as (laptop, box), listener(box):
        began = time.monotonic()
        assert laptop.reaches(box, PORT)
        assert time.monotonic() - began >= 0.1


def test_a_link_loses_what_it_is_told_to() -> None:
    with hosts("laptop", "box", loss=1) as (laptop, box), listener(box):
        assert not laptop.reaches(box, PORT, limit_s=0.3)


def test_a_reboot_ends_all_that_runs_on_a_host_and_nobody_hears_goodbye() -> None:
    with hosts("laptop", "box") as (laptop, box), listener(laptop) as server:
        words = f"import socket; c = socket.create_connection(('{laptop.address}', {PORT})); c.send(b'on'); input()"
        other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        command = [*box.inside, sys.executable, "-c", words]
        with other, subprocess.Popen(command, stdin=subprocess.PIPE) as process, server.accept()[0] as connection:
            assert connection.recv(2) == b"on"
            box.reboot()
            assert process.wait(60) == -9
            assert other.poll() is None
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            assert box.reaches(laptop, PORT)


def test_nothing_is_left_of_hosts_whose_test_failed() -> None:
    names: list[str] = []
    with pytest.raises(ZeroDivisionError), hosts("laptop", "box", delay_ms=1) as made:
        names += [host.name for host in made]
        subprocess.Popen([*made[0].inside, sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        raise ZeroDivisionError
    told = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert len(names) == 2 and not [name for name in names if name in told]
