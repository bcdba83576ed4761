import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketListener, SocketStream

from bridge import sockets, sse
from bridge.client import Remote, remote
from bridge.folder import running
from bridge.service import Answer, BadInput, Part, Piece, Service, Unavailable, asking
from indexer.filters import Filters
from indexer.hits import Found, Summary
from tests.bridge.fake_service import ANSWER, FRESHNESS, HITS, PIECES, ROWS, STATUS, FakeService, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
async def both() -> AsyncGenerator[tuple[FakeService, Remote]]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        service = FakeService()
        async with serving(service, Path(folder), heartbeat_s=0.02) as (_, path), remote(path) as client:
            yield service, client


@pytest.fixture
def service(both: tuple[FakeService, Remote]) -> FakeService:
    both[0].start_over()
    return both[0]


@pytest.fixture
def client(both: tuple[FakeService, Remote]) -> Service:
    return both[1]


async def parts_of(client: Service, question: str) -> list[Part]:
    async with asking(client, question, Filters("**/*.md"), "s1") as parts:
        return [part async for part in parts]


BEGUN = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"request":"a"}'


@asynccontextmanager
async def answering(folder: Path, reply: bytes) -> AsyncGenerator[str]:
    """A daemon that begins any answer, and says `reply` to whatever else it hears, and hangs up."""

    async def serve(connection: SocketStream) -> None:
        async with connection:
            begins = b"POST /answers" in await connection.receive()
            await connection.send(BEGUN if begins else reply)

    path = str(folder / "odd.sock")
    async with sockets.bound(path) as listening, anyio.create_task_group() as tasks:
        tasks.start_soon((await SocketListener.from_socket(listening)).serve, serve)
        yield path
        tasks.cancel_scope.cancel()


async def test_every_call_reaches_the_daemon_and_its_result_comes_back_whole(
    client: Service, service: FakeService
) -> None:
    assert await client.search("key", 2, Filters("**/*.md")) == Found(HITS[:2], FRESHNESS)
    assert await client.search("key", 1, Filters(None, ("md",), "7d"), explain=True) == Found(HITS[:1], FRESHNESS)
    assert await client.status() == STATUS
    assert tuple(await client.documents()) == ROWS
    assert tuple(await client.documents("**/*.md")) == ROWS
    assert await client.index(["/a", "/b"]) == Summary(added=2, embedded_chunks=40, seconds=1.5)
    assert [entry.question for entry in await client.cache_entries()] == ["when?"]
    assert (await client.clear_cache(), (await client.cache_stats()).uses) == (1, 2)
    await client.rate("7f", False, "wrong")
    await client.stop()
    assert service.calls == [
        ("search", "key", 2, Filters("**/*.md")),
        ("search", "key", 1, Filters(None, ("md",), "7d"), "explain"),
        ("documents", None),
        ("documents", "**/*.md"),
        ("index", "/a", "/b"),
        ("clear cache",),
        ("rate", "7f", False, "wrong"),
        ("stop",),
    ]


async def test_an_answer_comes_piece_by_piece_then_whole(client: Service, service: FakeService) -> None:
    assert await parts_of(client, "when?") == [*(Piece(chunk) for chunk in PIECES), ANSWER]
    assert service.calls == [("ask", "when?", Filters("**/*.md"), "s1")]


async def test_pieces_come_while_the_rest_is_still_being_made(client: Service, service: FakeService) -> None:
    with anyio.fail_after(30):
        async with asking(client, "hold") as parts:
            assert await anext(parts) == Piece(PIECES[0])
            service.go_on.set()
            assert [part async for part in parts] == [Piece(PIECES[1]), ANSWER]


async def test_leaving_early_gives_the_answer_up(client: Service, service: FakeService) -> None:
    with anyio.fail_after(30):
        async with asking(client, "hold") as parts:
            await anext(parts)
            assert not service.left.is_set()
        await service.left.wait()


@pytest.mark.usefixtures("service")
async def test_bad_input_and_what_is_away_are_raised_as_the_daemon_raised_them(client: Service) -> None:
    async def asked(words: str) -> object:
        return await parts_of(client, words)

    async def rated(words: str) -> object:
        return await client.rate(words, True)

    for call in (client.search, asked, rated):
        with pytest.raises(BadInput, match=r"^expected a question, got none: type one$"):
            await call("refuse")
        with pytest.raises(Unavailable, match=r"^the embedder is away: start it$"):
            await call("away")
        with pytest.raises(Unavailable, match="its log says how"):
            await call("crash")
    *_, answer = await parts_of(client, "break")
    assert isinstance(answer, Answer)
    assert answer.error == "the engine went away: start it again"


async def test_a_question_of_megabytes_is_bad_input(client: Service) -> None:
    with pytest.raises(BadInput, match="at most"):
        await client.search("a" * 3_000_000)


async def test_where_no_daemon_listens_every_call_says_how_to_start_one(folder: Path) -> None:
    async with remote(str(folder / "none.sock")) as client:
        with pytest.raises(Unavailable, match="tandem up"):
            await client.status()
        with pytest.raises(Unavailable, match="tandem up"):
            await parts_of(client, "when?")


@pytest.mark.parametrize("cut", [b"", HEAD, HEAD + sse.event(b'{"chunk": "a"}'), HEAD + b"data: {"])
async def test_a_daemon_that_dies_in_the_middle_of_an_answer_is_told_from_its_end(folder: Path, cut: bytes) -> None:
    async with answering(folder, cut) as path, remote(path) as client:
        with pytest.raises(Unavailable, match="the daemon went away"):
            await parts_of(client, "when?")


async def test_running_tells_a_daemon_from_the_socket_that_one_left_behind(folder: Path) -> None:
    path = folder / "d.sock"
    assert not running(str(path))
    with sockets.bind(str(path)):
        assert running(str(path))
    assert path.exists()
    assert not running(str(path))


async def test_a_daemon_that_hangs_counts_as_running(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "d.sock"))
        listener.listen(1)
        assert running(str(folder / "d.sock"))
