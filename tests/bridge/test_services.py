"""`tandem service`: what is written, and what systemd-analyze says of it. What it then does: tests/test_services.py."""

import os
import plistlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.doctor.managed import judged
from bridge.install.files import Refused
from bridge.notifying import notify
from bridge.services import Kind, Service, kept, settings_file
from bridge.services.asked import Asked, barred, check_lasting, systems_service, users_service
from bridge.services.installed import Installed, command, installed, unusable
from bridge.services.launchd import plist
from bridge.services.places import Places, places
from bridge.services.systemd import Unwritable, quoted, unit
from tests.processes import Place, place

PROGRAM = ("/opt/tandem/bin/tandem",)
DATA = Path("/var/lib/tandem")
QUEUE = Service("queue", "queue", (sys.executable, "queue"), DATA, Path("/etc/tandem/queue.env"), "tandem")
WORKER = Service("worker", "worker", (sys.executable, "worker"), DATA, Path("/etc/tandem/worker.env"), "tandem")
ON_GPU = replace(WORKER, computes_on_gpu=True, makes_code=True)
DAEMON = Service("daemon", "daemon", (sys.executable, "up"), Path("/srv/ann/index"), Path("/etc/tandem/d.env"), "ann")
SYSTEMS = {"queue": QUEUE, "worker": WORKER, "on-gpu": ON_GPU, "daemon": DAEMON}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Tandem in the folder of temporary files would be refused, and these tests may lie there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture(scope="session")
def analyze() -> str:
    if found := shutil.which("systemd-analyze"):
        return found
    if os.environ.get("TANDEM_TEST_SYSTEMD_REQUIRED"):
        pytest.fail("systemd-analyze is required here, and is not on PATH")
    pytest.skip("systemd-analyze is not on PATH")


# --- units


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("mode", ["--system", "--user"])
def test_systemd_finds_no_fault_with_our_units(tmp_path: Path, analyze: str, name: str, mode: str) -> None:
    service = SYSTEMS[name] if mode == "--system" else replace(SYSTEMS[name], user=None)
    odd = replace(
        service, data=tmp_path / 'my "index" 50% $HOME', command=(*service.command, "a;b", ";", "50%i", "$HOME")
    )
    for one in (service, odd):
        file = tmp_path / "tandem-x.service"
        file.write_text(unit(one))
        words = [analyze, "verify", mode, "--man=no", str(file)]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
        ended = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert (ended.returncode, ended.stderr) == (0, "")


# The lower, the less a service can do; 9.2 for one without any of it. What reads people's files or a GPU is let more.
@pytest.mark.parametrize(("name", "most"), [("queue", 1.7), ("worker", 1.7), ("daemon", 2.3), ("on-gpu", 2.0)])
def test_what_a_system_service_could_do_to_the_machine_is_little(
    tmp_path: Path, analyze: str, name: str, most: float
) -> None:
    file = tmp_path / "tandem-x.service"
    file.write_text(unit(SYSTEMS[name]))
    words = [analyze, "security", "--offline=true", f"--threshold={most * 10:.0f}", "--no-pager", str(file)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout.splitlines()[-1]


def test_what_would_break_a_service_is_not_taken_from_it() -> None:
    assert "MemoryDenyWriteExecute" not in unit(ON_GPU)
    assert "PrivateDevices" not in unit(ON_GPU)
    assert "ProtectHome=read-only" in unit(DAEMON)
    assert "PrivateTmp" not in unit(DAEMON)
    assert "ReadWritePaths=/srv/ann/index " in unit(DAEMON)
    assert "ProtectHome=yes" in unit(QUEUE)
    assert "ProtectHome=read-only" in unit(replace(QUEUE, reads=(Path("/root/tools/bin/python3"),)))


def test_a_users_unit_asks_for_nothing_that_needs_root() -> None:
    text = unit(replace(DAEMON, user=None))
    for line in ("User=", "ProtectSystem", "network-online", "CapabilityBoundingSet", "multi-user"):
        assert line not in text


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "\0", "\x1b[2J", "\udcff"])
def test_a_word_that_no_unit_can_hold_is_refused(word: str) -> None:
    with pytest.raises(Unwritable, match=r"words of a unit"):
        quoted(word)


def test_a_folder_whose_name_a_unit_would_read_otherwise_is_refused() -> None:
    with pytest.raises(Unwritable, match="choose another folder"):
        unit(replace(DAEMON, data=Path("/srv/index\\")))


# --- property lists


# Apple's launchd.plist(5): the keys that we use, and the types that it gives them.
_TYPES = {
    "Label": str,
    "ProgramArguments": list,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "Umask": int,
    "SoftResourceLimits": dict,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "UserName": str,
}


@pytest.mark.parametrize("user", [None, "ann"])
def test_a_property_list_has_the_keys_and_types_that_launchd_knows(user: str | None) -> None:
    mine = Path("/Users/ann/Library")
    service = replace(DAEMON, user=user, settings=mine / "x" / ".env", command=("/a b/tandem", "up", "50% <&> $x"))
    told = plistlib.loads(plist(service, mine / "Logs/tandem"))
    assert {key: type(value) for key, value in told.items()} == {
        key: kind for key, kind in _TYPES.items() if user or key != "UserName"
    }
    assert told["ProgramArguments"] == ["/a b/tandem", "up", "50% <&> $x"]
    assert told["KeepAlive"] == {"SuccessfulExit": False}
    assert told["WorkingDirectory"] == str(mine / "x")  # where the program finds .env


def test_a_property_list_stays_one_with_our_mark_in_it() -> None:
    marked = kept.marked(plist(DAEMON, Path("/Users/ann/Library/Logs")))
    assert plistlib.loads(marked)["Label"] == "tandem.daemon"
    assert kept.is_untouched(marked)
    assert command(marked)[0] == sys.executable


# --- settings


def test_settings_keep_what_somebody_wrote_beside_ours() -> None:
    first = settings_file.merged(None, {"REDIS_URL": "redis://a", "REDIS_KEY": 'p"a$s`s\\'})
    assert kept.is_untouched(first)
    by_hand = first + b"HF_TOKEN=mine\n"
    second = settings_file.merged(by_hand, {"REDIS_URL": "redis://b"})
    assert not kept.is_untouched(second)
    assert second.decode().splitlines()[1:] == ['REDIS_URL="redis://b"', r'REDIS_KEY="p\"a\$s\`s\\"', "HF_TOKEN=mine"]
    assert settings_file.merged(second, {}) == second


def test_settings_that_dotenv_reads_come_back_as_they_were(tmp_path: Path) -> None:
    from dotenv import dotenv_values

    values = {"REDIS_KEY": 'it\'s \\ a "p$ss" #1 ', "TANDEM_MODEL": "a b"}
    file = tmp_path / ".env"
    file.write_bytes(settings_file.merged(None, values, is_dotenv=True))
    assert dotenv_values(file) == values
    with pytest.raises(settings_file.Unwritable, match="REDIS_KEY has"):
        settings_file.merged(None, {"REDIS_KEY": "a${HOME}"}, is_dotenv=True)


# --- what is refused


def asked(kind: Kind = "daemon", **more: object) -> Asked:
    return Asked(kind, kind, (), **more)  # type: ignore[arg-type]


def test_an_environment_that_will_be_gone_runs_no_service(tmp_path: Path) -> None:
    for prefix in (Path("/home/ann/.cache/uv/archive-v0/Xyz"), tmp_path):
        with pytest.raises(Refused, match="a service needs a Tandem that stays"):
            check_lasting(prefix)
    check_lasting(Path("/opt/tandem"))


def test_a_system_daemon_reads_the_files_of_somebody_who_is_named() -> None:
    settings = Path("/etc/tandem/daemon.env")
    for environment in ({}, {"SUDO_USER": "root"}):
        with pytest.raises(Refused, match="say whose with --user"):
            systems_service(asked(), PROGRAM, settings, environment)
    with pytest.raises(Refused, match="there is no no-such-user"):
        systems_service(asked(user="no-such-user"), PROGRAM, settings, {})
    made = systems_service(asked(), PROGRAM, settings, {"SUDO_USER": "nobody"})
    assert (made.user, made.data) == ("nobody", Path("/nonexistent/.local/share/tandem"))


def test_words_that_name_files_are_told_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = Asked("worker", "worker", ["--config=mine.yaml", "--slots", "2"], {"mine.yaml"}, "vllm")
    made = users_service(words, PROGRAM, Path("/x.env"), DATA)
    assert made.command == (*PROGRAM, "worker", "--data", str(DATA), f"--config={tmp_path}/mine.yaml", "--slots", "2")


def test_a_program_that_the_services_user_may_not_reach_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert barred(closed / "bin", "root") is None
    outermost = next(one for one in (*reversed(closed.parents), closed) if not one.stat().st_mode & 1)
    assert barred(closed / "bin", "no-such-user") == outermost


# --- the command


def settings_of(here: Place) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(here.folder / "config"), "PATH": str(here.folder / "bin")}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def unbooted() -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here: the service would be started")


async def test_installing_and_uninstalling_leaves_the_folder_as_it_was(unbooted: None) -> None:
    with place() as here:
        other = here.write("config/systemd/user/other.service", "[Service]\n")
        before = files(here.folder)
        settings = {**settings_of(here), "REDIS_KEY": "the-secret"}
        made = await here.tandem("service", "install", "daemon", "--", "docs", "--port", "0", settings=settings)
        assert made.status == 0, made.err
        assert "systemctl --user enable --now tandem-daemon.service" in made.out
        text = (here.folder / "config/systemd/user/tandem-daemon.service").read_text()
        assert re.search(rf"^ExecStart=\S+tandem up --data {here.data} {here.docs} --port 0$", text, re.MULTILINE)
        private = here.folder / "config/tandem/daemon.env"
        assert (private.stat().st_mode & 0o777, "the-secret" in private.read_text()) == (0o600, True)
        assert "the-secret" not in text + made.out + made.err
        again = await here.tandem("service", "install", "daemon", "--", "docs", "--port", "0", settings=settings)
        assert "stands as it is asked for" in again.out
        (one,) = (await here.tandem("service", "status", "--json", settings=settings)).lines
        assert (one["name"], one["scope"], one["running"], one["problem"]) == ("daemon", "user", None, None)
        gone = await here.tandem("service", "uninstall", "daemon", settings=settings)
        assert gone.status == 0, gone.err
        assert files(here.folder) == before
        assert sorted((here.folder / "config").rglob("*")) == [other.parent.parent, other.parent, other]


async def test_what_somebody_changed_by_hand_is_kept_beside(unbooted: None) -> None:
    with place() as here:
        install = ("service", "install", "worker", "--name", "two", "--", "--engine", "echo")
        await here.tandem(*install, settings=settings_of(here))
        file = here.folder / "config/systemd/user/tandem-two.service"
        changed = file.read_text().replace("RestartSec=5", "RestartSec=60")
        file.write_text(changed)
        told = await here.tandem(*install, settings=settings_of(here))
        assert "had been changed by hand" in told.out
        (backup,) = file.parent.glob("*.tandem-backup")
        assert backup.read_text() == changed
        assert "RestartSec=5\n" in file.read_text()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("worker", "--", "--engine", "abacus"), 2, "invalid choice: 'abacus'"),
        (("worker", "--", "--engine", "echo", "--data", "/x"), 2, "expected --data DIR before the --"),
        (("worker",), 2, "the following arguments are required: --engine"),
        (("worker", "--name", "My Worker", "--", "--engine", "echo"), 1, "--name was expected to have small letters"),
        (("daemon", "--user", "ann"), 1, "--user is for --system"),
        (("daemon", "--data", "a\nb"), 1, "nothing was written"),
        (("daemon", "--", "no/such/notes"), 1, "no/such/notes was expected to be there"),
        (("worker", "--", "--engine", "vllm", "--config", "my.yaml"), 1, "my.yaml was expected to be there"),
    ],
)
async def test_wrong_words_are_told_now_and_not_at_the_services_start(
    words: tuple[str, ...], status: int, said: str
) -> None:
    with place() as here:
        ended = await here.tandem("service", "install", *words, settings=settings_of(here))
        assert (ended.status, said in ended.err) == (status, True), ended.err
        assert not (here.folder / "config").exists()


async def test_print_writes_nothing_and_names_no_secret() -> None:
    with place() as here:
        settings = {**settings_of(here), "REDIS_KEY": "the-secret"}
        told = await here.tandem("service", "install", "queue", "--print", settings=settings)
        assert "ExecStart=" in told.out
        assert "REDIS_KEY" in told.err
        assert "the-secret" not in told.out + told.err
        assert not (here.folder / "config").exists()
        gone = await here.tandem("service", "uninstall", "queue", settings=settings)
        assert (gone.status, "no service queue is installed" in gone.err) == (1, True)


def test_a_service_whose_program_is_gone_is_told(tmp_path: Path) -> None:
    where = Places(tmp_path, tmp_path, None, False, False)
    text = unit(replace(DAEMON, user=None, command=("/opt/my tandem/bin/50%/tandem", "up")))
    (tmp_path / "tandem-daemon.service").write_bytes(kept.marked(text.encode()))
    (tmp_path / "tandem-other.service").write_text("[Service]\nExecStart=/bin/true\n")
    (one,) = installed([where])
    assert one.program == "/opt/my tandem/bin/50%/tandem"
    assert one.problem == "it starts /opt/my tandem/bin/50%/tandem, which is not there, or no program"


def test_a_service_whose_interpreter_is_gone_is_told_by_the_doctor(tmp_path: Path) -> None:
    script = tmp_path / "tandem"
    script.write_text("#!/no/such/python3\n")
    script.chmod(0o755)
    assert unusable(script) == "whose interpreter /no/such/python3 is gone"
    script.write_text(f"#!{sys.executable}\n")
    assert unusable(script) is None
    one = Installed("daemon", "user", "/u/tandem-daemon.service", str(script), True, "active (running)", 7, 0, "", None)
    assert judged(one).state == "ok"
    stopped = judged(replace(one, running=False, problem="it does not run: failed"))
    assert (stopped.state, "journalctl --user -u tandem-daemon.service" in (stopped.remedy or "")) == ("failed", True)
    gone = judged(replace(one, problem="it starts /x, which is not there"))
    assert (gone.state, "`tandem service install`" in (gone.remedy or "")) == ("failed", True)


# --- where things lie


def test_each_system_has_its_places() -> None:
    home = Path("/home/ann")
    assert places(False, "linux", {}, home).unit("x") == home / ".config/systemd/user/tandem-x.service"
    assert places(False, "linux", {"XDG_CONFIG_HOME": "/c"}, home).settings_of("x") == Path("/c/tandem/x.env")
    assert places(True, "linux", {"XDG_CONFIG_HOME": "/c"}, home).settings_of("x") == Path("/etc/tandem/x.env")
    assert places(False, "darwin", {}, home).unit("x") == home / "Library/LaunchAgents/tandem.x.plist"
    assert places(True, "darwin", {}, home).unit("x") == Path("/Library/LaunchDaemons/tandem.x.plist")


# --- launchctl and its property lists: a stand-in for the program, for there is no macOS here


@pytest.fixture
def launchctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A stand-in on PATH that notes how it was called, and knows the service once it was bootstrapped."""
    calls = tmp_path / "calls"
    script = tmp_path / "bin" / "launchctl"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n'
        f'case "$1" in print) grep -q bootstrap {calls} || {{ echo "not found" >&2; exit 113; }};\n'
        'printf "\\tstate = running\\n\\tpid = 42\\n\\truns = 3\\n";; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return lambda: calls.read_text().splitlines()


def test_launchd_is_told_to_start_and_stop(launchctl: Callable[[], list[str]]) -> None:
    from bridge.services.control import Launchd

    ours, file = Launchd(is_system=False), Path("/Users/ann/Library/LaunchAgents/tandem.x.plist")
    ours.start("x", "daemon", file, again=True)
    state = ours.state("x", file)
    assert (state.is_running, state.pid, state.restarts) == (True, 42, 2)
    ours.stop("x", file)
    here = f"gui/{os.getuid()}"
    print_, *rest = [f"print {here}/tandem.x"], f"bootstrap {here} {file}"
    assert launchctl() == [*print_, *rest, *print_, *print_, f"bootout {here}/tandem.x"]


# --- readiness


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_that_a_process_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@tandem-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name[1:]}" if abstract else name)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1", "STATUS=answers")
        assert listener.recv(100) == b"READY=1\nSTATUS=answers"
    notify("READY=1")  # nobody listens any more
