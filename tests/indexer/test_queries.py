"""Repeated queries: one vector, computed once."""

import anyio
import pytest

from indexer.embed import EmbedderAway, Vectors
from indexer.embed.queries import Queries
from tests.indexer.embedders import WordEmbedder


class Slow(WordEmbedder):
    """Its queries wait for `go`; `asked` are those that came to it."""

    def __init__(self, signature: str = "words:64") -> None:
        super().__init__(signature)
        self.go, self.asked = anyio.Event(), list[str]()

    async def query(self, text: str) -> Vectors:
        self.asked.append(text)
        await self.go.wait()
        return await super().query(text)


@pytest.fixture
def slow() -> Slow:
    return Slow()


async def test_a_query_is_embedded_once_and_the_ones_used_last_are_kept(slow: Slow) -> None:
    slow.go.set()
    queries = Queries(2)
    (first, was_there) = await queries.vector(slow, "kiln")
    again = await queries.vector(slow, "kiln")
    assert (was_there, again[1]) == (False, True)
    assert again[0] is first
    for text in ("yard", "kiln", "house", "kiln", "yard"):
        await queries.vector(slow, text)
    assert slow.asked == ["kiln", "yard", "house", "yard"]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


async def test_those_who_ask_the_same_at_once_share_one_computation(slow: Slow) -> None:
    queries, shared = Queries(), list[bool]()

    async def ask() -> None:
        shared.append((await queries.vector(slow, "kiln"))[1])

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            slow.go.set()
    assert (slow.asked, sorted(shared)) == (["kiln"], [False, True, True, True, True])


async def test_who_leaves_takes_nobody_along(slow: Slow) -> None:
    queries, found = Queries(), list[Vectors]()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as others:
            async with anyio.create_task_group() as first:
                first.start_soon(queries.vector, slow, "kiln")
                await anyio.wait_all_tasks_blocked()

                async def ask() -> None:
                    found.append((await queries.vector(slow, "kiln"))[0])

                others.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                first.cancel_scope.cancel()
            slow.go.set()
    assert (len(found), slow.asked) == (1, ["kiln", "kiln"])


async def test_a_failure_is_told_to_all_who_wait_and_forgotten(slow: Slow) -> None:
    queries, failed = Queries(), list[str]()
    slow.away = True

    async def ask() -> None:
        try:
            await queries.vector(slow, "kiln")
        except EmbedderAway as error:
            failed.append(str(error))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            slow.go.set()
    assert (len(failed), slow.asked) == (3, ["kiln"])
    slow.away = False
    assert (await queries.vector(slow, "kiln"))[1] is False


async def test_the_vector_of_one_model_is_never_given_for_another(slow: Slow) -> None:
    queries, other = Queries(), Slow("other:64")
    slow.go.set()
    other.go.set()
    await queries.vector(slow, "kiln")
    assert (await queries.vector(other, "kiln"))[1] is False
