"""A real daemon in a process of its own, for a benchmark."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

NONE: Mapping[str, str] = {}


def tandem(data: Path, *words: str, settings: Mapping[str, str] = NONE) -> str:
    """The output of one command."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", *words, "--data", str(data)],
        env=_environment() | settings,
        cwd=data.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@contextmanager
def daemon(data: Path, *folders: Path, settings: Mapping[str, str] = NONE) -> Generator[tuple[httpx.Client, int]]:
    """(an HTTP client over TCP, the process id). What it says is appended to `daemon.txt` beside the data folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "bridge.cli", "up", *map(str, folders), "--data", str(data), "--port", str(port)]
    with log(data).open("a") as said:
        process = subprocess.Popen(words, env=_environment() | settings, cwd=data.parent, stderr=said)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until = time.monotonic() + 60
            while True:
                try:
                    client.get("/health")
                    break
                except httpx.ConnectError:
                    if time.monotonic() > until or process.poll() is not None:
                        raise
                    time.sleep(0.05)
            yield client, process.pid
    finally:
        process.terminate()
        process.wait(20)


def log(data: Path) -> Path:
    return data.parent / "daemon.txt"


def settled(client: httpx.Client) -> None:
    """Waits until nothing is pending."""
    while (status := client.get("/status").json())["pending"] or not status["as_of"] or status["state"] != "idle":
        time.sleep(0.1)


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def _environment() -> dict[str, str]:
    ours = ("TANDEM_", "QDRANT_", "REDIS_", "PHOENIX_", "OPENAI_", "OLLAMA_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
