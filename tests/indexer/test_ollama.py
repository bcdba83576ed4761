"""Embedding through Ollama: each text once, none cut, whatever goes wrong on the way.

The same over a real Ollama where OLLAMA_HOST names one: what is spoilt is spoilt before it.
"""

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial

import anyio
import httpx
import numpy as np
import pytest

from indexer.embed import EmbedderAway, EmbedderUnusable, TextsRefused, Vectors
from indexer.embed.ollama import OllamaEmbedder, Patience, open_ollama
from tests.conftest import free_port
from tests.fake_ollama import DIMENSIONS, FakeOllama, Fault, fake_ollama

MODEL = os.environ.get("EMBEDDING_MODEL", "nomic-embed-text") if "OLLAMA_HOST" in os.environ else "nomic-embed-text"
TRIES_ALONE = 5
LIMIT_S = 2  # of an answer; nothing else than a hung request takes as long
PATIENCE = Patience(
    away_s=20, full_s=20, cold_s=LIMIT_S, warm_s=LIMIT_S, query_s=3, first_pause_s=0.01, longest_pause_s=0.2
)
PREFIX = "search_document: "
BROKEN: tuple[Fault, ...] = (
    "500",
    "break",
    "break in the reply",
    "error under 200",
    "no JSON",
    "too few",
    "too many vectors",
    "another size",
    "ragged",
    "NaN",
    "zeros",
)


@pytest.fixture
async def fake() -> AsyncGenerator[FakeOllama]:
    async with fake_ollama() as fake:
        yield fake


@pytest.fixture(params=["fake", "real"])
async def server(request: pytest.FixtureRequest) -> AsyncGenerator[FakeOllama]:
    """The fake; and a real Ollama behind it."""
    upstream = None
    if request.param == "real":
        host = os.environ.get("OLLAMA_HOST")
        if not host:
            pytest.skip("OLLAMA_HOST is not set: no real Ollama")
        upstream = host if "://" in host else f"http://{host}"
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                held = (await client.get(f"{upstream}/api/tags")).raise_for_status().json()["models"]
        except httpx.HTTPError as error:
            pytest.skip(f"no Ollama answers at {upstream}: {error!r}")
        if not any(one["model"].removesuffix(":latest") == MODEL.removesuffix(":latest") for one in held):
            pytest.skip(f"the Ollama at {upstream} has no {MODEL}: `ollama pull {MODEL}`")
    async with fake_ollama(upstream) as fake:
        yield fake


@dataclass
class Kept:
    """What was handed out as soon as it was there."""

    rows: dict[int, Vectors] = field(default_factory=dict[int, Vectors])

    def __call__(self, start: int, rows: Vectors) -> None:
        for number, row in enumerate(rows, start):
            assert number not in self.rows
            self.rows[number] = row.copy()


def opened(
    fake: FakeOllama,
    recorded: tuple[str, int] | None = None,
    patience: Patience = PATIENCE,
    batch: int = 32,
    in_flight: int = 3,
) -> AbstractAsyncContextManager[OllamaEmbedder]:
    return open_ollama(fake.url, MODEL, recorded, patience, batch, in_flight)


def numbered(count: int) -> list[str]:
    return [f"Kiln {n} was fired to cone {n % 14} on day {n * 7 % 365}." for n in range(count)]


def embedded(fake: FakeOllama) -> Counter[str]:
    counted = Counter({text.removeprefix(PREFIX): times for text, times in fake.embedded.items()})
    del counted["dimensions"]
    return counted


def once(texts: Sequence[str]) -> Counter[str]:
    return Counter(dict.fromkeys(texts, 1))


# --- the whole


async def test_two_thousand_chunks_are_embedded_once_each_and_none_is_cut_in_any_storm(server: FakeOllama) -> None:
    texts = numbered(2_000)
    bad, empty = range(50, 2_000, 190), (700, 1_500)
    for n in bad:
        texts[n] += " unembeddable"
    for n in empty:
        texts[n] = " \n"
    good = [text for n, text in enumerate(texts) if n not in bad and n not in empty]
    storm = random.Random(7)
    ahead: list[Fault] = [*BROKEN * 2, *("full", "too many") * 3, "restart", "hang", "restart", "hang"]
    storm.shuffle(ahead)

    struck = Counter[str]()  # a text alone: what fails then as often as it is tried would rightly be refused

    def fault(texts: Sequence[str]) -> Fault | None:
        if not ahead or storm.random() < 0.5 or (len(texts) == 1 and struck[texts[0]] == TRIES_ALONE - 1):
            return None
        struck.update(texts if len(texts) == 1 else ())
        return ahead.pop()

    server.refuses = lambda text: "unembeddable" in text
    kept, refused, made = Kept(), dict[int, str](), list[Vectors]()
    # A restart takes a moment, and nothing is given up here.
    patience = replace(PATIENCE, away_s=60, full_s=60, cold_s=LIMIT_S if not server.upstream else 120)
    async with opened(server, patience=patience) as embedder:
        server.fault = fault
        for start in range(0, len(texts), 256):
            some = texts[start : start + 256]
            try:
                vectors = await embedder.documents(some, lambda n, rows, start=start: kept(start + n, rows))
            except TextsRefused as error:
                refused |= {start + n: reason for n, reason in error.refused.items()}
                vectors = error.vectors
            made.append(vectors)
    assert embedded(server) == once(good)
    assert not server.truncating
    assert not ahead
    assert set(server.faults) >= {*BROKEN, "full", "too many", "restart", "hang"}
    assert sorted(refused) == sorted([*bad, *empty])
    vectors = np.concatenate(made)
    assert not vectors[sorted(refused)].any()
    assert sorted(kept.rows) == [n for n in range(2_000) if n not in refused]
    assert all((vectors[n] == row).all() for n, row in kept.rows.items())
    assert len({row.tobytes() for row in kept.rows.values()}) == len(good)
    async with opened(server) as embedder:
        for n in storm.sample(sorted(kept.rows), 20):
            assert (await embedder.documents([texts[n]]))[0] @ vectors[n] > 0.999


async def test_documents_and_queries_have_vectors_of_length_one_and_meaning(server: FakeOllama) -> None:
    async with opened(server) as embedder:
        texts = ["The kiln cools for twelve hours.", "Invoices are due within thirty days."]
        vectors = await embedder.documents(texts)
        query = await embedder.query("how long the kiln cools")
        assert vectors.shape == (2, embedder.dimensions)
        assert np.allclose(np.linalg.norm([*vectors, query], axis=1), 1, atol=1e-5)
        assert query @ vectors[0] > query @ vectors[1]
        assert (await embedder.documents([])).shape == (0, embedder.dimensions)


async def test_a_text_beyond_the_models_context_is_refused_and_not_cut(server: FakeOllama) -> None:
    server.refuses = lambda text: not server.upstream and len(text) > 100_000
    texts = [*numbered(5), "kiln " * 40_000, "The last one."]
    async with opened(server, patience=Patience()) as embedder:
        with pytest.raises(TextsRefused, match=r"^1 of 7 texts cannot be embedded; number 5: Ollama refused it: .*"):
            await embedder.documents(texts)
    assert embedded(server) == once([*texts[:5], texts[6]])


# --- what goes on at once


async def test_three_batches_are_in_flight_and_their_vectors_come_in_order(fake: FakeOllama) -> None:
    texts = numbered(20)
    async with opened(fake, batch=4) as embedder, anyio.create_task_group() as tasks:
        fake.hold()
        kept = Kept()
        tasks.start_soon(embedder.documents, texts, kept)
        await fake.has_documents(3)
        assert fake.texts[1:] == [PREFIX + text for text in texts[:12]]
        fake.go_on.set()
    assert sorted(kept.rows) == list(range(20))
    async with opened(fake) as embedder:
        vectors = await embedder.documents(texts)
    assert all((vectors[n] == row).all() for n, row in kept.rows.items())


async def test_documents_that_are_given_up_leave_the_embedder_usable(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        async with anyio.create_task_group() as tasks:
            fake.hold()
            tasks.start_soon(embedder.documents, numbered(100))
            await fake.has_documents(3)
            tasks.cancel_scope.cancel()
        fake.go_on.set()
        assert (await embedder.documents(["The kiln."])).shape == (1, DIMENSIONS)


async def test_what_the_keeper_of_vectors_raises_comes_out_as_it_is(fake: FakeOllama) -> None:
    def full(_: int, __: Vectors) -> None:
        raise OSError(28, "No space left on device")

    async with opened(fake) as embedder:
        with pytest.raises(OSError, match="No space left"):
            await embedder.documents(numbered(200), full)


# --- texts that cannot be embedded


async def test_a_bad_text_is_found_by_halving_and_the_others_are_embedded_once(fake: FakeOllama) -> None:
    texts = numbered(32)
    fake.refuses = lambda text: "Kiln 13 " in text
    kept = Kept()
    async with opened(fake) as embedder:
        with pytest.raises(TextsRefused) as told:
            await embedder.documents(texts, kept)
    assert told.value.refused == {13: "Ollama refused it: the input length exceeds the context length"}
    assert sorted(kept.rows) == [n for n in range(32) if n != 13]
    assert all((told.value.vectors[n] == row).all() for n, row in kept.rows.items())
    assert not told.value.vectors[13].any()
    assert embedded(fake) == once([text for n, text in enumerate(texts) if n != 13])


async def test_what_nobody_could_embed_is_refused_unsent(fake: FakeOllama) -> None:
    texts = ["", "One.", " \t\n", "Two.", "half a \ud83d pair"]
    async with opened(fake) as embedder:
        with pytest.raises(TextsRefused) as told:
            await embedder.documents(texts)
    assert told.value.refused == {0: "it is empty", 2: "it is empty", 4: "it holds half a surrogate pair"}
    assert fake.texts[1:] == [PREFIX + "One.", PREFIX + "Two."]


async def test_a_text_that_fells_the_models_process_every_time_is_refused_alone(fake: FakeOllama) -> None:
    texts = numbered(64)
    fake.fault = lambda some: "500" if any("Kiln 40 " in text for text in some) else None
    async with opened(fake) as embedder:
        with pytest.raises(TextsRefused) as told:
            await embedder.documents(texts)
    assert told.value.refused == {40: "llama runner process has terminated: exit status 2 (status 500)"}
    assert embedded(fake) == once([text for n, text in enumerate(texts) if n != 40])


async def test_a_model_that_embeds_nothing_is_no_fault_of_the_texts(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        fake.fault = lambda _: "400"
        with pytest.raises(EmbedderUnusable, match=r"nomic-embed-text.*does not support embeddings"):
            await embedder.documents(numbered(3))
        with pytest.raises(EmbedderUnusable, match="does not support embeddings"):
            async with opened(fake):
                pass
        fake.fault = lambda _: "501"
        with pytest.raises(EmbedderUnusable, match="does not support embeddings"):
            await embedder.documents(numbered(3))


# --- a server in trouble


@pytest.mark.parametrize("trouble", [*BROKEN, "full", "too many", "restart", "hang"])
async def test_each_trouble_is_overcome_and_embeds_nothing_twice(fake: FakeOllama, trouble: Fault) -> None:
    ahead = [trouble]
    texts, kept = numbered(20), Kept()
    async with opened(fake, batch=4) as embedder:
        fake.fault = lambda _: ahead.pop() if ahead else None
        await embedder.documents(texts, kept)
    assert sorted(kept.rows) == list(range(20))
    assert embedded(fake) == once(texts)
    assert fake.faults == {trouble: 1}


@pytest.mark.parametrize("trouble", [*BROKEN, "full", "too many", "hang"])
async def test_a_trouble_that_lasts_ends_in_words_and_what_was_done_is_kept(fake: FakeOllama, trouble: Fault) -> None:
    texts, kept = numbered(20), Kept()
    patience = replace(PATIENCE, away_s=0.2, full_s=0.2, cold_s=0.5, warm_s=0.5)
    async with opened(fake, patience=patience, batch=4, in_flight=1) as embedder:
        fake.fault = lambda _: trouble if len(embedded(fake)) == 8 else None
        with pytest.raises(EmbedderAway, match=rf"Ollama at {fake.url} (is busy|gave no proper answer): .*") as told:
            await embedder.documents(texts, kept)
        assert sorted(kept.rows) == list(range(8))
        assert PREFIX + texts[12] not in fake.texts  # what comes after is not tried
        fake.fault = lambda _: None
        await embedder.documents(texts[8:])
    assert embedded(fake) == once(texts)
    words: dict[Fault, str] = {
        "500": "llama runner process has terminated",
        "full": "maximum pending requests exceeded",
        "hang": "no answer within 0.5 s",
        "too few": "4 vectors of 768 dimensions were expected, 3 of",
        "another size": "were expected, 1 of [767] came",
        "zeros": "to have a direction",
        "error under 200": "an error",
        "break": "the connection broke off",
    }
    # The last word is about the one that was tried alone.
    assert words.get(trouble, "").replace("4 vectors", "1 vectors").replace("3 of", "0 of") in str(told.value)


async def test_a_server_that_goes_is_told_what_to_do_and_what_was_done_is_kept(fake: FakeOllama) -> None:
    texts, kept = numbered(20), Kept()
    patience = Patience(away_s=0.2, first_pause_s=0.01)
    async with opened(fake, patience=patience, batch=4, in_flight=1) as embedder:
        fake.fault = lambda some: "break" if "Kiln 8 " in some[0] else None

        def keep(start: int, rows: Vectors) -> None:
            kept(start, rows)
            if start == 4:
                ends.append(tasks.start_soon(fake.stop))

        ends = list[None]()
        async with anyio.create_task_group() as tasks:
            with pytest.raises(EmbedderAway, match=r"cannot be reached.*start it with `ollama serve`"):
                await embedder.documents(texts, keep)
        assert sorted(kept.rows) == list(range(8))
        with pytest.raises(EmbedderAway, match="cannot be reached"), anyio.fail_after(1):
            await embedder.query("A question is not made to wait.")
        fake.fault = lambda _: None
        await fake.start()
        await embedder.documents(texts[8:])
        await embedder.query("And after the restart it is answered.")
    assert embedded(fake) - Counter(["search_query: And after the restart it is answered."]) == once(texts)


async def test_an_answer_is_waited_for_ten_times_as_long_as_the_slowest_took(fake: FakeOllama) -> None:
    fake.latency_s = 0.15
    async with opened(fake, patience=replace(PATIENCE, warm_s=0.01)) as embedder:
        fake.latency_s = 0.6
        await embedder.documents(["The kiln."])
    assert fake.texts.count(PREFIX + "The kiln.") == 1


async def test_a_model_that_was_unloaded_has_its_time_to_load_again(fake: FakeOllama) -> None:
    async with opened(fake, patience=replace(PATIENCE, warm_s=0.01, cold_s=20)) as embedder:
        fake.latency_s = 3  # ten times what the first answer may take on a busy machine
        await embedder.documents(["The kiln."])
    assert fake.texts.count(PREFIX + "The kiln.") == 2
    assert embedded(fake) == once(["The kiln."])


async def test_only_what_has_no_answer_is_asked_for_again(fake: FakeOllama) -> None:
    ahead: list[Fault | None] = ["break", None]
    texts = numbered(12)
    async with opened(fake, batch=4, in_flight=1) as embedder:
        fake.fault = lambda _: ahead.pop() if ahead else None
        await embedder.documents(texts)
    assert [text.removeprefix(PREFIX) for text in fake.texts[1:]] == [*texts[:8], *texts[4:]]


async def test_a_query_is_answered_over_a_connection_that_has_ended(fake: FakeOllama) -> None:
    ahead: list[Fault] = ["break"]
    async with opened(fake) as embedder:
        fake.fault = lambda _: ahead.pop() if ahead else None
        assert (await embedder.query("What cools?")).shape == (DIMENSIONS,)
        await fake.stop()
        await fake.start()
        assert (await embedder.query("What cools?")).shape == (DIMENSIONS,)


@pytest.mark.parametrize("trouble", ["hang", "full"])
async def test_a_query_waits_so_long_and_no_longer(fake: FakeOllama, trouble: Fault) -> None:
    async with opened(fake, patience=Patience(query_s=0.3)) as embedder:
        fake.fault = lambda _: trouble
        with anyio.fail_after(30), pytest.raises(EmbedderAway, match=rf"Ollama at {fake.url} (gave no vector|is busy)"):
            await embedder.query("What cools?")


async def test_a_query_that_is_too_long_says_so(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        fake.refuses = lambda text: len(text) > 1_000
        with pytest.raises(EmbedderUnusable, match="exceeds the context length"):
            await embedder.query("why " * 1_000)


# --- which model it is


async def test_a_model_that_is_not_pulled_is_named_with_what_to_do(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        fake.models.clear()
        wanted = rf"Ollama at {fake.url} has no model nomic-embed-text; run `ollama pull nomic-embed-text` there"
        with pytest.raises(EmbedderUnusable, match=wanted):
            await embedder.documents(numbered(3))
        with pytest.raises(EmbedderUnusable, match=wanted):
            async with opened(fake):
                pass


async def test_the_signature_names_model_digest_and_dimensions(fake: FakeOllama) -> None:
    fake.digests = {"nomic-embed-text:latest": "0a109f422b47e3a30ba2b10eca18548e"}
    async with opened(fake) as embedder:
        assert embedder.signature == "ollama:nomic-embed-text@0a109f422b47:768"
        assert embedder.dimensions == DIMENSIONS


async def test_of_a_model_that_is_replaced_under_way_no_vector_gets_out(fake: FakeOllama) -> None:
    texts, kept = numbered(20), Kept()
    async with opened(fake, batch=4, in_flight=1) as embedder:
        before = embedder.signature

        def replaced(some: Sequence[str]) -> Fault | None:
            if any("Kiln 8 " in text for text in some):
                fake.digests = {"nomic-embed-text:latest": "f" * 64}
            return None

        fake.fault = replaced
        with pytest.raises(EmbedderUnusable, match=rf"made with {before}, but .* now has .*@ffffffffffff:768"):
            await embedder.documents(texts, kept)
        assert sorted(kept.rows) == list(range(8))
        asked = len(fake.texts)
        for again in (partial(embedder.documents, texts), partial(embedder.query, "What cools?")):
            with pytest.raises(EmbedderUnusable, match="nothing was changed"):
                await again()
        assert {text.removeprefix(PREFIX) for text in fake.texts[asked:]} == {"dimensions"}
        fake.digests, fake.fault = {}, lambda _: None
        await embedder.documents(texts[8:])
        assert embedder.signature == before


async def test_a_query_is_never_embedded_by_another_model(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        await embedder.query("What cools?")
        fake.digests = {"nomic-embed-text:latest": "f" * 64}
        with pytest.raises(EmbedderUnusable, match="nothing was changed"):
            await embedder.query("What cools?")


async def test_a_model_of_other_dimensions_under_the_same_name_is_another_model(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        fake.digests = {"nomic-embed-text:latest": "f" * 64}
        fake.fault = lambda _: "another size"
        with pytest.raises(EmbedderUnusable, match="nothing was changed"):
            await embedder.documents(numbered(3))


async def test_an_ollama_away_at_the_start_is_met_once_it_is_there(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        recorded = embedder.signature, embedder.dimensions
    await fake.stop()
    async with opened(fake, recorded) as embedder:
        assert (embedder.signature, embedder.dimensions) == recorded
        for ask in (partial(embedder.documents, numbered(3)), partial(embedder.query, "What cools?")):
            with anyio.fail_after(1), pytest.raises(EmbedderAway, match="cannot be reached"):
                await ask()
        await fake.start()
        assert (await embedder.documents(numbered(3))).shape == (3, DIMENSIONS)
    await fake.stop()
    with pytest.raises(EmbedderAway, match="cannot be reached"):
        async with opened(fake):
            pass


async def test_a_known_model_is_met_without_loading_it(fake: FakeOllama) -> None:
    async with opened(fake) as embedder:
        recorded = embedder.signature, embedder.dimensions
    asked = len(fake.texts)
    async with opened(fake, recorded) as embedder:
        assert embedder.signature == recorded[0]
        assert len(fake.texts) == asked
    async with opened(fake, ("onnx-int8:all-MiniLM-L6-v2@53aa51172d14:384", 384)) as embedder:
        assert (embedder.signature, embedder.dimensions) == recorded


async def test_something_else_at_the_address_is_not_taken_for_an_ollama(fake: FakeOllama) -> None:
    with pytest.raises(EmbedderUnusable, match=r"refused.*Not Found"):
        async with open_ollama(f"{fake.url}/elsewhere", MODEL):
            pass
    with pytest.raises(EmbedderAway, match="cannot be reached"):
        async with open_ollama(f"http://127.0.0.1:{free_port()}", MODEL):
            pass
