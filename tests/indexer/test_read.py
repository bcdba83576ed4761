# tokenizers takes keywords without types.
# pyright: reportUnknownMemberType=false

import hashlib
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from pathlib import Path

import msgspec
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from indexer import lexical
from indexer.chunk import Chunk, chunk
from indexer.parse import parse
from indexer.read import Moved, ReadChunk, Reading, Secret, Unreadable, read

MAX_BYTES = 1 << 20


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A WordPiece tokenizer whose file cuts and pads at 8 tokens, as real ones do at 128."""
    tokenizer = Tokenizer(WordPiece({"[UNK]": 0, "[PAD]": 1, "word": 2, "##s": 3, ".": 4}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_a_file_is_read_into_chunks_with_their_terms(tmp_path: Path, tokenizer_file: str) -> None:
    path = tmp_path / "note.md"
    text = "# Title\r\n\r\n" + "Many herons stand here. " * 60
    path.write_bytes(text.encode())
    reading = read(str(path), tokenizer_file, 40, 8, MAX_BYTES)
    now = path.stat()
    assert (reading.sha256, reading.size) == (hashlib.sha256(text.encode()).hexdigest(), len(text))
    assert (reading.mtime_ns, reading.ctime_ns, reading.inode) == (now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
    assert (reading.title, reading.kind) == ("Title", "markdown")
    tokens = [(word.start(), word.end()) for word in re.finditer(r"\w+|[^\w\s]", text)]
    assert [part.text for part in reading.chunks] == [
        part.text for part in chunk(parse(path, text.encode()), lambda _: tokens, 40, 8)
    ]
    for part in reading.chunks:
        assert part.text == text[part.start : part.end]
        assert part.heading == "Title"
        assert part.terms == lexical.pack(lexical.terms(part.text))
        assert set(lexical.terms(f"Title {path.parent.name} {path.name}")) <= set(lexical.unpack(part.fields))
    assert (reading.chunks[0].start_line, reading.chunks[0].end_line) == (1, 3)


def test_a_read_chunk_has_all_that_a_chunk_has_and_survives_the_way_to_another_process() -> None:
    assert list(ReadChunk.__struct_fields__) == [*(field.name for field in fields(Chunk)), "terms", "fields"]
    reading = Reading("ab", 1, 2, 3, 4, None, "text", "english", [ReadChunk("a", 0, 1, 1, 1, None, None, "", b"", b"")])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(reading), type=Reading) == reading


PEM = "-----BEGIN {}PRIVATE KEY{}-----"


@pytest.mark.parametrize(
    "text",
    [
        PEM.format("", "") + "\nMIIEvQ==\n",
        PEM.format("RSA ", "") + "\r\nMIIEvQ==",
        PEM.format("OPENSSH ", "") + "\nb3BlbnNzaC1rZXk=",
        PEM.format("PGP ", " BLOCK") + "\n\nlQHYBF",
        '{"type": "service_account", "private_key": "' + PEM.format("", "") + '\\nMIIEvQ==\\n"}',
        "-----BEGIN CERTIFICATE-----\n" + "MIIC\n" * 2000 + PEM.format("EC ", "") + "\nMHcC",
        "\ufeffBag Attributes\n" + "localKeyID: 01\n" * 400 + PEM.format("ENCRYPTED ", "") + "\nMIIF",
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
    ],
)
def test_a_private_key_is_left_out_whatever_its_file_is_called(tmp_path: Path, tokenizer_file: str, text: str) -> None:
    path = tmp_path / "notes.md"
    path.write_text(text)
    with pytest.raises(Secret, match="left out: it holds a private key"):
        read(str(path), tokenizer_file, 40, 8, MAX_BYTES)


@pytest.mark.parametrize(
    "text",
    [
        f'KEY = re.compile("{PEM.format("RSA ", "")}")  # what we look for\n',
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n",
        "How to make a key.\n" * 500 + PEM.format("", "") + "\n(yours)\n",
    ],
)
def test_a_file_that_only_speaks_of_keys_is_read(tmp_path: Path, tokenizer_file: str, text: str) -> None:
    path = tmp_path / "notes.md"
    path.write_text(text)
    assert read(str(path), tokenizer_file, 40, 8, MAX_BYTES).chunks


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, tokenizer_file: str) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "link.txt").symlink_to("/etc/hostname")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.txt"))
    for name, found in [("pipe", "a named pipe"), ("folder", "a folder"), ("link", "a symbolic link")]:
        with pytest.raises(Unreadable, match=f"expected a regular file, found {found}"):
            read(str(tmp_path / f"{name}.txt"), tokenizer_file, 40, 8, MAX_BYTES)
    with pytest.raises(Unreadable, match="expected a regular file, found a socket"):
        read(str(tmp_path / "socket.txt"), tokenizer_file, 40, 8, MAX_BYTES)
    with pytest.raises(Unreadable, match="expected a regular file, found a device"):
        read("/dev/zero", tokenizer_file, 40, 8, MAX_BYTES)


def test_a_file_that_is_too_large_is_refused_by_its_size(tmp_path: Path, tokenizer_file: str) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(Unreadable, match="expected at most 1 MB, found 3 MB"):
        read(str(path), tokenizer_file, 40, 8, MAX_BYTES)
    path.write_bytes(b" " * MAX_BYTES)
    assert read(str(path), tokenizer_file, 40, 8, MAX_BYTES).size == MAX_BYTES


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, tokenizer_file: str) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("secret")
    path.chmod(0)
    with pytest.raises(Unreadable, match="permission was denied"):
        read(str(path), tokenizer_file, 40, 8, MAX_BYTES)


def test_a_file_that_is_gone_is_gone_also_when_its_folder_became_a_file(tmp_path: Path, tokenizer_file: str) -> None:
    (tmp_path / "was-a-folder").write_text("now a file")
    for name in ("gone.txt", "was-a-folder/note.txt"):
        with pytest.raises(FileNotFoundError):
            read(str(tmp_path / name), tokenizer_file, 40, 8, MAX_BYTES)


def test_a_file_that_grows_under_every_reading_has_moved(tmp_path: Path, tokenizer_file: str) -> None:
    path = tmp_path / "growing.txt"
    large(path)
    with path.open("ab", buffering=0) as file, disturbed(lambda: file.write(b"\0")), pytest.raises(Moved):
        for _ in range(50):
            with suppress(Unreadable):
                read(str(path), tokenizer_file, 40, 8, 64 << 20)


def test_a_file_that_stays_the_same_in_all_but_its_ctime_has_moved(tmp_path: Path, tokenizer_file: str) -> None:
    path = tmp_path / "same.txt"
    large(path)
    now = path.stat()
    touch = partial(os.utime, path, ns=(now.st_atime_ns, now.st_mtime_ns))
    with disturbed(touch), pytest.raises(Moved):
        for _ in range(50):
            with suppress(Unreadable):
                read(str(path), tokenizer_file, 40, 8, 64 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that holds more than its size says, each time")
def test_a_file_in_motion_is_given_time_to_settle(tokenizer_file: str) -> None:
    began = time.monotonic()
    with pytest.raises(Moved, match="expected a file at rest"):
        read("/proc/self/status", tokenizer_file, 40, 8, MAX_BYTES)
    assert 0.25 < time.monotonic() - began < 5


def test_a_film_is_refused_by_its_name_before_it_is_read(tmp_path: Path, tokenizer_file: str) -> None:
    with pytest.raises(Unreadable, match=r"unsupported: .*found a \.mp4 file"):
        read(str(tmp_path / "holiday.MP4"), tokenizer_file, 40, 8, MAX_BYTES)


def large(path: Path) -> None:
    """Longer to read than the clock's tick, quick to refuse where that succeeds."""
    with path.open("wb") as file:
        file.truncate(48 << 20)


@contextmanager
def disturbed(act: Callable[[], object]) -> Generator[None]:
    """Again and again, from another thread."""
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            act()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
