"""A private Phoenix as far as it can be seen without one; test_phoenix_real.py has the real one."""

import os
import socket
import sys
import venv
from pathlib import Path

import anyio
import pytest

from observability.phoenix import Collector, PhoenixUnavailable, free_port, open_to_the_network, phoenix, running
from tests.observability.programs import run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins for Python are shell scripts")


def script(folder: Path, line: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o700)
    return str(path)


async def started(data: Path, python: str, ready_s: float = 30) -> Collector:
    with anyio.fail_after(60):
        async with phoenix(data, python=python, ready_s=ready_s) as collector:
            return collector


async def test_where_phoenix_is_not_installed_one_sentence_says_how_to_install_it(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    with pytest.raises(PhoenixUnavailable, match=r"pip install 'tandem-rag\[phoenix\]'") as unavailable:
        await started(tmp_path, str(tmp_path / "bare/bin/python"))
    assert "TANDEM_PHOENIX_PYTHON" in str(unavailable.value)


async def test_a_python_that_does_not_exist_is_named_with_the_setting_to_correct(tmp_path: Path) -> None:
    with pytest.raises(PhoenixUnavailable, match=r"TANDEM_PHOENIX_PYTHON must be a Python that runs, not /no/python"):
        await started(tmp_path, "/no/python")


async def test_a_phoenix_that_ends_as_it_starts_points_to_its_log(tmp_path: Path) -> None:
    with pytest.raises(PhoenixUnavailable, match=r"status 3 .*phoenix\.log says why"):
        await started(tmp_path, script(tmp_path, "echo out of luck; exit 3"))
    assert "out of luck" in (tmp_path / "phoenix/phoenix.log").read_text()


async def test_a_phoenix_that_never_answers_is_ended_and_points_to_its_log(tmp_path: Path) -> None:
    never = script(tmp_path, "echo $$ > pid; exec sleep 600")
    with pytest.raises(PhoenixUnavailable, match=r"did not answer within 1 s: .*phoenix\.log"):
        await started(tmp_path, never, ready_s=1)
    pid = int((tmp_path / "phoenix/pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def that_answers(folder: Path) -> str:
    (folder / "phoenix").mkdir()
    (folder / "phoenix/readyz").touch()
    return script(folder, f'exec {sys.executable} -m http.server "$PHOENIX_PORT" --bind 127.0.0.1')


async def test_other_processes_find_a_phoenix_while_it_runs_and_no_longer(tmp_path: Path) -> None:
    async with phoenix(tmp_path, python=that_answers(tmp_path)) as collector:
        assert running(tmp_path) == collector
    assert running(tmp_path) is None


async def test_an_address_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    answers = that_answers(tmp_path)
    (tmp_path / "phoenix/endpoint").mkdir()
    with pytest.raises(PhoenixUnavailable, match=r"phoenix/endpoint could not be written: .*; make room there"):
        await started(tmp_path, answers)


@pytest.mark.slow
async def test_a_phoenix_that_ignores_the_signal_to_end_is_killed(tmp_path: Path) -> None:
    deaf = script(tmp_path, "trap '' TERM; echo $$ > pid; exec sleep 600")
    with pytest.raises(PhoenixUnavailable):
        await started(tmp_path, deaf, ready_s=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "phoenix/pid").read_text()), 0)


async def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    ends = script(tmp_path, "exit 3")
    read: list[bytes] = []
    for _ in range(2):
        with pytest.raises(PhoenixUnavailable):
            await started(tmp_path, ends)
        read.append((tmp_path / "phoenix/secrets.json").read_bytes())
    assert read[0] == read[1]
    assert (tmp_path / "phoenix/secrets.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "phoenix").stat().st_mode & 0o777 == 0o700


async def test_damaged_secrets_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "phoenix").mkdir()
    (tmp_path / "phoenix/secrets.json").write_text('{"signing": 1')
    with pytest.raises(PhoenixUnavailable, match=r"secrets\.json is damaged .* delete it"):
        await started(tmp_path, sys.executable)


async def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(PhoenixUnavailable, match=r"see that .*data/phoenix can be written"):
        await started(tmp_path / "data", sys.executable)


async def test_the_child_gets_no_key_and_no_phoenix_setting_of_ours(tmp_path: Path) -> None:
    program = f"""
import anyio, contextlib
from pathlib import Path
from observability.phoenix import PhoenixUnavailable, phoenix
async def main():
    with contextlib.suppress(PhoenixUnavailable):
        async with phoenix(Path({str(tmp_path)!r}), python={script(tmp_path, "env; exit 3")!r}):
            pass
anyio.run(main)
"""
    run(program, OPENAI_API_KEY="sk-canary", PHOENIX_SQL_DATABASE_URL="postgresql://canary", TANDEM_TOKEN="canary")
    log = (tmp_path / "phoenix/phoenix.log").read_text()
    assert "PHOENIX_ENABLE_AUTH=true" in log
    assert "canary" not in log


def test_a_process_whose_phoenix_cannot_start_goes_on_and_says_why(tmp_path: Path) -> None:
    program = f"""
import anyio, logging
from pathlib import Path
from opentelemetry import trace
from observability.phoenix import traced_by_phoenix
class Told(logging.Handler):
    def emit(self, record): told.set()
async def main():
    global told
    told = anyio.Event()
    logging.getLogger("tandem.traces").addHandler(Told())
    try:
        async with traced_by_phoenix(Path({str(tmp_path)!r}), python="/no/python", service="test") as traces:
            print(traces.problem)
            trace.get_tracer("tests").start_span("ask").end()
            with anyio.fail_after(30):
                await told.wait()
            print(traces.problem)
            raise KeyError("the daemon's own")
    except KeyError as error:
        print(error, traces.dropped)
anyio.run(main)
"""
    done = run(program)
    [before, after, last] = done.stdout.splitlines()
    assert before == "None"
    assert "TANDEM_PHOENIX_PYTHON must be" in after
    assert last == '"the daemon\'s own" 1'


SLOW = """
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(0.3)
        self.do_GET()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PHOENIX_PORT"])), Handler).serve_forever()
"""


def test_a_phoenix_outlives_the_last_span_of_a_process_that_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    python = script(tmp_path, f"exec {sys.executable} {tmp_path}/slow.py")
    program = f"""
import anyio
from pathlib import Path
from opentelemetry import trace
from observability.phoenix import running, traced_by_phoenix
async def main():
    with anyio.CancelScope() as stopped:
        async with traced_by_phoenix(Path({str(tmp_path)!r}), 0, python={python!r}, service="test") as traces:
            while not running(Path({str(tmp_path)!r})):
                await anyio.sleep(0.01)
            trace.get_tracer("tests").start_span("last").end()
            stopped.cancel()
            await anyio.sleep_forever()
    print(traces.problem, traces.dropped)
anyio.run(main)
"""
    assert run(program).stdout.splitlines() == ["None 0"]


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) not in (port, 0)
    assert free_port(port) == port


@pytest.mark.parametrize(("host", "seen"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_port_is_open_to_the_network_where_another_machine_could_connect(host: str, seen: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen()
        assert open_to_the_network(listener.getsockname()[1]) is seen
