"""Files are read in a child process, which a hostile one may slow, swell or kill without harm to anybody else.

    async with reading(tokenizer, size=240, overlap=40) as reader:
        found = await reader.read(path)

The child starts with the first file, stays warm between files and ends when idle, with this context, and with this
process. What it may use per file is in `Limits`; it gets none of this process's environment, files or privileges.
"""

import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from indexer.read import Moved, Reading, Secret, Unreadable
from indexer.reader import LENGTH, MAX_FRAME_BYTES, Limits, Ready, Refused, Setting, too_large

__all__ = ["LIMITS", "Limits", "Moved", "NoReader", "Reader", "Reading", "Secret", "Unreadable", "reading"]

logger = logging.getLogger("tandem.index")

LIMITS = Limits()
_START_S = 60
_END_S = 5
# The modules this process has, from where it has them, and nothing else: no file in the working folder is imported.
_MAIN = "import sys; sys.path[:] = sys.argv[1:]; from indexer.reader import main; main()"
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

_answers = msgspec.msgpack.Decoder(Ready | Reading | Refused)


class NoReader(Exception):
    """No process that reads could be started: the fault is here and in no file."""


@asynccontextmanager
async def reading(
    tokenizer: Path, *, size: int, overlap: int, limits: Limits = LIMITS, background: bool = False
) -> AsyncGenerator["Reader"]:
    """A reader whose child process, if it has one by then, is gone once the context is left.

    Args:
        tokenizer: the file `indexer.offsets` takes; `size` and `overlap` are those of `indexer.chunk`.
        background: other programs go first.
    """
    reader = Reader(Setting(str(tokenizer), size, overlap, limits, background, os.getpid()))
    try:
        yield reader
    finally:
        await reader.end()


class Reader:
    """Reads one file at a time; who comes meanwhile waits."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._one = anyio.Lock()
        self._child: _Child | None = None
        self._ended = False

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return self._child.pid if self._child else None

    async def read(self, path: str) -> Reading:
        """Reads, parses and chunks one file; the name may have bytes that are no text, as `os.fsdecode` gives them.

        Raises:
            Unreadable: it gives no text or costs too much, and why, in words for people; Secret: it must not.
            Moved: it kept changing under us.
            FileNotFoundError: it is gone.
            NoReader: no file can be read here.
        """
        async with self._one:
            # A child that was idle may end in the moment in which it is asked. A new one is not idle.
            answer = await self._ask(path) or await self._ask(path)
        if isinstance(answer, Reading):
            return answer
        raise _error(path, answer or Refused("unreadable", "the parser ended in the midst of it: leave it out"))

    async def end(self) -> None:
        self._ended = True
        if child := self._child:
            self._child = None
            await child.end()

    async def _ask(self, path: str) -> Reading | Refused | None:
        """None: the child had ended by itself before it began."""
        assert not self._ended, "expected an open reader"
        limits = self._setting.limits
        child = self._child = self._child or await _start(self._setting)
        answer: Ready | Reading | Refused | None = None
        status: int | None = None
        try:
            with anyio.move_on_after(limits.wall_s) as wall:
                answer = await child.ask(os.fsencode(path))
        finally:
            if answer is None:
                # Dead, late, or we are cancelled: what it says from now on answers nobody.
                self._child = None
                status = await child.end()
        if wall.cancelled_caught:
            return Refused("unreadable", f"reading it took longer than {limits.wall_s:g} s: split it or leave it out")
        if answer is None:
            return None if status == 0 else Refused("unreadable", _why(status, limits))
        assert not isinstance(answer, Ready)
        return answer


class _Child:
    def __init__(self, process: Process) -> None:
        assert process.stdin and process.stdout
        self._process, self._requests = process, process.stdin
        self._answers = BufferedByteReceiveStream(process.stdout)

    @property
    def pid(self) -> int | None:
        return None if self._process.returncode is not None else self._process.pid

    async def ask(self, request: bytes) -> Ready | Reading | Refused | None:
        """The answer; none where the child has ended, or says what nobody can understand."""
        try:
            await self._requests.send(LENGTH.pack(len(request)) + request)
            (length,) = LENGTH.unpack(await self._answers.receive_exactly(LENGTH.size))
            if length <= MAX_FRAME_BYTES:
                return _answers.decode(await self._answers.receive_exactly(length))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, ConnectionError):
            # It is about to leave its status, which is worth a moment.
            with anyio.move_on_after(_END_S):
                await self._process.wait()
        except (msgspec.DecodeError, UnicodeDecodeError):
            logger.exception("expected an answer of the reading process, found something else")
        return None

    async def end(self) -> int | None:
        """Its exit status; none where it does not end, as with a file system that hangs."""
        with suppress(ProcessLookupError):
            self._process.kill()
        with anyio.move_on_after(_END_S, shield=True):
            await self._process.aclose()
        return self._process.returncode


async def _start(setting: Setting) -> _Child:
    flags = ["-I", "-S", "-B", "-X", "utf8", "-c", _MAIN]
    process = await anyio.open_process(
        [sys.executable, *flags, *_module_folders()],
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        cwd="/",
        env={name: os.environ[name] for name in _KEPT if name in os.environ} | _ONE_THREAD,
        start_new_session=True,
    )
    child = _Child(process)
    answer = None
    try:
        with anyio.move_on_after(_START_S):
            answer = await child.ask(msgspec.msgpack.encode(setting))
    finally:
        status = None if isinstance(answer, Ready) else await child.end()
    if isinstance(answer, Ready):
        return child
    found = answer.reason if isinstance(answer, Refused) else f"one that ended with status {status}"
    raise NoReader(f"expected a process that reads files, found: {found}; run `tandem doctor`, or install anew")


def _module_folders() -> list[str]:
    here = str(Path(__file__).resolve().parent.parent)
    return [str(Path(folder).absolute()) for folder in dict.fromkeys([*sys.path, here]) if folder]


def _error(path: str, refused: Refused) -> Exception:
    if refused.trace:
        logger.error("%r: the parser failed\n%s", path, refused.trace)
    match refused.error:
        case "unreadable":
            return Unreadable(refused.reason)
        case "secret":
            return Secret(refused.reason)
        case "moved":
            return Moved(refused.reason)
        case "gone":
            return FileNotFoundError(refused.reason)


def _why(status: int | None, limits: Limits) -> str:
    if status is None or status >= 0:
        return f"the parser crashed on it (exit status {status}): leave it out"
    if -status == signal.SIGXCPU:
        return f"expected to be read within {limits.cpu_s} s of computing, it took longer: split it or leave it out"
    if -status in (signal.SIGABRT, signal.SIGKILL):
        # What libraries in C++ and Rust do without memory; what the system does to those who use most.
        return f"{too_large(limits)} (signal {-status})"
    return f"the parser crashed on it (signal {-status}): leave it out"
