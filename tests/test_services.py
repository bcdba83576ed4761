"""`tandem service` before a real systemd, as the first process of namespaces of its own: see tests/systemd.py."""

import json
import random
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from bridge.services import settings_file
from bridge.services.systemd import quoted
from tests.processes import EXAMPLES
from tests.systemd import Machine, machine

pytestmark = pytest.mark.slow

TANDEM = str(Path(sys.executable).with_name("tandem"))
ANN = "4242"
RUNTIME = {"XDG_RUNTIME_DIR": f"/run/user/{ANN}", "HOME": "/home/ann"}
_NASTY = ("%%", "$HOME", "${HOME}", "\\n", "é", "日本", *"%$\"'\\;#` -@{*=")


@pytest.fixture(scope="module")
def box() -> Generator[Machine]:
    with machine() as made:
        made.says("systemd-sysusers", "--inline", f"u ann {ANN} - /home/ann")
        made.says(
            "sh", "-c", f"mkdir -p -m 700 /home/ann /run/user/{ANN}/systemd; chown -R ann: /home/ann /run/user/{ANN}"
        )
        yield made


def write(box: Machine, path: str, text: str | bytes) -> None:
    """A file of the machine."""
    Path(f"/proc/{box.pid}/root{path}").write_bytes(text if isinstance(text, bytes) else text.encode())


def shown(box: Machine, unit: str, name: str) -> str:
    return box.says("systemctl", "show", "--value", f"--property={name}", unit).strip()


def service(box: Machine, *words: str, env: dict[str, str] | None = None) -> str:
    return box.says(TANDEM, "service", *words, env=env)


def status(box: Machine, name: str) -> dict[str, object]:
    lines = map(json.loads, service(box, "status", "--json").splitlines())
    return next(line for line in lines if line["name"] == name)


def test_systemd_reads_words_and_settings_as_they_were_written(box: Machine) -> None:
    draw = random.Random(9)
    words = ["", ";", "$$", "%h", *("".join(draw.choices(_NASTY, k=draw.randint(1, 6))) for _ in range(400))]
    values = {f"TANDEM_TEST_{n}": word.strip() for n, word in enumerate(words) if word.strip()}
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    write(box, "/etc/words.env", settings_file.merged(None, values))
    write(
        box,
        "/etc/systemd/system/words.service",
        f"[Service]\nType=oneshot\nEnvironmentFile=/etc/words.env\nStandardOutput=file:/run/words\n"
        f"ExecStart={' '.join(map(quoted, [sys.executable, '-c', code, *words]))}\n",
    )
    box.says("systemctl", "daemon-reload")
    box.says("systemctl", "start", "words")
    argv, environment = json.loads(box.says("cat", "/run/words"))
    assert argv == words
    assert {name: word for name, word in environment.items() if name.startswith("TANDEM_TEST_")} == values


def test_a_worker_of_the_machine_starts_waits_serves_ends_and_leaves_nothing(box: Machine, redis_binary: str) -> None:
    told = service(
        box, "install", "worker", "--system", "--", "--engine", "echo", env={"REDIS_URL": "redis://127.0.0.1"}
    )
    assert "/etc/systemd/system/tandem-worker.service is written" in told
    unit = "tandem-worker.service"
    assert shown(box, unit, "FragmentPath") == "/etc/systemd/system/tandem-worker.service"
    # The queue is away, which is nothing that a restart would mend.
    box.until(["systemctl", "show", unit, "--property=StatusText"], "waits for the queue")
    assert shown(box, unit, "ActiveState") == "active"
    assert box.says("stat", "--format=%U %a", "/etc/tandem/worker.env", "/var/lib/tandem").split() == [
        *("root", "600"),
        *("tandem", "700"),
    ]
    assert "redis" not in box.says("systemctl", "cat", unit)

    write(box, "/etc/systemd/system/redis.service", f"[Service]\nExecStart={redis_binary} --save ''\n")
    box.says("systemctl", "start", "redis")
    box.until(["systemctl", "show", unit, "--property=StatusText"], "the echo engine takes jobs")
    assert (status(box, "worker")["running"], status(box, "worker")["problem"]) == (True, None)

    box.says("systemctl", "kill", "--signal=KILL", unit)
    box.until(["systemctl", "show", unit, "--property=NRestarts"], "NRestarts=1")
    box.until(["systemctl", "show", unit, "--property=StatusText"], "the echo engine takes jobs")

    again = service(box, "install", "worker", "--system", "--", "--engine", "echo")
    assert "stands as it is asked for" in again
    assert shown(box, unit, "NRestarts") == "1"  # nothing has changed, so nothing was started anew

    box.says("systemctl", "stop", unit)
    assert (shown(box, unit, "Result"), shown(box, unit, "ExecMainStatus")) == ("success", "0")
    assert "it does not run: inactive" in service(box, "status")
    box.says("systemctl", "stop", "redis")

    service(box, "uninstall", "worker", "--system")
    assert box.run("ls", "/etc/tandem").returncode
    assert unit not in box.says("find", "/etc/systemd/system")
    assert shown(box, unit, "LoadState") == "not-found"
    assert box.says("ls", "-d", "/var/lib/tandem")  # its data stays


def test_a_queue_and_a_worker_of_one_machine_find_each_other(box: Machine) -> None:
    service(box, "install", "queue", "--system", "--", "--address", "127.0.0.1")
    box.until(["sh", "-c", "cat /run/log.tandem-queue"], "Ready to accept connections")
    service(box, "install", "worker", "--system", "--", "--engine", "echo")
    box.until(["systemctl", "show", "tandem-worker", "--property=StatusText"], "the echo engine takes jobs")
    for name in ("worker", "queue"):
        box.says("systemctl", "stop", f"tandem-{name}")
        assert shown(box, f"tandem-{name}", "ExecMainStatus") == "0"
        service(box, "uninstall", name, "--system")
    assert box.says("ls", "/var/lib/tandem/queue/redis.conf")


def test_what_was_asked_for_wrongly_is_not_started_again_and_again(box: Machine) -> None:
    service(box, "install", "worker", "--system", "--name", "wrong", "--", "--engine", "echo")
    unit = "tandem-wrong.service"
    text = box.says("cat", f"/etc/systemd/system/{unit}").replace("--engine echo", "--engine abacus")
    write(box, f"/etc/systemd/system/{unit}", text)
    box.says("systemctl", "daemon-reload")
    box.says("systemctl", "restart", "--no-block", unit)
    box.until(["systemctl", "show", unit, "--property=ActiveState"], "failed")
    assert (shown(box, unit, "ExecMainStatus"), shown(box, unit, "NRestarts")) == ("2", "0")
    assert "it does not run: failed" in service(box, "status")
    told = service(box, "uninstall", "wrong", "--system")
    assert "as it was: " in told
    box.says("sh", "-c", "rm /etc/systemd/system/*.tandem-backup")


def test_the_daemon_of_a_person_reads_their_files_and_writes_no_others(box: Machine) -> None:
    shutil.copytree(EXAMPLES, f"/proc/{box.pid}/root/home/ann/notes")
    box.says("chown", "-R", "ann:", "/home/ann")
    words = ("install", "daemon", "--system", "--", "/home/ann/notes", "--port", "0")
    service(box, *words, env={"SUDO_USER": "ann"})
    unit = "tandem-daemon.service"
    assert shown(box, unit, "ActiveState") == "active"
    assert shown(box, unit, "StatusText").startswith("answers at http://127.0.0.1:")
    found = box.until([TANDEM, "search", "backup", "--json"], '"hits":[{', user=ANN, env=RUNTIME)
    assert "/home/ann/notes/" in found
    # It computes vectors under everything that was taken from it.
    assert json.loads(found)["freshness"]
    main = shown(box, unit, "MainPID")
    inside = ["nsenter", "--target", main, "--mount", "--root"]
    assert "Read-only" in box.run(*inside, "touch", "/home/ann/notes/x").stderr
    assert "Read-only" in box.run(*inside, "touch", "/etc/x").stderr
    assert box.says("sh", "-c", f"grep -E 'NoNewPrivs|CapBnd|Seccomp:' /proc/{main}/status").split() == [
        *("CapBnd:", "0000000000000000"),
        *("NoNewPrivs:", "1"),
        *("Seccomp:", "2"),
    ]
    box.says("systemctl", "stop", unit)
    assert (shown(box, unit, "Result"), shown(box, unit, "ExecMainStatus")) == ("success", "0")
    service(box, "uninstall", "daemon", "--system")


def test_a_user_without_root_has_a_daemon_of_their_own(box: Machine) -> None:
    box.says("systemctl", "start", f"user@{ANN}")
    as_ann = {"user": ANN, "env": RUNTIME}
    box.says("mkdir", "-p", "/home/ann/mine", **as_ann)
    told = box.says(TANDEM, "service", "install", "daemon", "--", "/home/ann/mine", "--port", "0", **as_ann)
    assert "daemon: active (running), answers at http://127.0.0.1" in told
    assert "loginctl enable-linger" in told
    show = ["systemctl", "--user", "show", "tandem-daemon", "--property=Result,ExecMainStatus,UnitFileState"]
    assert "UnitFileState=enabled" in box.says(*show, **as_ann)
    box.says(TANDEM, "down", **as_ann)
    box.until(["systemctl", "--user", "is-active", "tandem-daemon"], "inactive", **as_ann)  # told to stop, it stays so
    assert "Result=success\nExecMainStatus=0" in box.says(*show, **as_ann).replace("UnitFileState=enabled\n", "")
    box.says(TANDEM, "service", "uninstall", "daemon", **as_ann)
    assert box.says("find", "/home/ann/.config", "-not", "-type", "d", **as_ann) == ""
