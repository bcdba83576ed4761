"""The cache of answers, over each store: what is given again, and what kills it."""

import os
import stat
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.cache import Cache, Decision, Missed, Reused, Scope, open_cache
from bridge.service import Answer, Citation
from indexer.embed import Vectors
from indexer.filters import Filters
from indexer.hits import Freshness, Hit
from indexer.store import Store, StoreAway
from indexer.store.edge import open_edge
from indexer.store.server import open_server

DIMENSIONS = 64
KILN = Hit("/d/kiln.md", "file:///d/kiln.md", 1.5, "The kiln cools for twelve hours.", 1, 3, sha256="k1")
GLAZE = Hit("/d/glaze.md", "file:///d/glaze.md", 0.4, "Glaze the cups twice.", 7, 7, sha256="g1")
LOOM = Hit("/d/loom.md", "file:///d/loom.md", 0.3, "The loom has eight shafts.", 2, 2, sha256="l1")
QUESTION = "How long does the kiln cool?"
SAME = "For how long does the kiln cool?"
SCOPE = Scope(Filters(), "extractive", "p1", "model@1", 5)
ANSWER = Answer(
    "The kiln cools for twelve hours. [1]",
    (Citation(1, KILN.path, KILN.uri, KILN.text, start_line=1, end_line=3),),
    Freshness("2026-11-03T17:02:11+00:00"),
    "extractive",
    grounded=True,
)


def vector(question: str) -> Vectors:
    """Questions about the kiln are one direction, with a little of their own; others are other ones."""
    seed = 1 if "kiln" in question else sum(question.encode())
    whole = np.random.default_rng(seed).normal(size=DIMENSIONS)
    whole += 0.1 * np.random.default_rng(len(question)).normal(size=DIMENSIONS)
    return (whole / np.linalg.norm(whole)).astype(np.float32)


@dataclass
class Desk:
    """A cache over one store, and a catalog whose files can be changed."""

    file: Path
    open_store: Callable[[str, int], AbstractAsyncContextManager[Store]]
    files: dict[str, tuple[str, float]] = field(
        default_factory=lambda: {hit.path: (hit.sha256, 1000.0) for hit in (KILN, GLAZE, LOOM)}
    )

    @asynccontextmanager
    async def open(self, signature: str = "model@1", ttl_s: float = 3600, most: int = 100) -> AsyncGenerator[Cache]:
        async with open_cache(
            self.file,
            self.open_store,
            lambda paths: {path: self.files[path] for path in paths if path in self.files},
            name="semantic_cache",
            dimensions=DIMENSIONS,
            signature=signature,
            ttl_s=ttl_s,
            most=most,
            threshold=0.92,
        ) as cache:
            yield cache


@pytest.fixture(params=["edge", "server"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    if request.param == "edge":
        return Desk(tmp_path / "cache.db", lambda name, dimensions: open_edge(tmp_path / "cache" / name, dimensions))
    url, key = os.environ.get("QDRANT_URL", ":memory:"), os.environ.get("QDRANT_API_KEY")
    return Desk(
        tmp_path / "cache.db", lambda name, dimensions: open_server(url, key, f"{name}-{tmp_path.name}", dimensions)
    )


async def keep(
    cache: Cache,
    question: str = QUESTION,
    answer: Answer = ANSWER,
    hits: Sequence[Hit] = (KILN, GLAZE),
    asked_at: float | None = None,
) -> str | None:
    at = time.time() if asked_at is None else asked_at
    return await cache.keep(question, vector(question), hits, SCOPE, answer, asked_at=at)


async def find(cache: Cache, question: str = SAME, *hits: Hit, scope: Scope = SCOPE) -> Decision:
    return await cache.find(question, vector(question), hits or (KILN, GLAZE), scope)


def reason(decision: Decision) -> str:
    assert isinstance(decision, Missed)
    return decision.reason


async def test_an_answer_is_given_again_to_the_same_question_asked_otherwise(desk: Desk) -> None:
    async with desk.open() as cache:
        assert await keep(cache) is None
        decision = await find(cache)
        assert isinstance(decision, Reused)
        assert decision.answer == ANSWER
        assert decision.question == QUESTION
        assert decision.similarity >= 0.92


async def test_a_question_that_only_looks_alike_is_not_answered_by_it(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        assert reason(await find(cache, "How long does the kiln not cool?")) == "differs in a negation: nothing / not"
        assert reason(await find(cache, "Who wove the carpet?")).startswith("no entry over 0.92 (the nearest has")


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (
            (replace(KILN, text="The kiln cools for ten hours.", sha256="k2"), GLAZE),
            "its passage kiln.md:1 was changed",
        ),
        ((replace(KILN, start_line=5, end_line=7, sha256="k2"), GLAZE), "its passage kiln.md:1 was changed"),
        ((GLAZE, LOOM), "its passage kiln.md:1 is not found now"),
        ((LOOM, KILN), "the best passage is another one now"),
    ],
)
async def test_it_is_not_given_again_once_its_evidence_is_another(desk: Desk, now: tuple[Hit, ...], why: str) -> None:
    async with desk.open() as cache:
        await keep(cache)
        assert reason(await find(cache, SAME, *now)) == why


async def test_why_none_is_given_is_of_a_kind_that_can_be_counted(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        away = await cache.find(SAME, None, (KILN, GLAZE), SCOPE)
        nothing = await cache.find(SAME, vector(SAME), (), SCOPE)
        missed = (
            await find(cache, "Who wove the carpet?"),
            await find(cache, "How long does the kiln not cool?"),
            await find(cache, SAME, GLAZE, LOOM),
            nothing,
            away,
        )
    kinds = [one.kind for one in missed if isinstance(one, Missed)]
    assert kinds == ["nothing near", "another question", "passages moved on", "nothing found", "off"]


async def test_other_passages_beside_its_own_may_differ_as_long_as_they_are_old(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        assert isinstance(await find(cache, SAME, KILN, LOOM), Reused)
        desk.files[LOOM.path] = ("l2", time.time())
        assert reason(await find(cache, SAME, KILN, LOOM)) == "loom.md is newer than the answer"
        del desk.files[LOOM.path]
        assert reason(await find(cache, SAME, KILN, LOOM)) == "loom.md is newer than the answer"


async def test_a_file_recorded_while_the_question_was_searched_for_is_newer(desk: Desk) -> None:
    async with desk.open() as cache:
        asked_at = time.time()
        desk.files[LOOM.path] = ("l1", asked_at - 0.5)
        await keep(cache, asked_at=asked_at)
        assert reason(await find(cache, SAME, KILN, LOOM)) == "loom.md is newer than the answer"


async def test_a_passage_that_is_merged_with_its_neighbours_is_still_itself_in_an_unchanged_file(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        merged = replace(KILN, text=f"{KILN.text}\n\nThen it is opened.", end_line=5)
        assert isinstance(await find(cache, SAME, merged, GLAZE), Reused)
        assert isinstance(await find(cache, SAME, replace(merged, sha256="k2"), GLAZE), Missed)


@pytest.mark.parametrize(
    "other",
    [
        replace(SCOPE, filters=Filters("*.md")),
        replace(SCOPE, filters=Filters(types=("md",))),
        replace(SCOPE, filters=Filters(since="7d")),
        replace(SCOPE, engine="vllm"),
        replace(SCOPE, prompt="p2"),
        replace(SCOPE, top_k=6),
        replace(SCOPE, model="model@2"),
    ],
)
async def test_another_scope_is_another_question(desk: Desk, other: Scope) -> None:
    async with desk.open() as cache:
        await keep(cache)
        assert isinstance(await find(cache, scope=other), Missed)
        assert isinstance(await find(cache), Reused)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (replace(ANSWER, error="the worker was silent"), "it ended with an error"),
        (replace(ANSWER, degraded=("lexical search only",)), "something was missing when it was made"),
        (replace(ANSWER, grounded=False), "it is not grounded"),
        (replace(ANSWER, cache_hit=True), "it is one that was kept"),
        (replace(ANSWER, citations=()), "it does not say anything that it can show"),
        (replace(ANSWER, answer="The documents do not say. [1]"), "it does not say anything that it can show"),
        (replace(ANSWER, citations=(replace(ANSWER.citations[0], n=3),)), "it cites what was not found"),
        (replace(ANSWER, citations=(replace(ANSWER.citations[0], n=2),)), "it cites what was not found"),
    ],
)
async def test_what_should_not_be_said_twice_is_never_kept(desk: Desk, answer: Answer, why: str) -> None:
    async with desk.open() as cache:
        assert await keep(cache, answer=answer) == why
        assert await cache.entries() == []


async def test_the_file_is_the_users_alone_and_forgets_what_was_purged_word_for_word(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        await keep(
            cache,
            "Where is the loom?",
            replace(ANSWER, citations=(replace(ANSWER.citations[0], n=2),)),
            hits=(GLAZE, KILN),
        )
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in desk.file.parent.glob("cache.db*"))
        del desk.files[KILN.path]
        assert await cache.purge([GLAZE.path, "/d/none.md"]) == 0
        assert await cache.purge([KILN.path]) == 2
        assert await cache.entries() == []
        assert isinstance(await find(cache), Missed)
    assert all(b"twelve" not in file.read_bytes() for file in desk.file.parent.rglob("*") if file.is_file())


async def test_an_edit_purges_and_the_same_content_recorded_anew_does_not(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        desk.files[GLAZE.path] = ("g1", time.time())
        assert await cache.purge([GLAZE.path]) == 0
        assert isinstance(await find(cache), Reused)
        desk.files[GLAZE.path] = ("g2", time.time())
        assert await cache.purge([GLAZE.path]) == 1


async def test_what_is_kept_after_its_file_went_does_not_stay(desk: Desk) -> None:
    async with desk.open() as cache:
        del desk.files[KILN.path]  # while the answer was being made
        await keep(cache)
        assert await cache.entries() == []


async def test_entries_outlive_a_restart_but_not_files_that_went_meanwhile(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        await keep(cache, "Where is the loom?", hits=(KILN, LOOM))
    desk.files[LOOM.path] = ("l2", 2000.0)
    async with desk.open() as cache:
        assert [entry.question for entry in await cache.entries()] == [QUESTION]
        assert isinstance(await find(cache), Reused)


async def test_another_models_vectors_are_not_compared(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
    async with desk.open(signature="model@2") as cache:
        assert await cache.entries() == []
        assert reason(await find(cache)) == "another model embeds the questions now"


async def test_a_lost_store_is_filled_from_the_file(desk: Desk, tmp_path: Path) -> None:
    async with desk.open() as cache:
        await keep(cache)
    async with desk.open_store("semantic_cache-" + _short("model@1"), DIMENSIONS) as store:
        await store.destroy()
    async with desk.open() as cache:
        assert isinstance(await find(cache), Reused)


async def test_old_entries_go_and_those_of_the_future_too(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache, asked_at=time.time() - 3700)
        assert isinstance(await find(cache), Missed)
        await keep(cache, asked_at=time.time() + 60)  # the clock was set back since
        assert isinstance(await find(cache), Missed)
        assert await cache.entries() == []


async def test_past_the_limit_the_one_goes_that_was_not_used_for_longest(desk: Desk) -> None:
    async with desk.open(most=2) as cache:
        await keep(cache)
        await keep(cache, "Where is the loom?")
        assert isinstance(await find(cache), Reused)
        await keep(cache, "Who glazes?")
        assert {entry.question for entry in await cache.entries()} == {QUESTION, "Who glazes?"}


async def test_it_counts_lists_and_clears(desk: Desk) -> None:
    async with desk.open() as cache:
        await keep(cache)
        await find(cache)
        await find(cache, "Who wove the carpet?")
        stats = await cache.stats()
        assert (stats.entries, stats.uses, stats.reused, stats.missed, stats.problem) == (1, 1, 1, 1, None)
        (entry,) = await cache.entries()
        assert (entry.question, entry.documents, entry.uses) == (QUESTION, (KILN.path,), 1)
        assert await cache.clear() == 1
        assert (await cache.stats()).entries == 0
        assert isinstance(await find(cache), Missed)


@pytest.mark.parametrize("off", [{"ttl_s": 0}, {"most": 0}])
async def test_switched_off_it_keeps_nothing_and_removes_what_was_kept(desk: Desk, off: dict[str, Any]) -> None:
    async with desk.open() as cache:
        await keep(cache)
    async with desk.open(**off) as cache:
        assert reason(await find(cache)) == "the cache is switched off"
        assert await keep(cache) == "the cache is switched off"
        assert await cache.purge([KILN.path]) == 0
        assert (await cache.stats()).problem == "the cache is switched off"
    assert not desk.file.exists()


async def test_a_store_that_is_away_costs_the_cache_and_not_the_answer(tmp_path: Path) -> None:
    @asynccontextmanager
    async def away(_: str, __: int) -> AsyncGenerator[Store]:
        raise StoreAway("no server")
        yield  # pyright: ignore[reportUnreachable]

    async with Desk(tmp_path / "cache.db", away).open() as cache:
        assert reason(await find(cache)) == "answers are not kept: no server"
        assert await keep(cache) == "answers are not kept: no server"


async def test_a_damaged_file_is_begun_anew(desk: Desk) -> None:
    desk.file.write_bytes(b"no database" * 500)
    async with desk.open() as cache:
        assert await keep(cache) is None
        assert isinstance(await find(cache), Reused)


def _short(signature: str) -> str:
    from hashlib import blake2b

    return blake2b(signature.encode(), digest_size=6).hexdigest()
