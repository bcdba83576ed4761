import os
import signal
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL

import anyio
import msgspec
import pytest

from indexer.embed.weights import tokenizer
from indexer.read import read
from indexer.reader import swollen
from indexer.sandbox import Limits, Moved, NoReader, Reader, Secret, Unreadable, reading

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what only Linux holds, or shows in /proc")
# Small enough for a test to wait for, large enough for each note.
SMALL = Limits(wall_s=30, cpu_s=15, memory_bytes=400 << 20)
NOTE = "Herons stand in the reeds."


@pytest.fixture
def note(tmp_path: Path) -> str:
    path = tmp_path / "note.txt"
    path.write_text(NOTE)
    return str(path)


def open_reader(limits: Limits = SMALL):
    return reading(tokenizer(None), size=240, overlap=40, limits=limits)


async def holds(reader: Reader, note: str) -> bool:
    """Whether the reader reads an innocent file as ever."""
    with anyio.fail_after(60):
        return [chunk.text for chunk in (await reader.read(note)).chunks] == [NOTE]


async def gone(pid: int) -> None:
    """Returns once a process, anybody's, has ended."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with anyio.fail_after(30):
            await anyio.wait_readable(process)
    finally:
        os.close(process)


def long_text(path: Path, size: int = 10_000_000) -> str:
    """Takes seconds to read."""
    path.write_text("\n".join(f"value {number * 7919 % 10_007} of line {number}" for number in range(size // 27)))
    return str(path)


async def test_the_child_reads_what_this_process_would(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("# Title\n\n" + "Many herons stand here. " * 300)
    async with open_reader() as reader:
        assert await reader.read(str(path)) == read(str(path), str(tokenizer(None)), 240, 40, 1 << 20)


async def test_one_child_starts_with_the_first_file_and_stays_for_the_others(note: str) -> None:
    async with open_reader() as reader:
        assert reader.pid is None
        assert await holds(reader, note)
        first = reader.pid
        assert await holds(reader, note)
        assert first is not None and reader.pid == first


async def test_all_who_ask_at_once_get_their_own_answers(tmp_path: Path) -> None:
    texts = {str(tmp_path / f"{number}.txt"): f"This is text {number}." for number in range(20)}
    for path, text in texts.items():
        Path(path).write_text(text)
    got: dict[str, str] = {}

    async def ask(path: str) -> None:
        got[path] = (await reader.read(path)).chunks[0].text

    async with open_reader() as reader, anyio.create_task_group() as group:
        for path in texts:
            group.start_soon(ask, path)
    assert got == texts


@LINUX
async def test_an_idle_child_ends_and_the_next_file_gets_another(note: str) -> None:
    async with open_reader(Limits(idle_s=0.01)) as reader:
        assert await holds(reader, note)
        first = reader.pid
        assert first
        await gone(first)
        assert await holds(reader, note)
        assert reader.pid != first


async def test_a_child_that_ends_just_when_it_is_asked_costs_nothing(note: str) -> None:
    async with open_reader(Limits(idle_s=0)) as reader:
        for _ in range(5):
            assert await holds(reader, note)


def test_a_child_that_a_file_left_swollen_makes_way_for_a_new_one() -> None:
    limits, own = Limits(memory_bytes=1 << 30), (125 << 20, 45 << 20)
    assert not swollen(own, own, limits)
    assert not swollen((own[0] + (400 << 20), own[1] + (100 << 20)), own, limits)
    assert swollen((own[0] + (600 << 20), own[1]), own, limits)  # too little room for the next file
    assert swollen((own[0] + (200 << 20), own[1] + (200 << 20)), own, limits)  # too much to sit on


async def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path, note: str) -> None:
    async with open_reader(Limits(wall_s=1)) as reader:
        with anyio.fail_after(60), pytest.raises(Unreadable, match="took longer than 1 s"):
            await reader.read(long_text(tmp_path / "long.txt"))
        assert reader.pid is None
        assert await holds(reader, note)


@LINUX
async def test_a_file_that_needs_too_much_computing_is_given_up(tmp_path: Path, note: str) -> None:
    async with open_reader(Limits(cpu_s=1)) as reader:
        with anyio.fail_after(60), pytest.raises(Unreadable, match="within 1 s of computing"):
            await reader.read(long_text(tmp_path / "long.txt"))
        assert await holds(reader, note)


@LINUX
@pytest.mark.slow
async def test_the_computing_of_many_files_does_not_add_up(tmp_path: Path, note: str) -> None:
    path = long_text(tmp_path / "long.txt", 300_000)
    async with open_reader(Limits(cpu_s=1)) as reader:
        assert await holds(reader, note)
        first, began = reader.pid, time.monotonic()
        assert first
        while _cpu_s(first) < 3:
            assert (await reader.read(path)).chunks
            assert time.monotonic() - began < 60
        assert reader.pid == first


@LINUX
async def test_a_file_that_needs_too_much_memory_is_given_up(tmp_path: Path, note: str) -> None:
    path = tmp_path / "long.txt"
    path.write_text("word and more of them " * (20_000_000 // 22))
    async with open_reader(Limits(memory_bytes=30 << 20)) as reader:
        with anyio.fail_after(60), pytest.raises(Unreadable, match="at most 30 MB of memory, it needed more"):
            await reader.read(str(path))
        assert await holds(reader, note)


async def test_more_text_or_more_passages_than_allowed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("Herons stand here. " * 1000)
    async with open_reader(Limits(characters=5000)) as reader:
        with pytest.raises(Unreadable, match=r"at most 5,000 characters of text, found 19,000"):
            await reader.read(str(path))
    async with open_reader(Limits(chunks=3)) as reader:
        with pytest.raises(Unreadable, match=r"at most 3 passages, found \d+"):
            await reader.read(str(path))


async def test_a_file_of_a_gigabyte_is_refused_by_its_size(tmp_path: Path, note: str) -> None:
    with (tmp_path / "sparse.txt").open("wb") as file:
        file.truncate(1 << 30)
    async with open_reader() as reader:
        assert await holds(reader, note)
        with anyio.fail_after(30), pytest.raises(Unreadable, match="at most 64 MB, found 1024 MB"):
            await reader.read(str(tmp_path / "sparse.txt"))


async def test_a_crash_costs_its_file_only(tmp_path: Path, note: str) -> None:
    path = long_text(tmp_path / "long.txt")
    async with open_reader() as reader:
        assert await holds(reader, note)
        child = reader.pid
        assert child
        async with anyio.create_task_group() as group:
            group.start_soon(_fails, reader, path, r"the parser crashed on it \(signal 11\)")
            await anyio.wait_all_tasks_blocked()
            os.kill(child, signal.SIGSEGV)
        assert await holds(reader, note)


async def test_who_no_longer_waits_for_a_file_leaves_no_answer_to_the_next(tmp_path: Path, note: str) -> None:
    path = long_text(tmp_path / "long.txt")
    async with open_reader() as reader:
        assert await holds(reader, note)
        async with anyio.create_task_group() as group:
            group.start_soon(reader.read, path)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert await holds(reader, note)


@LINUX
@pytest.mark.parametrize("while_it_reads", [False, True])
async def test_leaving_ends_the_child_and_leaves_no_zombie(tmp_path: Path, note: str, while_it_reads: bool) -> None:
    path = long_text(tmp_path / "long.txt")
    child = None
    async with anyio.create_task_group() as group, open_reader() as reader:
        assert await holds(reader, note)
        child = reader.pid
        if while_it_reads:
            group.start_soon(reader.read, path)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
    assert child and not Path(f"/proc/{child}").exists()


@LINUX
async def test_the_child_of_a_killed_process_ends_with_it(tmp_path: Path, note: str) -> None:
    script = f"""
import anyio
from tests.indexer.test_sandbox import open_reader

async def main():
    async with open_reader() as reader:
        await reader.read({note!r})
        print(reader.pid, flush=True)
        await reader.read({long_text(tmp_path / "long.txt")!r})

anyio.run(main)
"""
    root = str(Path(__file__).parent.parent.parent)
    async with await anyio.open_process([sys.executable, "-c", script], stdin=DEVNULL, cwd=root) as parent:
        assert parent.stdout
        with anyio.fail_after(30):
            child = int(await parent.stdout.receive())
        parent.kill()
    await gone(child)


@LINUX
async def test_the_child_has_no_secrets_and_little_it_can_do(note: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    async with open_reader() as reader:
        assert await holds(reader, note)
        process = Path(f"/proc/{reader.pid}")
        assert b"secret" not in (process / "environ").read_bytes()
        limits = {line[:25].strip(): line[26:].split()[:2] for line in (process / "limits").read_text().splitlines()}
        assert (limits["Max core file size"], limits["Max file size"]) == (["0", "0"], ["0", "0"])
        assert limits["Max open files"] == ["64", "64"]
        assert "NoNewPrivs:\t1" in (process / "status").read_text()
        # Nothing that a library prints may come between two answers.
        opened = [str((process / "fd" / number).readlink()) for number in ("0", "1", "2")]
        assert opened == ["/dev/null"] * 3
        assert str((process / "cwd").readlink()) == "/"


@LINUX
async def test_in_the_background_other_programs_go_first(note: str) -> None:
    async with reading(tokenizer(None), size=240, overlap=40, background=True) as reader:
        assert await holds(reader, note)
        assert reader.pid and os.getpriority(os.PRIO_PROCESS, reader.pid) == min(
            os.getpriority(os.PRIO_PROCESS, 0) + 10, 19
        )


async def test_a_child_that_cannot_start_is_no_fault_of_the_file(note: str, tmp_path: Path) -> None:
    async with reading(tmp_path / "no-tokenizer.json", size=240, overlap=40) as reader:
        for _ in range(2):
            with pytest.raises(NoReader, match="expected a process that reads files, found: "):
                await reader.read(note)
            assert reader.pid is None


async def test_each_kind_of_refusal_arrives_as_itself(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n")
    (tmp_path / "film.mp4").write_bytes(b"")
    async with open_reader() as reader:
        with pytest.raises(Secret, match="left out: it holds a private key"):
            await reader.read(str(tmp_path / "key.txt"))
        with pytest.raises(Unreadable, match="unsupported"):
            await reader.read(str(tmp_path / "film.mp4"))
        with pytest.raises(FileNotFoundError):
            await reader.read(str(tmp_path / "gone.txt"))


@LINUX
async def test_a_file_that_is_never_at_rest_has_moved(note: str) -> None:
    async with open_reader() as reader:
        with anyio.fail_after(60), pytest.raises(Moved, match="expected a file at rest"):
            await reader.read("/proc/self/status")  # holds more than its size says, each time
        assert await holds(reader, note)


async def test_a_name_that_is_no_text_is_a_name(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    try:
        Path(os.fsdecode(path)).write_text(NOTE)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    async with open_reader() as reader:
        assert (await reader.read(os.fsdecode(path))).chunks[0].text == NOTE
        with pytest.raises(FileNotFoundError):
            await reader.read(os.fsdecode(path) + "\n")


def _pdf(*objects: bytes) -> bytes:
    """Numbered from 1; the first is the catalog."""
    body, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(body))
    return body + head + table + tail


def _page(content: bytes, extra: bytes = b"") -> bytes:
    pages = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R%s>>" % extra
    return _pdf(b"<</Type/Catalog/Pages 2 0 R>>", pages, page, content)


def _stream(data: bytes) -> bytes:
    return b"<</Length %d/Filter/FlateDecode>>\nstream\n%s\nendstream" % (len(data), data)


def _zeros(count: int) -> bytes:
    pressed = zlib.compressobj(9)
    return b"".join(pressed.compress(b" " * (1 << 20)) for _ in range(count >> 20)) + pressed.flush()


def _docx(path: Path, begin: bytes, again: bytes, times: int, end: bytes) -> None:
    kinds = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{kinds}"><Default Extension="rels" ContentType='
            f'"application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{relations}"><Relationship Id="r1" Type="{office}" Target="word/document.xml"/>'
            "</Relationships>",
        )
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            part.write(begin)
            for _ in range(times // 1000):
                part.write(again * 1000)
            part.write(end)


WORD = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
LAUGHS = b'<!DOCTYPE w [<!ENTITY l0 "ha">%s]>' % b"".join(
    b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 12)
)
BOMBS: dict[str, Callable[[Path], object]] = {
    "deep.html": lambda path: path.write_text("<div>" * 100_000 + "deep"),
    "deep.json": lambda path: path.write_text("[" * 100_000 + "]" * 100_000),
    "deep-objects.json": lambda path: path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000),
    "deep.ipynb": lambda path: path.write_text('{"cells":' + "[" * 100_000),
    "deep.py": lambda path: path.write_text("x = " + "(" * 100_000 + ")" * 100_000),
    "deep-unary.py": lambda path: path.write_text("x = " + "-" * 500_000 + "1"),
    "deep-attributes.py": lambda path: path.write_text("x" + ".a" * 300_000),
    "deep.md": lambda path: path.write_text(">" * 100_000 + " deep\n" + "[" * 100_000),
    "brackets.xml": lambda path: path.write_text("<a>" * 100_000),
    "line.txt": lambda path: path.write_text("word and more of them " * 450_000),
    "blob.txt": lambda path: path.write_text("0123abcdXYZ" * 900_000),
    "blob.js": lambda path: path.write_text("a=[" + "0," * 2_000_000 + "]"),
    "headings.md": lambda path: path.write_text("# a\n" * 500_000),
    "accents.txt": lambda path: path.write_text("a" + "\u0301" * 2_000_000),
    "spaces.txt": lambda path: path.write_text(" " * 10_000_000),
    "array.pdf": lambda path: path.write_bytes(_page(b"[" * 200_000 + b"]" * 200_000)),
    "page-tree.pdf": lambda path: path.write_bytes(
        _pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 1000000000>>")
    ),
    "stream.pdf": lambda path: path.write_bytes(_page(_stream(_zeros(800 << 20)))),
    "states.pdf": lambda path: path.write_bytes(_page(_stream(zlib.compress(b"q " * 5_000_000)))),
    "unfolds.docx": lambda path: _docx(path, WORD, b"<w:p><w:r><w:t>a</w:t></w:r></w:p>", 20_000_000, b"</w:body>"),
    "wide.docx": lambda path: _docx(path, WORD, b"<w:p/>", 30_000_000, b"</w:body></w:document>"),
    "deep.docx": lambda path: _docx(path, WORD, b"<w:p>", 1_000_000, b"text"),
    "laughs.docx": lambda path: _docx(path, LAUGHS + WORD, b"<w:p><w:r><w:t>&l11;</w:t></w:r></w:p>", 1000, b""),
}


SLOW = {"line.txt", "blob.txt", "blob.js", "headings.md", "accents.txt", "stream.pdf", "unfolds.docx", "wide.docx"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in BOMBS])
async def test_a_bomb_ends_in_text_or_in_a_reason_and_the_next_file_is_read(
    tmp_path: Path, note: str, name: str
) -> None:
    BOMBS[name](tmp_path / name)
    async with open_reader() as reader:
        with anyio.fail_after(60):
            try:
                found = f"{len((await reader.read(str(tmp_path / name))).chunks)} chunks"
            except Unreadable as error:
                found = str(error)
        assert found
        assert await holds(reader, note)


async def test_what_never_ends_is_not_read(tmp_path: Path, note: str) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    async with open_reader() as reader:
        for path in (str(tmp_path / "pipe.txt"), str(tmp_path / "zero.txt"), "/dev/zero"):
            with anyio.fail_after(60), pytest.raises(Unreadable, match="expected a regular file"):
                await reader.read(path)
        assert await holds(reader, note)


def test_limits_are_what_the_documentation_says() -> None:
    limits = msgspec.to_builtins(Limits())
    assert (limits["wall_s"], limits["cpu_s"], limits["memory_bytes"] >> 20) == (120, 60, 1536)


async def _fails(reader: Reader, path: str, reason: str) -> None:
    with anyio.fail_after(60), pytest.raises(Unreadable, match=reason):
        await reader.read(path)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
