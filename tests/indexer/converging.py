"""Lives of the indexer, killed one after the other while a user changes the files; the last one comes to its end. Does
the index then say what a fresh index of the same tree says?

    python -m tests.indexer.converging once|watching SEED…          a line of JSON for each seed

A process of its own, with no thread and no event loop, so that it may fork: each life is a fork of it that has
everything imported. It gives up root's privileges, to which chmod 000 means nothing.
"""

import ctypes
import json
import logging
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from tests.indexer.lives import LIMIT_S, Mode, compare_with_fresh, life, look_at_the_dead
from tests.indexer.unruly import User, unlock

_LONGEST_SILENCE_S = LIMIT_S + 15
_MOST_LIVES = 3  # that are killed
_END_S = 10
_ANY_TIME, _THE_END = "any time", "the end"  # what no life says
_OFTEN = ("reads", "has-read")  # once for each file
_NOT_HERE = 77
_HERE = Path(__file__).parent.parent.parent
_SUBREAPER, _DROP_FROM_BOUNDING_SET, _LAST_CAPABILITY = 36, 24, 63


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed. `differences`: where the index was wrong, in words; `did`: what was done before."""

    seed: int
    mode: Mode
    kills: int
    operations: int
    documents: int
    chunks: int
    failed: int
    seconds: float
    differences: Sequence[str]
    did: Sequence[str]


class NotHere(Exception):
    """This machine cannot tell; the message says why."""


def outcomes(mode: Mode, seeds: Iterable[int]) -> Iterator[Outcome]:
    """One after the other, from a process of its own. Raises NotHere."""
    command = [sys.executable, "-m", "tests.indexer.converging", mode, *map(str, seeds)]
    # The numeric libraries' own threads would be there before the first fork.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, cwd=_HERE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            yield Outcome(**json.loads(line))
    if process.returncode == _NOT_HERE:
        raise NotHere("the files' user cannot be kept out by chmod 000: run this as an ordinary user")
    if process.returncode:
        raise RuntimeError(f"expected {' '.join(command)} to end well, it ended with status {process.returncode}")


def converge(seed: int, mode: Mode, place: Path, fast: Path) -> Outcome:
    """`place`: for the tree. `fast`: for the data folders; a disk in memory saves the time of each flush, and loses
    nothing by a kill."""
    began, dice = time.monotonic(), random.Random(f"{seed} {mode}")
    user = User(place / "root", place / "outside", dice)
    for _ in range(dice.randint(5, 60)):
        user.act()
    trial = _Trial(user, mode, fast)
    try:
        for _ in range(dice.randint(1, _MOST_LIVES)):
            trial.live()
            for _ in range(dice.choice([0, 0, 1, 5, 20])):
                user.act()
            for path in user.all(False)[: dice.choice([0, 1, 3])]:
                user.meddle(str(path))
        trial.live_to_the_end()
        counts = trial.compare()
    except _Wrong as wrong:
        trial.differences += wrong.args
        counts = {"documents": 0, "chunks": 0, "failed": 0}
    return Outcome(
        seed,
        mode,
        trial.kills,
        user.count,
        **counts,
        seconds=round(time.monotonic() - began, 2),
        differences=trial.differences,
        did=[line.encode(errors="backslashreplace").decode() for line in user.did] if trial.differences else [],
    )


class _Wrong(Exception):
    """The trial is over; the message says what was wrong."""


class _Trial:
    def __init__(self, user: User, mode: Mode, fast: Path) -> None:
        self.user, self.mode, self.data = user, mode, fast / "data"
        self._fast, self._log, self._report = fast, fast / "log", fast / "report"
        self.kills = 0
        self.differences: list[str] = []

    def live(self) -> None:
        """A life that is killed at a word of it, or a little later, or at any time; or comes to its end."""
        dice = self.user.dice
        last = dice.choice(["reads", "has-read", "has-embedded", "has-embedded", _ANY_TIME, _THE_END, _THE_END])
        words = dice.choice([1, 1, 2, 5, 20]) if last in _OFTEN else dice.choice([1, 1, 1, 2])
        wait_s = dice.choice([0, 0.003, 0.02, 0.1]) * dice.random()
        any_time_s = dice.choice([0.05, 0.5, 2]) * dice.random()
        until = time.monotonic() + (any_time_s if last == _ANY_TIME else 5 if self.mode == "once" else 1.2)
        pid, life = self._begin(None)
        with closing(life):
            while words and (left_s := until - time.monotonic()) > 0:
                word = _heard(life, min(left_s, dice.choice([0.002, 0.05, 0.3])))
                if word == "":
                    return self._ended(pid)
                self._meanwhile(word)
                if word:
                    words -= word.partition(" ")[0] == last
                    if words or wait_s:
                        life.sendall(b".")
            time.sleep(wait_s)
            os.kill(pid, signal.SIGKILL)
        self._bury()
        self.kills += 1
        self._look_at_the_dead()
        return None

    def live_to_the_end(self) -> None:
        """The last life; that of a daemon sees some of what is done, and may be killed once it is quiet."""
        dice = self.user.dice
        to_do = dice.randint(3, 30) if self.mode == "watching" else 0
        kill = dice.random() < 0.5
        if not to_do:
            self._finish()
        pid, life = self._begin(self.user.mark)
        with closing(life):
            while (word := _heard(life, dice.choice([0.002, 0.05, 0.5]) if to_do else _LONGEST_SILENCE_S)) != "":
                if word == "quiet" and kill:
                    os.kill(pid, signal.SIGKILL)
                    return self._bury()
                if not word and not to_do:
                    os.kill(pid, signal.SIGKILL)
                    self._bury()
                    raise _Wrong(f"it said nothing for {_LONGEST_SILENCE_S} s: {self._said()}")
                if to_do:
                    self._meanwhile(word)
                    to_do -= not word  # not while it is busy: what comes to a daemon at rest is to be heard too
                    if not to_do:
                        self._finish()
                if word:
                    life.sendall(b".")
        return self._ended(pid)

    def compare(self) -> dict[str, int]:
        found = self._do(partial(compare_with_fresh, self.data, self.user.root, self.mode, self._fast / "fresh"))
        return {name: found[name] for name in ("documents", "chunks", "failed")}

    def _look_at_the_dead(self) -> None:
        """In a copy: what the next life finds is to be what the kill has left."""
        if (self.data / "store").exists():
            copy = self._fast / "copy"
            subprocess.run(["cp", "-r", "--sparse=always", str(self.data), str(copy)], check=True)
            self._do(partial(look_at_the_dead, copy))
            shutil.rmtree(copy)

    def _do(self, work: Callable[[Path], Awaitable[None]]) -> dict[str, Any]:
        """In a fork, as this process may open no store."""
        pid = self._fork(partial(work, self._report))
        self._ended(pid)
        found = json.loads(self._report.read_text())
        self.differences += found["differences"]
        return found

    def _finish(self) -> None:
        self.user.settle()
        self.user.leave_mark()

    def _meanwhile(self, word: str | None) -> None:
        dice = self.user.dice
        what, _, path = (word or "").partition(" ")
        if path and dice.random() < (0.3 if what == "has-read" else 0.1):
            self.user.meddle(path)
        elif dice.random() < (0.1 if word else 0.7):
            for _ in range(dice.choice([1, 1, 1, 3, 10])):
                self.user.act()

    # --- processes

    def _begin(self, mark: Path | None) -> tuple[int, socket.socket]:
        ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
        pid = self._fork(partial(life, self.data, self.user.root, self.mode, its, mark))
        its.close()
        return pid, ours

    def _fork(self, work: Callable[[], Awaitable[None]]) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            logging.basicConfig(level=logging.INFO)
            anyio.run(work)
            status = 0
        except BaseException:  # noqa: BLE001 (whatever it was: said, and told by the status)
            traceback.print_exc()
        finally:
            os._exit(status)

    def _ended(self, pid: int) -> None:
        _, status = os.waitpid(pid, 0)
        self._bury()
        if status:
            raise _Wrong(f"a process ended with status {status}: {self._said()}")

    def _bury(self) -> None:
        """Whom a life has started ends with it: orphans become children of this process, and are to end at once."""
        until = time.monotonic() + _END_S
        while True:
            try:
                found, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not found and time.monotonic() > until:
                raise _Wrong("a process that a life had started did not end with it")
            if not found:
                time.sleep(0.001)

    def _said(self) -> str:
        return self._log.read_text()[-3000:]


def _heard(life: socket.socket, within_s: float) -> str | None:
    """What a life says; nothing when it does not speak in time; "" when it has ended."""
    if not select.select([life], [], [], within_s)[0]:
        return None
    try:
        return os.fsdecode(life.recv(8192))
    except ConnectionResetError:
        return ""


def give_up_privileges() -> None:
    """For this process and all it starts: what then is root by name has the rights of any owner of files. (Another user
    could not run a Python that lies in root's home.)"""
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    if os.geteuid() == 0:
        for capability in range(_LAST_CAPABILITY + 1):
            libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capset(header, none)
    with tempfile.NamedTemporaryFile() as locked:
        Path(locked.name).chmod(0)
        if os.access(locked.name, os.R_OK):
            sys.exit(_NOT_HERE)


def main() -> None:
    mode: Mode = "once" if sys.argv[1] == "once" else "watching"
    give_up_privileges()
    memory = Path("/dev/shm")
    for seed in map(int, sys.argv[2:]):
        place = Path(tempfile.mkdtemp(prefix="tandem-")).resolve()
        fast = Path(tempfile.mkdtemp(prefix="tandem-", dir=memory if memory.is_dir() else None)).resolve()
        try:
            outcome = converge(seed, mode, place, fast)
        finally:
            unlock(place)
            shutil.rmtree(place)
            shutil.rmtree(fast)
        print(json.dumps(asdict(outcome)), flush=True)  # noqa: T201 (stdout is for results)


if __name__ == "__main__":
    main()
