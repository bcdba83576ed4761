"""A process and all beneath it: how long it runs, what it costs, how much memory it holds. Linux only."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

EVERY_S = 0.3  # reading what a process of 1 GB holds takes some milliseconds
_NOT_OURS = ("TANDEM_", "QDRANT_", "REDIS_", "PHOENIX_", "OPENAI_", "OLLAMA_", "EMBEDDING_", "PYTHONDONTWRITE")


class Failed(Exception):
    """A process ended with an error; the message says which, and what it said last."""


class Ran(NamedTuple):
    """`cpu_s`, the processor time of a process and its children, wavers less than the clock where others work too."""

    output: str
    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass
class Peak:
    """PSS of all processes together: what several share counts once."""

    mb: float = 0.0


def run(words: Sequence[object], cwd: Path, environment: Mapping[str, str]) -> Ran:
    """Raises Failed."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, words)), cwd=cwd, env=environment, stdout=output, stderr=errors)
        with watched(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise Failed(f"{' '.join(map(str, words))} failed:\n{errors.read()[-4000:]}")
        return Ran(output.read(), wall_s, usage.ru_utime + usage.ru_stime, peak.mb)


def environment(threads: int) -> dict[str, str]:
    """Without the user's own settings, and without the internet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    limits = dict.fromkeys(("THREAD_POOL_SIZE", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
    return kept | limits | {"HF_HUB_OFFLINE": "1", "HAYSTACK_TELEMETRY_ENABLED": "False"}


@contextmanager
def watched(pid: int) -> Generator[Peak]:
    peak, left = Peak(), threading.Event()

    def watch() -> None:
        while not left.wait(EVERY_S):
            peak.mb = max(peak.mb, sum(map(pss_mb, family(pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        left.set()
        watcher.join()


def family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def pss_mb(pid: int) -> float:
    return _rollup_mb(pid, "Pss:")


def rss_mb(pid: int) -> float:
    """What it shares with others counts in full."""
    return _rollup_mb(pid, "Rss:")


def _rollup_mb(pid: int, field: str) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0  # it has ended meanwhile
    return next((round(int(line.split()[1]) / 1024, 1) for line in rollup.splitlines() if line.startswith(field)), 0.0)


def processor_ns(pid: int) -> dict[tuple[int, str], int]:
    """What each thread of a process has had of the processors, by its id and name."""
    found: dict[tuple[int, str], int] = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended meanwhile
            name = (thread / "comm").read_text().strip()
            found[int(thread.name), name] = int((thread / "schedstat").read_text().split()[0])
    return found
