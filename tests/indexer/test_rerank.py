"""A reranker orders the best candidates anew; where it cannot, the order stays and the search says why."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import numpy as np
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from indexer.rerank import RerankerAway, RerankerUnusable
from indexer.rerank.endpoint import open_endpoint
from indexer.rerank.onnx import load
from indexer.rerank.reranker import Reranker
from indexer.search import Looked, look
from tests.fake_reranker import Dialect, FakeReranker, fake_reranker
from tests.indexer.conftest import Library
from tests.indexer.models import Model, write_graph

QUERY = "the kiln in a yard"
TEXTS = ["the kiln is fired on mondays", "one two three", "a yard behind the house : " + "one two three " * 12]


@pytest.fixture
async def server() -> AsyncGenerator[FakeReranker]:
    async with fake_reranker() as fake:
        yield fake


@dataclass
class Scores:
    """The score of a text is the number in it; `fails` instead. `asked`: how many texts, each time."""

    asked: list[int] = field(default_factory=list[int])
    fails: Exception | None = None
    go: anyio.Event = field(default_factory=anyio.Event)
    waits: bool = False

    async def __call__(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        self.asked.append(len(texts))
        if self.waits:
            await self.go.wait()
        if self.fails:
            raise self.fails
        return [float(text.split("number")[1].split()[0]) for text in texts]


@pytest.fixture
async def lanterns(library: Library) -> Library:
    """Twelve notes; the more often one says lantern, the lower its number."""
    for n in range(12):
        library.write(f"{n:02}.txt", f"Note number{n} of the barn. " + "The lantern hangs here. " * (12 - n))
    await library.sync()
    return library


async def found(library: Library, reranker: Reranker | None, query: str = "lantern", limit: int = 12) -> Looked:
    return await look(library.index, query, limit, reranker=reranker)


def names(looked: Looked) -> list[str]:
    return [Path(hit.path).stem for hit in looked.found.hits]


# --- the order


async def test_the_best_are_ordered_anew_and_the_others_stay_behind_them(lanterns: Library) -> None:
    before, scores = await found(lanterns, None), Scores()
    after = await found(lanterns, Reranker(scores, "numbers", 5, most=4))
    assert names(after)[:4] == sorted(names(before)[:4], reverse=True) != names(before)[:4]
    assert names(after)[4:] == names(before)[4:]
    assert [hit.score for hit in after.found.hits] == [hit.score for hit in before.found.hits]
    assert (after.found.degraded, scores.asked) == ((), [4])


async def test_what_is_asked_for_to_the_letter_stays_first(lanterns: Library) -> None:
    looked = await found(lanterns, Reranker(Scores(), "numbers", 5), '"number3 of the barn" lantern')
    assert names(looked)[:2] == ["03", "11"]


@pytest.mark.parametrize("error", [RerankerAway("it is away: start it"), RerankerUnusable("no weights: get them")])
async def test_a_reranker_that_is_away_leaves_the_order_and_is_left_alone_for_a_while(
    lanterns: Library, error: RerankerAway
) -> None:
    before, scores = await found(lanterns, None), Scores(fails=error)
    reranker = Reranker(scores, "numbers", 5)
    for _ in range(2):
        after = await found(lanterns, reranker)
        assert names(after) == names(before)
        assert after.found.degraded == (f"not reranked: {error}",)
    assert len(scores.asked) == 1
    again = Reranker(scores, "numbers", 5, pause_s=0)
    await found(lanterns, again)
    scores.fails = None
    assert (await found(lanterns, again)).found.degraded == ()


async def test_a_reranker_that_is_slow_is_not_waited_for(lanterns: Library) -> None:
    before, scores = await found(lanterns, None), Scores(waits=True)
    with anyio.fail_after(30):
        after = await found(lanterns, Reranker(scores, "numbers", 0.05))
    assert names(after) == names(before)
    (told,) = after.found.degraded
    assert "numbers was expected to answer within 0.05 s; set TANDEM_RERANK_LIMIT_S higher" in told


async def test_a_search_that_looks_deeper_has_no_text_weighed_twice(library: Library) -> None:
    for n in range(90):
        library.write(f"copy{n}.txt", "Note number1 of the lantern.")
    library.write("other.txt", "Note number2 of a lantern that hangs in the barn, with many more words around it.")
    await library.sync()
    scores = Scores()
    looked = await found(library, Reranker(scores, "numbers", 5, most=40), limit=3)
    assert len(looked.found.hits) == 2  # there is no third
    assert 40 <= sum(scores.asked) < 80


async def test_a_trace_shows_what_went_in_and_what_came_out(lanterns: Library) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    scores = Scores()
    reranker = Reranker(scores, "numbers", 5, most=3, pause_s=0, tracer=provider.get_tracer("test"))
    await found(lanterns, reranker)
    scores.fails = RerankerAway("it is away")
    await found(lanterns, reranker)
    done, failed = spans.get_finished_spans()
    told = done.attributes or {}
    assert (done.name, told["openinference.span.kind"], done.status.status_code) == (
        "rerank",
        "RERANKER",
        StatusCode.OK,
    )
    assert (told["reranker.query"], told["reranker.model_name"], told["reranker.top_k"]) == ("lantern", "numbers", 3)
    taken = {told[f"reranker.input_documents.{n}.document.content"] for n in range(3)}
    given = [told[f"reranker.output_documents.{n}.document.content"] for n in range(3)]
    assert set(given) == taken
    marks = [float(str(told[f"reranker.output_documents.{n}.document.score"])) for n in range(3)]
    assert marks == sorted(marks, reverse=True)
    assert failed.status.status_code == StatusCode.ERROR


# --- in this process


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "mpnet", "distilbert"])
async def test_a_cross_encoder_in_a_folder_gives_the_scores_that_its_authors_code_would(
    tmp_path: Path, kind: str
) -> None:
    root = {"xlm-roberta": "roberta"}.get(kind, kind)
    model = Model(tmp_path / kind, kind, f"{root}.", head=True)
    scores = await load(model.folder, tmp_path / "cache", 1)(QUERY, TEXTS)
    assert np.allclose(scores, [model.score(QUERY, text) for text in TEXTS], atol=1e-4)
    assert len(set(np.round(scores, 4))) == 3


async def test_a_cross_encoder_that_came_as_a_graph_runs_as_it_is(tmp_path: Path) -> None:
    model = Model(tmp_path / "foreign")
    (model.folder / "model.safetensors").unlink()
    words = write_graph(model.folder, asks=("token_type_ids",), gives="logits")
    scores = await load(model.folder, tmp_path / "cache", 1)(QUERY, TEXTS)
    pairs = [model.ids(QUERY, text) for text in TEXTS]
    assert np.allclose(scores, [words[ids, 0].sum() + words[types, 0].sum() for ids, types in pairs], atol=1e-4)


async def test_a_long_text_is_cut_and_not_refused(tmp_path: Path) -> None:
    model = Model(tmp_path / "bert", "bert", "bert.", head=True)
    scores = await load(model.folder, tmp_path / "cache", 1)(QUERY, ["one two three " * 500])
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("labels", "missing", "told"),
    [
        (3, None, "one score, found a classifier with 3 labels"),
        (1, "classifier.weight", "classifier.weight, which is missing"),
        (1, "model.safetensors", "found config.json, tokenizer.json; set TANDEM_RERANK_MODEL"),
    ],
)
def test_a_folder_without_a_cross_encoder_is_refused_with_what_to_do(
    tmp_path: Path, labels: int, missing: str | None, told: str
) -> None:
    model = Model(tmp_path / "odd", "bert", "bert.", head=True)
    model.weights["classifier.weight"] = np.tile(model.weights["classifier.weight"], (labels, 1))
    model.weights.pop(str(missing), None)
    model.save()
    if missing == "model.safetensors":
        (model.folder / missing).unlink()
    with pytest.raises(RerankerUnusable, match=told):
        load(model.folder, tmp_path / "cache", 1)


# --- at an endpoint


@pytest.mark.parametrize(
    ("dialect", "at", "path"),
    [
        ("jina", "", "/rerank"),
        ("jina", "/v1/", "/v1/rerank"),
        ("jina", "/v2/rerank", "/v2/rerank"),
        ("tei", "/rerank", "/rerank"),
        ("score", "/score", "/score"),
    ],
)
async def test_each_dialect_of_a_rerank_endpoint_is_understood(dialect: Dialect, at: str, path: str) -> None:
    async with fake_reranker(dialect) as server, open_endpoint(server.url + at, "big-reranker", "a key") as rerank:
        for _ in range(2):
            assert np.allclose(await rerank("kiln mondays", TEXTS), [2 / 9, 0, 0])
        assert await rerank("yard", TEXTS[2:]) == [1 / 9]
    assert set(server.paths) == {path}
    assert len(server.asked) == (4 if dialect == "tei" else 3)  # which dialect it speaks is found out once
    assert {body["model"] for body in server.asked} == {"big-reranker"}
    assert set(server.keys) == {"Bearer a key"}


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (401, RerankerUnusable, "refused the key: set TANDEM_RERANK_KEY right"),
        (404, RerankerUnusable, "set TANDEM_RERANK_URL and TANDEM_RERANK_MODEL right"),
        (400, RerankerUnusable, "refused with 400: .*the words of the server"),
        (429, RerankerAway, "is busy: .*the words of the server"),
        (500, RerankerAway, "failed with 500: .*the words of the server"),
    ],
)
async def test_what_an_endpoint_refuses_is_told_in_words(
    server: FakeReranker, status: int, kind: type[Exception], told: str
) -> None:
    server.status = status
    async with open_endpoint(server.url, None) as rerank:
        with pytest.raises(kind, match=told) as failed:
            await rerank(QUERY, TEXTS)
    assert isinstance(failed.value, RerankerUnusable) is (kind is RerankerUnusable)
    assert "model" not in server.asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        "hello",
        {"results": []},
        {"results": [{"index": n, "relevance_score": 1} for n in (0, 1)]},
        {"results": [{"index": n, "relevance_score": 1} for n in (0, 1, 3)]},
        {"results": [{"index": n} for n in (0, 1, 2)]},
    ],
)
async def test_an_answer_that_is_none_is_refused(server: FakeReranker, answer: object) -> None:
    server.answer = answer
    async with open_endpoint(server.url, None) as rerank:
        with pytest.raises(RerankerUnusable, match=r"was expected to answer .*relevance_score"):
            await rerank(QUERY, TEXTS)


async def test_nobody_at_the_address_and_somebody_who_is_silent_are_away(server: FakeReranker, port: int) -> None:
    async with open_endpoint(f"http://127.0.0.1:{port}", None) as rerank:
        with pytest.raises(RerankerAway, match="does not answer: start it, or set TANDEM_RERANK_URL"):
            await rerank(QUERY, TEXTS)
    server.silent = True
    async with open_endpoint(server.url, None) as rerank:
        with anyio.move_on_after(0.1) as scope:
            await rerank(QUERY, TEXTS)
    assert scope.cancelled_caught


@pytest.mark.parametrize(("url", "key"), [("box:8000", None), ("ftp://box", None), ("http://box", "ключ")])
async def test_an_address_or_a_key_that_cannot_be_one_is_told_at_the_start(url: str, key: str | None) -> None:
    with pytest.raises(ValueError, match=r"TANDEM_RERANK_(URL|KEY) was expected"):
        async with open_endpoint(url, None, key):
            pass
