"""A private Phoenix: a child process that keeps the traces in the data folder and ends with the daemon."""

import contextlib
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.abc
import httpx
import msgspec

from observability.announced import announced, announced_in
from observability.phoenix_child import NOT_INSTALLED
from observability.traces import PROJECT, Traces, become_global, exporting

logger = logging.getLogger("tandem.phoenix")

PORT = 6006
LOG = "phoenix.log"
ENDPOINT = "endpoint"  # where it answers, while it does
READY_S = 180.0  # 10 to 30 s are usual; a busy machine needs more, and nobody waits for it
END_S = 1.0  # half of it is usual, and SQLite's log bears a kill
STARTS = 3  # as often it is started again where it ends within an hour
LONG_S = 3600.0
RETENTION_DAYS = 30

# What a process needs to run at all. The rest stays here: a PHOENIX_* meant for another Phoenix, and other
# programs' keys.
PASSED_ON = (
    *("PATH", "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR"),
    *("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
)


class PhoenixUnavailable(Exception):
    """The private Phoenix does not run; the message says why and what to do."""


class Collector(NamedTuple):
    """Where a Phoenix takes spans and answers its REST API, and the bearer key for both."""

    endpoint: str
    api_key: str


class Secrets(msgspec.Struct, frozen=True):
    """`signing` signs its tokens, `api_key` is the bearer key, `password` the first one of admin@localhost."""

    signing: str
    api_key: str
    password: str


@asynccontextmanager
async def traced_by_phoenix(
    data: Path,
    port: int = PORT,
    *,
    python: str = sys.executable,
    project: str = PROJECT,
    service: str,
    hide: Collection[str] = (),
) -> AsyncGenerator[Traces]:
    """`tracing` into a private Phoenix. Entering does not wait for it: spans wait in the outbox while it starts.

    Leaving sends the last spans first and ends Phoenix then. Where Phoenix cannot run, `problem` says so.
    """
    from observability.collector import address  # loads httpx, which a daemon without Phoenix need not have

    failure: Exception | None = None
    with exporting(project=project, service=service, hide=hide) as (provider, outbox):
        become_global(provider)

        # Whatever ends us, Phoenix is there until it has the last spans.
        lasting = anyio.CancelScope(shield=True)

        async def run_phoenix() -> None:
            starts, log = 0, data / "phoenix" / LOG
            try:
                with lasting:
                    while True:
                        async with _phoenix(data, port, python, READY_S) as (collector, process):
                            outbox.send_to(address(*collector, remedy=f"see {log} and start tandem again"))
                            began = anyio.current_time()
                            status = await process.wait()
                        starts = 1 if anyio.current_time() - began > LONG_S else starts + 1
                        if starts > STARTS:
                            raise PhoenixUnavailable(
                                f"Phoenix ended {starts} times, last with status {status}: see {log}"
                            )
                        logger.warning("Phoenix ended with status %d; it is started again", status)
            except PhoenixUnavailable as error:
                outbox.give_up(str(error))

        async with anyio.create_task_group() as background:
            background.start_soon(run_phoenix)
            try:
                yield outbox
            except Exception as error:  # noqa: BLE001  # raised below, past the task group, which would wrap it
                failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(outbox.close)
                lasting.cancel()
    if failure is not None:
        raise failure


@asynccontextmanager
async def phoenix(
    data: Path, port: int = PORT, *, python: str = sys.executable, ready_s: float = READY_S
) -> AsyncGenerator[Collector]:
    """Runs Phoenix with its home in `data`/phoenix, on `port` or, where that is taken, on a free one.

    `python` is the one that has arize-phoenix. Enters when it answers, which takes 10 to 30 s and `ready_s`
    at most; raises `PhoenixUnavailable`. Leaving ends it, within END_S.
    """
    async with _phoenix(data, port, python, ready_s) as (collector, _):
        yield collector


@asynccontextmanager
async def _phoenix(
    data: Path, port: int, python: str, ready_s: float
) -> AsyncGenerator[tuple[Collector, anyio.abc.Process]]:
    home = data.absolute() / "phoenix"
    log = home / LOG
    runs = shutil.which(python)
    if runs is None:
        raise PhoenixUnavailable(f"TANDEM_PHOENIX_PYTHON must be a Python that runs, not {python}: correct or unset it")
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        keys = _keys(home / "secrets.json")
        grpc_port = free_port(0)
        collector = Collector(f"http://127.0.0.1:{free_port(port)}", keys.api_key)
        environment = _environment(home, keys, collector, grpc_port)
        process = await _start(Path(runs).absolute(), environment, log)
    except OSError as error:
        raise PhoenixUnavailable(
            f"Phoenix could not be started: {error}; see that {home} can be written and {python} run"
        ) from error
    try:
        await _ready(process, collector, python, log, ready_s)
        logger.info(
            "Phoenix shows the traces at %s (user admin@localhost, its first password is in %s)",
            *(collector.endpoint, home / "secrets.json"),
        )
        if open_to_the_network(grpc_port):
            logger.warning(
                "Phoenix's gRPC port %d is open to the network, for Phoenix has no setting to close it; it wants "
                "the key, but close it with a firewall where strangers share the network",
                grpc_port,
            )
        with _announced(home / ENDPOINT, collector.endpoint):
            yield collector, process
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


def running(data: Path) -> Collector | None:
    """The private Phoenix of this data folder, where one runs. Raises PhoenixUnavailable for damaged secrets."""
    home = data / "phoenix"
    endpoint = announced_in(home / ENDPOINT)
    return Collector(endpoint, _keys(home / "secrets.json").api_key) if endpoint else None


@contextlib.contextmanager
def _announced(path: Path, endpoint: str) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(announced(path, endpoint))
        except OSError as error:
            raise PhoenixUnavailable(
                f"{path} could not be written: {error}; make room there, start tandem again"
            ) from error
        yield


def _environment(home: Path, keys: Secrets, collector: Collector, grpc_port: int) -> dict[str, str]:
    port = collector.endpoint.rpartition(":")[2]
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "PYTHONUNBUFFERED": "1",
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": port,
        "PHOENIX_GRPC_PORT": str(grpc_port),
        # Without authentication a page that rebinds its own name to this machine reads the traces.
        "PHOENIX_ENABLE_AUTH": "true",
        "PHOENIX_SECRET": keys.signing,
        "PHOENIX_ADMIN_SECRET": keys.api_key,
        "PHOENIX_DEFAULT_ADMIN_INITIAL_PASSWORD": keys.password,
        "PHOENIX_CSRF_TRUSTED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "PHOENIX_ENABLE_OAUTH2_AUTHORIZATION_SERVER": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ENABLE_MCP_SERVER": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_AGENTS_DISABLE_WEB_ACCESS": "true",
        "PHOENIX_AGENTS_DISABLE_BASH": "true",
        "PHOENIX_AGENTS_DISABLE_GITHUB": "true",
        "PHOENIX_ALLOWED_SANDBOX_PROVIDERS": "NONE",
        "PHOENIX_DEFAULT_RETENTION_POLICY_DAYS": str(RETENTION_DAYS),
        # Its log would otherwise have a line for each request and the SQL of each migration.
        "PHOENIX_LOGGING_LEVEL": "warning",
        "PHOENIX_LOG_MIGRATIONS": "false",
    }


def _keys(path: Path) -> Secrets:
    """The secrets of this data folder, made on the first start and kept for its owner's eyes only."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    except FileNotFoundError:
        pass
    except msgspec.DecodeError as error:
        raise PhoenixUnavailable(f"{path} is damaged ({error}): delete it, and new secrets are made") from error
    made = Secrets(secrets.token_hex(32), secrets.token_hex(32), secrets.token_urlsafe(12))
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(made))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    return made


def free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
    raise OSError("no port is free on 127.0.0.1")


async def _start(python: Path, environment: dict[str, str], log: Path) -> anyio.abc.Process:
    child = Path(__file__).with_name("phoenix_child.py")
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        return await anyio.open_process(
            [python, str(child)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=environment,
            # Ctrl-C in the terminal is for the daemon, which still has spans to send.
            start_new_session=True,
            umask=0o077,
        )


async def _ready(process: anyio.abc.Process, collector: Collector, python: str, log: Path, ready_s: float) -> None:
    with anyio.move_on_after(ready_s):
        async with httpx.AsyncClient(base_url=collector.endpoint, trust_env=False) as client:
            while process.returncode is None:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get("/readyz")).is_success:
                        return
                await anyio.sleep(0.2)
    if process.returncode == NOT_INSTALLED:
        raise PhoenixUnavailable(
            f"Phoenix is not installed in {python}: pip install 'tandem-rag[phoenix]' there, or name a Python that "
            "has it with TANDEM_PHOENIX_PYTHON"
        )
    if process.returncode is not None:
        raise PhoenixUnavailable(f"Phoenix ended with status {process.returncode} as it started: {log} says why")
    raise PhoenixUnavailable(f"Phoenix did not answer within {ready_s:g} s: {log} says how far it came")


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with anyio.move_on_after(END_S) as late:
            await process.wait()
        if late.cancelled_caught:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    await process.aclose()


def open_to_the_network(port: int) -> bool:
    """Whether another machine could connect. Asked of our own outward address; no packet leaves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("203.0.113.1", 9))
        outward = probe.getsockname()[0]
        with socket.create_connection((outward, port), timeout=1):
            return not outward.startswith("127.")
    return False
