from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import anyio
import pytest

from bridge.callers import CALLER, Caller
from bridge.rates import Rates
from bridge.scoped import Scoped
from bridge.service import Answer, BadInput, Library, NotFound, Overloaded
from indexer.filters import Filters, Reach
from tests.bridge.fake_service import HITS, STATUS, FakeService

NOTES = Reach(("/notes",))
ANNA = Caller("a1", "anna", NOTES)
BOB = Caller("b1", "bob", Reach(("/elsewhere",)), asks=2)
ALL = Caller("c1", "all")


@contextmanager
def asking(caller: Caller | None) -> Generator[None]:
    known = CALLER.set(caller)
    try:
        yield
    finally:
        CALLER.reset(known)


@pytest.fixture
async def service() -> AsyncGenerator[FakeService]:
    async with anyio.create_task_group() as tasks:
        service = FakeService()
        service.work_in(tasks)
        yield service
        tasks.cancel_scope.cancel()


@pytest.fixture
def scoped(service: FakeService) -> Library:
    return Scoped(service, lambda: b"key", Rates(lambda: 0))


async def end(scoped: Library, request: str) -> Answer:
    async with scoped.follow(request) as reader:
        while some := await reader.read():
            if isinstance(some[-1].part, Answer):
                return some[-1].part
    raise AssertionError("an answer without its end")


async def test_a_caller_searches_and_asks_within_their_reach_whatever_else_they_ask_for(
    scoped: Library, service: FakeService
) -> None:
    with asking(ANNA):
        await scoped.search("key", 2, Filters("*.md", reach=Reach(("/",))))
        await scoped.begin("when?", Filters(since="7d"))
    for caller in (ALL, None):
        with asking(caller):
            await scoped.search("key", 2, Filters("*.md"))
    assert service.calls == [
        ("search", "key", 2, Filters("*.md", reach=NOTES)),
        ("ask", "when?", Filters(since="7d", reach=NOTES), None),
        *[("search", "key", 2, Filters("*.md"))] * 2,
    ]


async def test_an_answer_is_for_who_asked_for_it(scoped: Library) -> None:
    with asking(ANNA):
        annas = await scoped.begin("when?")
        assert (await end(scoped, annas)).request == annas
    owners = await scoped.begin("when?")
    for caller, request in ((BOB, annas), (ALL, annas), (None, annas), (ANNA, owners), (BOB, annas[:32]), (BOB, "")):
        with asking(caller):
            with pytest.raises(NotFound, match="ask again"):
                await end(scoped, request)
            with pytest.raises(NotFound, match="ask again"):
                await scoped.cancel(request)
    with asking(ANNA):
        assert await scoped.cancel(annas) is False
    assert (await end(scoped, owners)).error is None


async def test_an_answers_mark_is_made_by_a_key_that_no_caller_has(service: FakeService) -> None:
    with asking(ANNA):
        request = await Scoped(service, lambda: b"one").begin("when?")
        with pytest.raises(NotFound):
            await end(Scoped(service, lambda: b"two"), request)
        assert await end(Scoped(service, lambda: b"one"), request)  # as after the daemon's next start


async def test_two_callers_conversations_are_two_though_they_have_one_name(
    scoped: Library, service: FakeService
) -> None:
    for caller in (ANNA, Caller("a2", "anna", NOTES), BOB, None):
        with asking(caller):
            await scoped.begin("when?", session="s1")
    with asking(ANNA):
        await scoped.begin("when?", session="s1")
        for none in ("", "a\nb", "x" * 201):
            await scoped.begin("when?", session=none)
    sessions = [call[3] for call in service.calls]
    assert sessions[0] == sessions[4] and sessions[3] == "s1" and len(set(sessions[:4])) == 4
    assert sessions[5] == "" and "\n" in sessions[6] and len(sessions[7]) > 200


async def test_who_asks_too_often_is_told_when_to_ask_again(scoped: Library) -> None:
    with asking(BOB):
        for _ in range(2):
            await scoped.begin("when?")
        with pytest.raises(Overloaded, match="bob may ask 2 questions a minute: ask again in 30 s") as refused:
            await scoped.begin("when?")
    assert refused.value.retry_after_s == 30
    for _ in range(100):
        await scoped.begin("when?")


async def test_only_an_answer_that_one_was_given_can_be_rated(scoped: Library, service: FakeService) -> None:
    with asking(ANNA):
        with pytest.raises(NotFound, match="has the trace"):
            await scoped.rate("7f", up=True)
        await end(scoped, await scoped.begin("when?"))
        await scoped.rate("7F", up=True)
    with asking(BOB), pytest.raises(NotFound):
        await scoped.rate("7f", up=True)
    await scoped.rate("7f", up=False)
    assert [call for call in service.calls if call[0] == "rate"] == [
        ("rate", "7F", True, None),
        ("rate", "7f", False, None),
    ]


async def test_a_document_out_of_reach_is_as_unknown_as_one_that_is_not_there(scoped: Library) -> None:
    with asking(ANNA):
        assert (await scoped.document("7")).path == HITS[0].path
        assert [row.path for row in await scoped.documents()] == ["/notes/vpn.md"]
    with asking(BOB):
        assert await scoped.documents() == []
        for document in ("7", "8"):
            with pytest.raises(NotFound, match="search again"):
                await scoped.document(document)


async def test_a_state_tells_of_the_callers_own_folders(scoped: Library) -> None:
    with asking(ANNA):
        annas = await scoped.status()
    with asking(BOB):
        bobs = await scoped.status()
        assert await scoped.status() is bobs
    assert (annas.documents, annas.chunks, annas.failed, annas.roots) == (1, 2, STATUS.failed, ("/notes",))
    assert (bobs.documents, bobs.chunks, bobs.pending, bobs.failed, bobs.roots) == (0, 0, 0, (), ("/elsewhere",))
    with asking(ALL):
        assert await scoped.status() == STATUS


async def test_what_the_owner_alone_may_do_nobody_else_does(scoped: Library, service: FakeService) -> None:
    for caller in (ANNA, ALL):
        with asking(caller):
            for call in (
                scoped.index(["/"]),
                scoped.reindex(),
                scoped.forget("/notes"),
                scoped.pause(),
                scoped.resume(),
                scoped.stop(),
                scoped.cache_entries(),
                scoped.clear_cache(),
                scoped.cache_stats(),
            ):
                with pytest.raises(BadInput, match="for the index's owner"):
                    await call
    assert service.calls == []


def test_every_call_of_the_service_is_one_that_somebody_thought_of() -> None:
    def calls(of: type) -> set[str]:
        return {name for name in dir(of) if not name.startswith("_")}

    assert calls(Library) == calls(Scoped)


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("/notes/a.txt", "/notes/a.txt"),
        ("/notes/a.txt#L3", "file:///notes/a.txt#L3"),
        ("/notes/a #1.txt", "file:///notes/a%20%231.txt"),
        ("/notes/secret.md#x.txt", "file:///notes/secret.md%23x.txt"),
        ("/notes/secret.md#L3", None),
        ("/notes/secret.md", None),
        ("file:///notes/secret.md#L3", None),
    ],
)
async def test_a_path_is_read_as_no_other_name_than_one_that_its_caller_may_see(
    scoped: Library, service: FakeService, uri: str, asked: str | None
) -> None:
    with asking(Caller("d1", "dora", Reach(globs=("/notes/**/*.txt",)))), pytest.raises(NotFound):
        await scoped.read(uri)
    assert service.calls == ([("read", asked, None)] if asked else [])
