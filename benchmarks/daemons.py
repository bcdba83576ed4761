"""A real daemon in a process of its own, for a benchmark."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx


def tandem(data: Path, *words: str) -> str:
    """The output of one command."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", *words, "--data", str(data)],
        env=_environment(),
        cwd=data.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@contextmanager
def daemon(data: Path, *folders: Path) -> Generator[tuple[httpx.Client, int]]:
    """(an HTTP client over TCP, the process id)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "bridge.cli", "up", *map(str, folders), "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(words, env=_environment(), cwd=data.parent, stderr=subprocess.DEVNULL)
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


def settled(client: httpx.Client) -> None:
    """Waits until nothing is pending."""
    while (status := client.get("/status").json())["pending"] or not status["as_of"] or status["state"] != "idle":
        time.sleep(0.1)


def percentile(values: list[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def _environment() -> dict[str, str]:
    ours = ("TANDEM_", "QDRANT_", "REDIS_", "PHOENIX_", "OPENAI_", "OLLAMA_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
