"""Embedding somewhere else, as the index sees it: who carries the batches is a function."""

from collections.abc import Callable, Sequence

import anyio
import pytest
from anyio import fail_after

from indexer.embed import EmbedderAway, EmbedderUnusable, TextsRefused, Vectors
from indexer.embed.prefixes import Asked, Prefixes
from indexer.embed.remote import (
    BATCH_CHARS,
    BATCH_TEXTS,
    IN_FLIGHT,
    Answered,
    RemoteEmbedder,
    Stumbled,
    open_remote,
)
from tests.indexer.embedders import WordEmbedder

TEXTS = [f"lantern{n} hangs in barn{n % 7}" for n in range(300)]


class Workers:
    """They embed as `words` does. `fails`: what befalls a batch instead of an answer."""

    def __init__(self) -> None:
        self.words = WordEmbedder()
        self.batches: list[list[str]] = []
        self.asked: list[tuple[str | None, float]] = []
        self.fails: Callable[[Sequence[str]], Exception | None] = lambda _: None
        self.refuses: Callable[[str], bool] = lambda _: False
        self.under_way = self.most = 0

    async def __call__(self, texts: Sequence[str], weights: str | None, away_s: float) -> Answered:
        self.batches.append(list(texts))
        self.asked.append((weights, away_s))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await anyio.lowlevel.checkpoint()
        self.under_way -= 1
        if error := self.fails(texts):
            raise error
        vectors = await self.words.documents(texts)
        refused = {row: "it is too odd" for row, text in enumerate(texts) if self.refuses(text)}
        vectors[list(refused)] = 0
        return Answered("d1g5:64", vectors, refused)


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
async def embedder(workers: Workers) -> RemoteEmbedder:
    made = await open_remote(workers, "words")
    workers.batches.clear()
    return made


async def vectors_of(texts: Sequence[str]) -> Vectors:
    return await WordEmbedder().documents(texts)


async def test_many_batches_are_in_flight_and_each_text_gets_its_own_vector(
    workers: Workers, embedder: RemoteEmbedder
) -> None:
    with fail_after(30):
        vectors = await embedder.documents(TEXTS)
    assert (vectors == await vectors_of(TEXTS)).all()
    assert workers.most == IN_FLIGHT
    assert [len(batch) for batch in workers.batches] == [BATCH_TEXTS] * 9 + [12]
    assert set(workers.asked[1:]) == {("d1g5:64", 30.0)}


async def test_each_batch_is_handed_out_as_soon_as_it_is_there(workers: Workers, embedder: RemoteEmbedder) -> None:
    kept: dict[int, Vectors] = {}
    workers.refuses = lambda text: text in (TEXTS[0], TEXTS[5], TEXTS[299])
    with pytest.raises(TextsRefused) as told:
        await embedder.documents(TEXTS, lambda start, rows: kept.update(enumerate(rows, start)))
    assert sorted(told.value.refused) == [0, 5, 299]
    assert sorted(kept) == [n for n in range(300) if n not in (0, 5, 299)]
    expected = await vectors_of(TEXTS)
    assert all((row == expected[n]).all() for n, row in kept.items())
    assert not told.value.vectors[[0, 5, 299]].any()


async def test_long_texts_travel_in_smaller_batches(workers: Workers, embedder: RemoteEmbedder) -> None:
    texts = ["word " * 5_000] * 7 + ["x " * BATCH_CHARS] + ["short"]
    await embedder.documents(texts)
    assert [len(batch) for batch in workers.batches] == [2, 2, 2, 1, 1, 1]


async def test_a_batch_that_fails_is_halved_until_the_text_at_fault_is_alone(
    workers: Workers, embedder: RemoteEmbedder
) -> None:
    workers.fails = lambda texts: Stumbled("it crashed") if TEXTS[40] in texts else None
    done: set[int] = set()
    with pytest.raises(TextsRefused) as told:
        await embedder.documents(TEXTS[:64], lambda start, rows: done.update(range(start, start + len(rows))))
    assert told.value.refused == {40: "it crashed"}
    assert done == set(range(64)) - {40}


async def test_workers_that_embed_nothing_at_all_refuse_no_text(workers: Workers, embedder: RemoteEmbedder) -> None:
    workers.fails = lambda _: Stumbled("no memory left on the device")
    with pytest.raises(EmbedderAway, match="no memory left"):
        await embedder.documents(TEXTS)
    assert len(workers.batches) <= 2 * IN_FLIGHT


@pytest.mark.parametrize("error", [EmbedderAway("nobody is there"), EmbedderUnusable("another model")])
async def test_what_came_before_a_failure_stays_and_nothing_more_is_sent(
    error: Exception, workers: Workers, embedder: RemoteEmbedder
) -> None:
    workers.fails = lambda _: error if len(workers.batches) > IN_FLIGHT else None
    done: list[int] = []
    with pytest.raises(type(error), match=str(error)):
        await embedder.documents([*TEXTS, *TEXTS], lambda start, _: done.append(start))
    assert len(workers.batches) <= 2 * IN_FLIGHT
    assert done


async def test_texts_that_nobody_could_embed_are_refused_unsent(workers: Workers, embedder: RemoteEmbedder) -> None:
    with pytest.raises(TextsRefused) as told:
        await embedder.documents(["one", " \n", "two", "half \ud800", "three"])
    assert told.value.refused == {1: "it is empty", 3: "it holds half a surrogate pair"}
    assert [text for batch in workers.batches for text in batch] == ["one", "two", "three"]
    assert (told.value.vectors[[0, 2, 4]] == await vectors_of(["one", "two", "three"])).all()


async def test_nothing_is_asked_for_nothing(workers: Workers, embedder: RemoteEmbedder) -> None:
    assert (await embedder.documents([])).shape == (0, 64)
    assert workers.batches == []


async def test_the_signature_is_that_of_the_weights_that_answered(embedder: RemoteEmbedder) -> None:
    assert (embedder.signature, embedder.dimensions) == ("remote:words@d1g5:64", 64)


async def test_an_index_that_is_there_is_opened_while_nobody_embeds(workers: Workers) -> None:
    workers.fails = lambda _: EmbedderAway("nobody is there")
    with pytest.raises(EmbedderAway):
        await open_remote(workers, "words")
    embedder = await open_remote(workers, "words", recorded=("remote:words@d1g5:64", 64))
    assert embedder.signature == "remote:words@d1g5:64"
    with pytest.raises(EmbedderAway):
        await embedder.query("lantern1")


async def test_with_the_same_weights_here_queries_ask_nobody_and_the_index_is_this_machines_own(
    workers: Workers,
) -> None:
    twin = WordEmbedder("onnx-fp32:words@d1g5:64")
    embedder = await open_remote(workers, "words", twin)
    assert embedder.signature == twin.signature
    assert (await embedder.query("lantern1") == await twin.query("lantern1")).all()
    assert workers.batches == []
    assert (await embedder.documents(TEXTS[:3]) == await vectors_of(TEXTS[:3])).all()
    assert twin.embedded == []
    assert workers.asked[-1][0] == "d1g5:64"


async def test_weights_that_arrive_here_later_leave_the_index_as_it_is(workers: Workers) -> None:
    twin = WordEmbedder("onnx-fp32:words@d1g5:64")
    assert (await open_remote(workers, "words", twin, ("remote:words@d1g5:64", 64))).signature == "remote:words@d1g5:64"
    assert (await open_remote(workers, "words", twin, ("remote:words@0ther:64", 64))).signature == twin.signature


async def test_without_weights_here_queries_are_embedded_there_or_it_is_said_at_once(
    workers: Workers, embedder: RemoteEmbedder
) -> None:
    assert (await embedder.query("lantern1") == (await vectors_of(["lantern1"]))[0]).all()
    assert workers.asked[-1] == ("d1g5:64", 0)
    workers.refuses = lambda _: True
    with pytest.raises(EmbedderAway, match="too odd"):
        await embedder.query("lantern1")
    workers.fails = lambda _: Stumbled("it crashed")
    with pytest.raises(EmbedderAway, match="it crashed"):
        await embedder.query("lantern1")


async def test_models_that_want_words_before_a_text_get_them(workers: Workers) -> None:
    embedder = await open_remote(workers, "intfloat/e5-small-v2")
    assert await asked_of(workers, embedder) == ["passage: a kiln", "query: a kiln"]
    assert embedder.signature == "remote:intfloat/e5-small-v2@d1g5:64"
    plain = await open_remote(workers, "all-MiniLM-L6-v2")
    assert await asked_of(workers, plain) == ["a kiln", "a kiln"]


async def test_words_that_somebody_asks_for_are_another_index_whoever_is_there_to_embed(workers: Workers) -> None:
    asked = Asked(query="find: ")
    embedder = await open_remote(workers, "intfloat/e5-small-v2", asked=asked)
    assert await asked_of(workers, embedder) == ["passage: a kiln", "find: a kiln"]
    usual = "remote:intfloat/e5-small-v2@d1g5:64"
    assert embedder.signature.startswith(f"{usual}:")
    opened = await open_remote(workers, "intfloat/e5-small-v2", recorded=(usual, 64), asked=asked)
    assert opened.signature == embedder.signature
    again = await open_remote(workers, "intfloat/e5-small-v2", recorded=(embedder.signature, 64))
    assert again.signature == usual
    await opened.documents(["a kiln"])
    assert workers.asked[-1][0] == "d1g5:64"


async def test_an_index_that_this_machine_made_keeps_its_words_where_workers_go_on_with_it(workers: Workers) -> None:
    twin = WordEmbedder("onnx-fp32:e5-small@d1g5:64:mean-512-0123abcd")
    twin.prefixes = Prefixes("passage: ", "query: ")
    embedder = await open_remote(workers, "e5-small", twin)
    await embedder.documents(["a kiln"])
    assert (embedder.signature, workers.batches[-1]) == (twin.signature, ["passage: a kiln"])
    without = await open_remote(workers, "e5-small", recorded=(twin.signature, 64))
    assert await asked_of(workers, without) == ["passage: a kiln", "query: a kiln"]
    assert without.signature == twin.signature
    former = await open_remote(workers, "e5-small", recorded=("onnx-fp32:e5-small@d1g5:64", 64))
    assert await asked_of(workers, former) == ["a kiln", "a kiln"]


async def test_weights_here_that_would_put_other_words_before_a_text_do_not_join_the_index(workers: Workers) -> None:
    twin = WordEmbedder("onnx-fp32:e5-small@d1g5:64")
    embedder = await open_remote(workers, "e5-small", twin, ("remote:e5-small@d1g5:64", 64))
    assert embedder.signature == twin.signature


async def asked_of(workers: Workers, embedder: RemoteEmbedder) -> list[str]:
    """What the workers are sent of a document and of a query."""
    await embedder.documents(["a kiln"])
    await embedder.query("a kiln")
    return [text for batch in workers.batches[-2:] for text in batch]
