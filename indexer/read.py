"""One file becomes a reading: what it was when it was read, and its chunks with their terms.

Runs in a child process, which a hostile file may slow, swell or kill without harm to anybody else.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from indexer import lexical
from indexer.chunk import Chunk, chunk
from indexer.parse import Kind, Unreadable, parse, refuse

__all__ = ["Moved", "ReadChunk", "Reading", "Unreadable", "read"]

_TRIES = 3
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Moved(Exception):
    """The file kept changing while it was read: come back when it is quiet."""


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """A chunk as `indexer.chunk` gives it; `terms` as `indexer.lexical.pack` does."""

    text: str
    start: int
    end: int
    start_line: int | None
    end_line: int | None
    page: int | None
    heading: str | None
    terms: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """The stat and the content belong to the same moment. `sha256` is hexadecimal."""

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    title: str | None
    kind: Kind
    chunks: list[ReadChunk]


def read(path: str, tokenizer_file: str, size: int, overlap: int, max_bytes: int) -> Reading:
    """Reads, parses and chunks one file.

    Raises:
        Unreadable: it gives no text, and why, in words for people.
        Moved: it changed under each of three readings.
        FileNotFoundError: it is gone.
    """
    refuse(Path(path))
    data, at = _steady_bytes(path, max_bytes)
    document = parse(Path(path), data)
    chunks = chunk(document, _offsets(tokenizer_file), size, overlap)
    return Reading(
        sha256=hashlib.sha256(data).hexdigest(),
        size=at.st_size,
        mtime_ns=at.st_mtime_ns,
        ctime_ns=at.st_ctime_ns,
        inode=at.st_ino,
        title=document.title,
        kind=document.kind,
        chunks=[_read_chunk(found) for found in chunks],
    )


def _read_chunk(found: Chunk) -> ReadChunk:
    return ReadChunk(
        found.text,
        found.start,
        found.end,
        found.start_line,
        found.end_line,
        found.page,
        found.heading,
        lexical.pack(lexical.terms(found.text)),
    )


@cache
def _offsets(tokenizer_file: str) -> Callable[[str], Sequence[tuple[int, int]]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # encode_batch, for encode holds the GIL all along.
    return lambda text: tokenizer.encode_batch([text], add_special_tokens=False)[0].offsets


def _steady_bytes(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    for _ in range(_TRIES):
        try:
            data, before = _bytes(path, max_bytes)
            after = os.lstat(path)
        except NotADirectoryError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unreadable(_refused(error)) from error
        if _identity(before) == _identity(after) and len(data) == before.st_size:
            return data, before
    raise Moved(f"expected a file at rest, {path} changed under {_TRIES} readings: it is read again when it is quiet")


def _bytes(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    # O_NONBLOCK: opening a named pipe would wait for a writer. O_NOFOLLOW: a link may lead out of the folders.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            found = _KINDS.get(stat.S_IFMT(now.st_mode), "something else")
            raise Unreadable(f"expected a regular file, found {found}: leave it out")
        if now.st_size > max_bytes:
            most, came = max_bytes / 2**20, now.st_size / 2**20
            raise Unreadable(f"expected at most {most:.3g} MB, found {came:.3g} MB: split it or leave it out")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes + 1), now
    finally:
        os.close(descriptor)


def _identity(at: os.stat_result) -> tuple[int, int, int, int]:
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns


def _refused(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "expected a readable file, permission was denied: allow reading it, or leave it out"
    if error.errno == errno.ELOOP:
        return "expected a regular file, found a symbolic link: add the folder it leads to"
    if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
        return "expected a regular file, found a socket: leave it out"
    return f"expected a readable file, the system says: {os.strerror(error.errno or 0)}"
