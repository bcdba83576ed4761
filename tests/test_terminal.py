"""`tandem search` and `tandem ask` as a person at a terminal has them."""

import os
import pty
import re
import signal
import subprocess
import uuid
from collections.abc import Callable, Generator
from functools import partial

import anyio.to_thread
import pytest

from tests.processes import Daemon, Place, environment, place, until

pytestmark = pytest.mark.slow

QUESTION = "How long does the kiln cool?"
# A terminal would rename its window, clear itself, and follow a link.
STEERING = "\x1b]0;owned\x07\x1b[2J\x1b]8;;http://evil.example\x1b\\here\x1b]8;;\x1b\\ \x9b31m [bold]markup[/bold]"


@pytest.fixture(scope="module")
def here() -> Generator[Place]:
    with place() as here:
        lines = "".join(f"Line {n} of the notes.\n" for n in range(30))
        here.write("docs/kiln.md", f"# The kiln\n\nThe kiln cools for twelve hours.\n\n{STEERING}\n\n{lines}")
        done = subprocess.run(here.command("index", here.docs), env=environment(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        yield here


def typed(here: Place, *words: str, enough: Callable[[str], bool] | None = None, **settings: str) -> tuple[int, str]:
    """The exit status, and all that came to the terminal. Ctrl-C is pressed once there is `enough`."""
    ours, theirs = pty.openpty()
    variables = environment() | {"TERM": "xterm-256color", "COLUMNS": "100"} | settings
    process = subprocess.Popen(
        here.command(*words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=variables,
        start_new_session=True,
        # As a terminal starts it: a test that itself runs in the background has the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 1 << 16)
        except OSError:  # it has ended
            break
        if enough and enough(said.decode(errors="replace")):
            os.killpg(process.pid, signal.SIGINT)
            enough = None
    os.close(ours)
    return process.wait(60), said.decode(errors="replace")


def test_a_search_shows_where_each_passage_stands_as_a_link_and_marks_what_was_asked_for(here: Place) -> None:
    status, said = typed(here, "search", "kiln cools")
    assert status == 0
    assert "\x1b]8;id=" in said and (here.docs / "kiln.md").as_uri() in said
    assert re.search(r"\x1b\[[\d;]*33m(kiln|cools)\x1b\[0m", said)
    assert "more lines" in said


def test_a_files_passages_stand_together_and_a_copy_is_named(here: Place) -> None:
    with place() as own:
        days = "\n\n".join(f"## Day {n}\n\nThe kiln of day {n} cooled." + " Nothing was seen." * 90 for n in range(4))
        own.write("docs/diary.md", days)
        for name in ("note.md", "copy.md", "old/note.md", "older/note.md"):
            own.write(f"docs/{name}", "The kiln is cooled by the night wind alone.")
        subprocess.run(own.command("index", own.docs), env=environment(), capture_output=True, check=True)
        _, said = typed(own, "search", "the kiln is cooled")
        plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\x1b\]8;[^\x1b]*\x1b\\", "", said)
        assert plain.count("diary.md") == 1
        assert len(re.findall(r"\[\d\] lines? [\d-]+, under \"Day", plain)) > 1
        assert re.search(r"also in 3 other files: \S+, \S+ and 1 more", plain)
        _, said = typed(own, "search", "--explain", "the kiln is cooled")
        assert re.search(r"cosine 0\.\d+, BM25 \d+\.\d+, fused", said)
        assert re.search(r"\d+\.\d ms: filter \d", said)
        done = subprocess.run(
            own.command("search", "--explain", "kiln"), env=environment(), capture_output=True, text=True, check=True
        )
        assert "(also in 3 other files: " in done.stdout
        assert re.search(r"\(\d+\.\d ms: filter", done.stdout)


def test_no_text_of_a_file_steers_the_terminal(here: Place) -> None:
    for command in ("search", "ask"):
        _, said = typed(here, command, "kiln owned markup here")
        assert "\x1b]0;" not in said and "\x1b[2J" not in said and "\x9b" not in said
        assert "\x1b]8;;http" not in said


def test_an_answer_shows_its_sources_with_what_they_say_and_whether_it_is_supported(here: Place) -> None:
    status, said = typed(here, "ask", QUESTION)
    assert status == 0
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]|\x1b\]8;[^\x1b]*\x1b\\", "", said)
    assert "The kiln cools for twelve hours. [1]" in plain
    assert "every sentence is supported by the passage it cites" in plain
    assert "answered by extractive" in plain


def test_what_is_piped_is_plain(here: Place) -> None:
    for command in ("search", "ask"):
        done = subprocess.run(
            here.command(command, QUESTION), env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
        assert "The kiln cools for twelve hours." in done.stdout


@pytest.mark.parametrize("beside_a_daemon", [False, True])
async def test_ctrl_c_stops_the_job_of_the_worker(redis_url: str, beside_a_daemon: bool) -> None:
    wired = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": uuid.uuid4().hex, "TANDEM_NO_WORKER": "refuse"}
    question = " ".join(f"word{n}" for n in range(500))
    with place() as own:
        own.write("docs/kiln.md", "# The kiln\n\nword1 word2\n")
        slow = ("--engine", "echo", "--tokens-per-second", "10")
        async with own.program("worker", *slow, settings=wired) as worker:
            await worker.says("takes jobs")
            ask = partial(typed, own, "ask", question, enough=lambda said: "word5" in said, **wired)
            if beside_a_daemon:
                async with own.daemon(own.docs, settings=wired) as daemon:
                    await _manned(daemon)
                    status, said = await anyio.to_thread.run_sync(ask)
            else:
                status, said = await anyio.to_thread.run_sync(ask)
            assert (status, "word499" in said) == (130, False)
            assert "Traceback" not in said
            await worker.says("cancelled after")


async def _manned(daemon: Daemon) -> None:
    async def listens() -> bool:
        return (await daemon.status())["workers"] == 1

    await until(listens)
