"""One file becomes a reading: what it was when it was read, and its chunks with their terms.

Runs in a child process, which a hostile file may slow, swell or kill without harm to anybody else.
"""

import errno
import hashlib
import os
import re
import stat
import time
from pathlib import Path

import msgspec
import numpy as np

from indexer import lexical
from indexer.chunk import Chunk, chunk
from indexer.dates import months
from indexer.language import ENGLISH, language_of
from indexer.offsets import offsets
from indexer.parse import Kind, Unreadable, parse, refuse
from indexer.records import searched

__all__ = ["MAX_CHARACTERS", "MAX_CHUNKS", "Moved", "ReadChunk", "Reading", "Secret", "Unreadable", "read"]

MAX_CHARACTERS = 40_000_000
MAX_CHUNKS = 100_000
# A file that is being written mostly settles within these.
_WAITS_S = (0.01, 0.05, 0.2)
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[ \t]*(?:\r|\n|\\[rn])|PuTTY-User-Key-File-\d"
)
# A certificate's chain may stand before its key.
_BUNDLE = (b"-----BEGIN ", b"Bag Attributes")
_START_BYTES = 4096
_PATH_PARTS = 3  # of a path's end: further up, folders say where the files lie and not what they are about
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Moved(Exception):
    """The file kept changing while it was read: come back when it is quiet."""


class Secret(Unreadable):
    """The file holds a private key: it is left out whoever asks."""


class ReadChunk(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A chunk as `indexer.chunk` gives it. `terms` and `fields` as `indexer.lexical.pack` gives them: of context and
    text, and of what the chunk stands under: its headings, the document's title and the end of its path."""

    text: str
    start: int
    end: int
    start_line: int | None
    end_line: int | None
    page: int | None
    heading: str | None
    context: str
    terms: bytes
    fields: bytes


class Reading(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The stat and the content belong to the same moment. `sha256` is hexadecimal."""

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    title: str | None
    kind: Kind
    language: str
    chunks: list[ReadChunk]


def read(
    path: str,
    tokenizer_file: str,
    size: int,
    overlap: int,
    max_bytes: int,
    max_characters: int = MAX_CHARACTERS,
    max_chunks: int = MAX_CHUNKS,
) -> Reading:
    """Reads, parses and chunks one file. `max_bytes` holds on disk, `max_characters` for the text in it.

    Raises:
        Unreadable: it gives no text, and why, in words for people; Secret: it holds a private key.
        Moved: it changed under each of the readings.
        FileNotFoundError: it is gone.
    """
    refuse(Path(path))
    data, at = _steady_bytes(path, max_bytes)
    _refuse_key(data)
    document = parse(Path(path), data)
    _refuse_long("characters of text", len(document.text), max_characters)
    chunks = chunk(document, offsets(tokenizer_file), size, overlap)
    _refuse_long("passages", len(chunks), max_chunks)
    # Of code even the comments are an English of their own.
    language = ENGLISH if document.kind == "code" else language_of(document.text)
    above = f"{document.title or ''} {' '.join(Path(path).parts[-_PATH_PARTS:])}"
    above = " ".join((above, *months(above, language)))
    return Reading(
        sha256=hashlib.sha256(data).hexdigest(),
        size=at.st_size,
        mtime_ns=at.st_mtime_ns,
        ctime_ns=at.st_ctime_ns,
        inode=at.st_ino,
        title=document.title,
        kind=document.kind,
        language=language,
        chunks=[_read_chunk(found, above, language) for found in chunks],
    )


def _refuse_key(data: bytes) -> None:
    whole = data[:_START_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_BUNDLE)
    if _PRIVATE_KEY.search(data if whole else data[:_START_BYTES]):
        raise Secret("left out: it holds a private key, and what is indexed can be quoted")


def _refuse_long(of_what: str, found: int, most: int) -> None:
    if found > most:
        raise Unreadable(f"expected at most {most:,} {of_what}, found {found:,}: split it or leave it out")


def _read_chunk(found: Chunk, above: str, language: str) -> ReadChunk:
    fields = lexical.terms(f"{found.heading or ''} {above}", language)
    return ReadChunk(
        found.text,
        found.start,
        found.end,
        found.start_line,
        found.end_line,
        found.page,
        found.heading,
        found.context,
        lexical.pack(lexical.terms(searched(found.context, found.text), language)),
        lexical.pack(np.unique(fields)),
    )


def _steady_bytes(path: str, max_bytes: int) -> tuple[bytes, os.stat_result]:
    for wait_s in (*_WAITS_S, None):
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
        if wait_s is not None:
            time.sleep(wait_s)
    raise Moved("expected a file at rest, found one that changes: it is read again when it is quiet")


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
            raise Unreadable(f"expected at most {most:.4g} MB, found {came:.4g} MB: split it or leave it out")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(now.st_size + 1), now
    finally:
        os.close(descriptor)


def _identity(at: os.stat_result) -> tuple[int, int, int, int, int]:
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns


def _refused(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "expected a readable file, permission was denied: allow reading it, or leave it out"
    if error.errno == errno.ELOOP:
        return "expected a regular file, found a symbolic link: add the folder it leads to"
    if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
        return "expected a regular file, found a socket: leave it out"
    return f"expected a readable file, the system says: {os.strerror(error.errno or 0)}"
