"""The child process in which files are read: a path comes in on stdin, what became of it goes out on stdout.

    parent                          child
    Setting        ->
                   <-  Ready | Refused        (Refused: it cannot work at all, and why)
    path           ->
                   <-  Reading | Refused      (again and again)

Each is a frame: four bytes of length, least first, and that many bytes; a path as the file system has it, the others
as msgpack. The child ends itself with status 0, between two frames only: after some idleness, at the end of its
stdin, and after a file that left it swollen. The parent then starts another for the next file.
"""

import gc
import os
import resource
import select
import signal
import struct
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from indexer.read import MAX_CHARACTERS, MAX_CHUNKS, Moved, Reading, Secret, Unreadable, read

LENGTH = struct.Struct("<I")
MAX_FRAME_BYTES = 512 << 20

encode = msgspec.msgpack.encode

_OPEN_FILES = 64
_SWOLLEN_BYTES = 128 << 20
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Limits(msgspec.Struct, frozen=True):
    """What one file may cost, and how long an idle child stays. `memory_bytes`: beyond the child's own."""

    wall_s: float = 120
    cpu_s: int = 60
    memory_bytes: int = 1536 << 20
    file_bytes: int = 64 << 20
    characters: int = MAX_CHARACTERS
    chunks: int = MAX_CHUNKS
    idle_s: float = 60


class Setting(msgspec.Struct, frozen=True):
    """`parent`: the process without which the child has no business. `background`: others go first."""

    tokenizer: str
    size: int
    overlap: int
    limits: Limits
    background: bool
    parent: int


class Ready(msgspec.Struct, frozen=True, array_like=True, tag=True):
    pass


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """`trace`: where the parser failed, if that was not foreseen."""

    error: Literal["unreadable", "secret", "moved", "gone"]
    reason: str
    trace: str = ""


def main() -> None:
    paths, answers = _pipes()
    setting = msgspec.msgpack.decode(_frame(paths) or b"", type=Setting)
    _follow(setting.parent)
    try:
        _settle(setting)
    except Exception as error:  # noqa: BLE001 (the parent is to hear it)
        reason = f"{type(error).__name__}: {_printable(error)}"
        _send(answers, encode(Refused("unreadable", reason, traceback.format_exc())))
        return
    _send(answers, encode(Ready()))
    own_bytes = _bytes()
    idle_s: float | None = None  # it was started for a file: that one it waits for, however late
    while select.select([paths], [], [], idle_s)[0] and (path := _frame(paths)) is not None:
        _allow_cpu(setting.limits.cpu_s)
        _send(answers, _answer(os.fsdecode(path), setting))
        idle_s = setting.limits.idle_s
        if swollen(_bytes(), own_bytes, setting.limits):
            break
    # At once: to the parent the end of stdout is to mean that the status is there.
    os._exit(0)


def _pipes() -> tuple[int, BinaryIO]:
    """The parent's pipes, moved to where nothing that a library prints or asks for gets into them."""
    paths, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return paths, os.fdopen(answers, "wb")


def _follow(parent: int) -> None:
    """Linux ends this process with its parent. Elsewhere the end of stdin does, once the file in hand is read."""
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # it went before the line above


def _settle(setting: Setting) -> None:
    """Loads what every file needs, then gives up what none needs."""
    from indexer.offsets import offsets

    offsets(setting.tokenizer)
    if setting.background:
        os.nice(10)
    if sys.platform == "linux":
        # Where memory runs out all the same, this process goes first.
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        _limit(resource.RLIMIT_AS, _bytes()[0] + setting.limits.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    # A reading is a million small objects without a cycle: looking for one after each 700 takes half the time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _limit(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def _allow_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _bytes() -> tuple[int, int]:
    """Of address space and of memory in use; where the system does not say so cheaply, none."""
    if sys.platform != "linux":
        return 0, 0
    space, resident, *_ = Path("/proc/self/statm").read_text().split()
    return int(space) * resource.getpagesize(), int(resident) * resource.getpagesize()


def swollen(now: tuple[int, int], own: tuple[int, int], limits: Limits) -> bool:
    """Whether the next file would find too little room, or an idle child would hold on to too much."""
    return now[0] - own[0] > limits.memory_bytes // 2 or now[1] - own[1] > _SWOLLEN_BYTES


def _answer(path: str, setting: Setting) -> bytes:
    try:
        return encode(_read(path, setting))
    except Exception as error:  # noqa: BLE001 (a parser's fault costs its file only)
        refused = _refused(error, path, setting.limits)
    # Only here is what the error held on to gone, which may be all the memory there is.
    return encode(refused)


def _read(path: str, setting: Setting) -> Reading:
    limits = setting.limits
    return read(
        path, setting.tokenizer, setting.size, setting.overlap, limits.file_bytes, limits.characters, limits.chunks
    )


def _refused(error: Exception, path: str, limits: Limits) -> Refused:
    if isinstance(error, Secret):
        return Refused("secret", _printable(error))
    if isinstance(error, Unreadable):
        return Refused("unreadable", _printable(error))
    if isinstance(error, Moved):
        return Refused("moved", _printable(error))
    if isinstance(error, FileNotFoundError) and error.filename == path:
        return Refused("gone", _printable(error))
    if isinstance(error, MemoryError):
        return Refused("unreadable", too_large(limits))
    if isinstance(error, RecursionError):
        return Refused("unreadable", "expected a file nested less deeply: save it anew in a plainer form")
    reason = f"the parser failed on it ({type(error).__name__}: {_printable(error)[:200]}): leave it out"
    return Refused("unreadable", reason, "".join(traceback.format_exception(error)))


def too_large(limits: Limits) -> str:
    most = limits.memory_bytes / 2**20
    return f"expected to be read with at most {most:,.0f} MB of memory, it needed more: split it or leave it out"


def _printable(error: Exception) -> str:
    """A name in it may have bytes that are no text."""
    return str(error).encode(errors="backslashreplace").decode()


def _send(answers: BinaryIO, body: bytes) -> None:
    answers.write(LENGTH.pack(len(body)))
    answers.write(body)
    answers.flush()


def _frame(paths: int) -> bytes | None:
    """The next one; none at the end."""
    head = _exactly(paths, LENGTH.size)
    return None if head is None else _exactly(paths, LENGTH.unpack(head)[0])


def _exactly(paths: int, count: int) -> bytes | None:
    found = b""
    while len(found) < count:
        some = os.read(paths, count - len(found))
        if not some:
            return None
        found += some
    return found
