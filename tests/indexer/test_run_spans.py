"""What a trace tells of a run over the folders: what came of it, what it embedded, which files failed or were slow."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode, Tracer

from indexer.embed import Done, EmbedderAway, Vectors
from indexer.pipeline import Indexer, Interrupted
from indexer.points import GROUP
from indexer.records import document_id
from indexer.run_spans import MOST_BATCHES, MOST_FAILED, MOST_SLOW, SLOW_MS, File, RunSpans
from indexer.sandbox import Reader, Reading
from indexer.store.edge import open_edge
from observability.redaction import HIDDEN, redacted
from tests.indexer.conftest import Library
from tests.indexer.embedders import WordEmbedder
from tests.indexer.test_grow import begun
from tests.indexer.test_pipeline import PROSE, Choosy

over_edge = pytest.mark.parametrize("store", ["edge"], indirect=True)
CANARY = "canary"


class Sent:
    """The spans that were sent, in their order."""

    def __init__(self) -> None:
        self._memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self.tracer: Tracer = provider.get_tracer("tests")

    def taken(self) -> list[ReadableSpan]:
        spans = list(self._memory.get_finished_spans())
        self._memory.clear()
        return spans


@dataclass
class Told:
    """One trace: its root, and what lies below it. `slow` may be any file on a machine that is busy."""

    root: ReadableSpan
    batches: list[ReadableSpan]
    failed: list[ReadableSpan]
    slow: list[ReadableSpan]


def told(spans: Sequence[ReadableSpan]) -> Told:
    *_, root = spans
    assert root.parent is None
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    assert all(span.parent and span.parent.span_id == root.context.span_id for span in spans[:-1])
    batches = [span for span in spans if span.name == "embed chunks"]
    files = [span for span in spans if span.name == "index file"]
    assert len(spans) == 1 + len(batches) + len(files)
    failed = [span for span in files if span.status.status_code is StatusCode.ERROR]
    slow = [span for span in files if span.status.status_code is StatusCode.OK]
    assert len(files) == len(failed) + len(slow)
    return Told(root, batches, failed, slow)


def counts(span: ReadableSpan, *names: str) -> tuple[object, ...]:
    return tuple((span.attributes or {})[f"tandem.{name}"] for name in names)


def path_of(span: ReadableSpan) -> str:
    return Path(str((span.attributes or {})["file.path"])).name


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
async def traced(library: Library, reader: Reader, sent: Sent) -> Library:
    library.indexer = Indexer(library.index, reader.read, tracer=sent.tracer)
    return library


@over_edge
async def test_a_run_is_one_trace_with_its_counts_its_batches_and_its_broken_files(traced: Library, sent: Sent) -> None:
    traced.write("a.txt", "The lantern hangs in the barn.")
    traced.write("b.txt", "The lantern hangs in the barn.")
    traced.write("c.txt", "The candle stands in the hall.")
    broken = traced.write("broken.pdf", b"%PDF-1.7\nthis is no PDF")
    summary = await traced.sync()
    run = told(sent.taken())
    assert (run.root.name, run.root.status.status_code) == ("index", StatusCode.OK)
    assert (run.root.attributes or {})["openinference.span.kind"] == "CHAIN"
    assert counts(run.root, "read", "added", "changed", "moved", "deleted", "failed") == (3, 3, 0, 0, 0, 1)
    assert counts(run.root, "chunks", "embedded", "reused", "refused") == (3, 2, 1, 0)
    (seconds,) = counts(run.root, "seconds")
    assert seconds == pytest.approx(summary.seconds, abs=0.1)
    assert sum(int(str(counts(batch, "texts")[0])) for batch in run.batches) == 2
    for batch in run.batches:
        attributes = batch.attributes or {}
        assert (attributes["openinference.span.kind"], attributes["embedding.model_name"]) == ("EMBEDDING", "words:64")
        assert batch.status.status_code is StatusCode.OK
    (failed,) = run.failed
    ((path, reason),) = traced.index.catalog.failed()
    assert (failed.attributes or {})["file.path"] == path == str(broken)
    assert (failed.attributes or {})["file.size"] == broken.stat().st_size
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, reason)


@over_edge
async def test_a_look_that_finds_nothing_is_no_trace_even_where_it_reads_again(traced: Library, sent: Sent) -> None:
    traced.write("a.txt", "The lantern hangs in the barn.", old=False)
    traced.write("broken.pdf", b"%PDF-1.7\nthis is no PDF", old=False)
    await traced.sync()
    assert sent.taken()
    for paths in (None, {str(traced.folder)}):
        await traced.indexer.sync(paths)  # both are read: they were written a moment before the last time
        assert sent.taken() == []


@over_edge
async def test_an_edit_a_rename_and_a_deletion_are_a_trace_each(traced: Library, sent: Sent) -> None:
    path = traced.write("long.txt", PROSE)
    await traced.sync()
    chunks, embedded = counts(told(sent.taken()).root, "chunks", "embedded")
    assert embedded == chunks
    traced.write("long.txt", path.read_text().replace("subject39", "zeppelin", 1), old=False)
    await traced.sync()
    run = told(sent.taken())
    assert counts(run.root, "changed", "chunks", "embedded", "reused") == (1, chunks, 1, int(str(chunks)) - 1)
    assert [counts(batch, "texts") for batch in run.batches] == [(1,)]
    path.rename(path.with_name("other.txt"))
    await traced.sync()
    run = told(sent.taken())
    assert counts(run.root, "moved", "added", "deleted", "embedded", "reused") == (1, 0, 0, 0, chunks)
    assert run.batches == []
    path.with_name("other.txt").unlink()
    await traced.sync()
    run = told(sent.taken())
    assert counts(run.root, "deleted", "read", "chunks") == (1, 0, 0)


@over_edge
async def test_files_that_are_read_anew_are_a_trace_though_nothing_is_embedded(traced: Library, sent: Sent) -> None:
    traced.write("a.txt", "The lantern hangs in the barn.")
    traced.write("broken.pdf", b"%PDF-1.7\nthis is no PDF")
    await traced.sync()
    sent.taken()
    traced.index.catalog.make_stale()
    await traced.sync()
    run = told(sent.taken())
    assert counts(run.root, "read", "failed", "changed", "chunks", "embedded", "reused") == (1, 1, 0, 1, 0, 1)
    assert [path_of(span) for span in run.failed] == ["broken.pdf"]


@over_edge
async def test_no_text_of_a_file_stands_on_any_span(traced: Library, sent: Sent) -> None:
    traced.write("a.md", f"# {CANARY} title\n\nThe {CANARY} hangs in the barn.")
    traced.write("broken.pdf", f"%PDF-1.7\n{CANARY}".encode())
    traced.write("broken.json", f'{{"{CANARY}": '.encode() + bytes(range(256)))
    await traced.sync()
    spans = sent.taken()
    assert len(spans) > 2
    assert not any(CANARY in span.to_json() for span in spans)


@over_edge
async def test_where_anything_is_hidden_the_reason_is_and_the_path_stays(traced: Library, sent: Sent) -> None:
    path = traced.write("broken.pdf", b"%PDF-1.7\nthis is no PDF")
    await traced.sync()
    (failed,) = told(sent.taken()).failed
    shown = redacted(failed, ("passages",))
    assert (shown.attributes or {})["file.path"] == str(path)
    assert shown.status.description == HIDDEN != failed.status.description


@over_edge
async def test_a_file_that_takes_more_than_a_second_has_a_span(library: Library, reader: Reader, sent: Sent) -> None:
    async def read(path: str) -> Reading:
        if path.endswith("slow.txt"):
            await anyio.sleep(SLOW_MS / 1000)
        return await reader.read(path)

    library.write("first.txt", "The reader is started for this one.")
    await library.sync()
    slow = library.write("slow.txt", "The lantern hangs in the barn.")
    library.write("quick.txt", "The candle stands in the hall.")
    await Indexer(library.index, read, tracer=sent.tracer).sync()
    (span,) = told(sent.taken()).slow
    assert path_of(span) == "slow.txt"
    size, chunks = slow.stat().st_size, 1
    assert ((span.attributes or {})["file.size"], counts(span, "chunks")) == (size, (chunks,))
    read_ms, embed_ms = map(float, map(str, counts(span, "read_ms", "embed_ms")))
    assert read_ms > SLOW_MS > embed_ms > 0
    assert span.end_time and span.start_time and span.end_time - span.start_time > read_ms * 1e6


def test_a_run_is_a_trace_of_its_own_whoever_asks_for_it(sent: Sent) -> None:
    with sent.tracer.start_as_current_span("ask"):
        spans = RunSpans("index", sent.tracer)
        spans.stored(1)
        spans.done()
    run, asked = sent.taken()
    assert (run.name, run.parent) == ("index", None)
    assert run.context.trace_id != asked.context.trace_id


def test_a_files_share_of_a_batch_is_that_of_its_texts(sent: Sent) -> None:
    spans, until = RunSpans("index", sent.tracer, files=True), time.monotonic() + 0.04
    long, short = document_id("long"), document_id("short")
    with spans.embedding("words", 4, [long, long, short, long]):
        while time.monotonic() < until:
            pass
    spans.read([File(path, 10, 1, time.time(), SLOW_MS + 1) for path in ("long", "short")])
    spans.done()
    shares = {path_of(span): float(str(counts(span, "embed_ms")[0])) for span in told(sent.taken()).slow}
    assert shares["long"] == pytest.approx(3 * shares["short"], abs=0.3)
    assert 40 <= sum(shares.values()) < 60


def test_a_run_over_any_number_of_files_sends_some_two_hundred_spans_and_counts_all(sent: Sent) -> None:
    spans, below = RunSpans("index", sent.tracer, files=True), list[SpanContext]()
    for n in range(5_000):
        with spans.embedding("words", 256, [n]) as batch:
            below.append(trace.get_current_span().get_span_context())
            batch.embedded = 256
        spans.stored(256)
        spans.failed(File(f"broken{n}", 1, 0, time.time(), 1), "it is broken")
        spans.read([File(f"slow{n}", 1, 1, time.time(), SLOW_MS + (n * 7) % 5_000)])
    spans.done()
    run = told(sent.taken())
    assert len(run.batches) == MOST_BATCHES
    assert len(run.failed) == MOST_FAILED
    slow = sorted(float(str(counts(span, "read_ms")[0])) for span in run.slow)
    assert slow == [SLOW_MS + 5_000 - MOST_SLOW + n for n in range(MOST_SLOW)]
    assert counts(run.root, "failed", "read", "chunks", "embedded") == (5_000, 5_000, 5_000 * 256, 5_000 * 256)
    # A worker that is asked beyond them makes no span either.
    assert {context.trace_id for context in below} == {run.root.context.trace_id}
    assert [context.trace_flags.sampled for context in below] == [n < MOST_BATCHES for n in range(5_000)]


class Asking(WordEmbedder):
    """A model that asks somebody else, and notes below which span."""

    def __init__(self) -> None:
        super().__init__()
        self.below: list[int] = []

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask)
        return await super().documents(texts, done)

    async def _ask(self) -> None:
        self.below.append(trace.get_current_span().get_span_context().span_id)


@over_edge
async def test_what_an_embedder_asks_of_others_stands_below_its_batch(traced: Library, sent: Sent) -> None:
    embedder = Asking()
    indexer = Indexer(replace(traced.index, embedder=embedder), traced.indexer.read_file, tracer=sent.tracer)
    traced.write("a.txt", "The lantern hangs in the barn.")
    await indexer.sync()
    (batch,) = told(sent.taken()).batches
    assert embedder.below == [batch.context.span_id]


@over_edge
async def test_texts_that_a_model_refuses_are_counted(traced: Library, sent: Sent) -> None:
    traced.write("a.txt", "The zeppelin flies on Sundays.")
    traced.write("b.txt", "The lantern hangs in the barn.")
    await Indexer(replace(traced.index, embedder=Choosy()), traced.indexer.read_file, tracer=sent.tracer).sync()
    run = told(sent.taken())
    assert counts(run.root, "embedded", "refused", "failed") == (1, 1, 0)
    assert [counts(batch, "refused") for batch in run.batches if "tandem.refused" in (batch.attributes or {})] == [(1,)]


@over_edge
async def test_a_run_that_an_exception_ends_is_an_error_with_it_and_says_how_far_it_came(
    traced: Library, sent: Sent
) -> None:
    traced.write("a.txt", "The lantern hangs in the barn.")
    traced.embedder.away = True
    with pytest.raises(EmbedderAway):
        await traced.sync()
    run = told(sent.taken())
    (batch,) = run.batches
    for span in (run.root, batch):
        assert span.status.status_code is StatusCode.ERROR
        assert "the embedder was expected to answer" in (span.status.description or "")
        assert [(event.attributes or {})["exception.type"] for event in span.events] == ["indexer.embed.EmbedderAway"]
    assert counts(run.root, "chunks", "embedded") == (0, 0)
    assert "tandem.added" not in (run.root.attributes or {})
    traced.embedder.away = False
    await traced.sync()
    assert told(sent.taken()).root.status.status_code is StatusCode.OK


class Endless(WordEmbedder):
    """A model that begins, and never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.began = anyio.Event()

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        self.began.set()
        await anyio.sleep_forever()
        raise AssertionError


@over_edge
async def test_a_run_that_is_interrupted_has_no_status(traced: Library, sent: Sent) -> None:
    embedder = Endless()
    indexer = Indexer(replace(traced.index, embedder=embedder), traced.indexer.read_file, tracer=sent.tracer)
    traced.write("a.txt", "The lantern hangs in the barn.")
    async with anyio.create_task_group() as tasks:

        async def sync() -> None:
            with pytest.raises(Interrupted):
                await indexer.sync()

        tasks.start_soon(sync)
        with anyio.fail_after(30):
            await embedder.began.wait()
        indexer.interrupt()
    run = told(sent.taken())
    assert [span.status.status_code for span in (run.root, *run.batches)] == [StatusCode.UNSET] * 2
    assert run.root.events == ()


@over_edge
async def test_a_growth_is_one_trace_however_many_steps_it_takes_and_what_comes_between(
    traced: Library, sent: Sent, tmp_path: Path
) -> None:
    await many(traced)
    sent.taken()
    async with open_edge(tmp_path / "other", 96) as store:
        _, growth = begun(traced, store, WordEmbedder("words:96", 96))
        indexer = Indexer(traced.index, traced.indexer.read_file, growth=growth, tracer=sent.tracer)
        assert await indexer.grow() == GROUP
        traced.write("zeppelin.txt", "A zeppelin flies over the hall.")
        await indexer.sync()
        while await indexer.grow() is not None:
            pass
        await indexer.grow()
        indexer.leave()
    spans = sent.taken()
    grown = next(span for span in spans if span.name == "grow")
    between = told([span for span in spans if span.context.trace_id != grown.context.trace_id])
    assert (between.root.name, counts(between.root, "added", "embedded")) == ("index", (1, 2))
    whole = told([span for span in spans if span.context.trace_id == grown.context.trace_id])
    assert whole.root.status.status_code is StatusCode.OK
    assert {(batch.attributes or {})["embedding.model_name"] for batch in whole.batches} == {"words:96"}
    texts = [int(str(counts(batch, "texts")[0])) for batch in whole.batches]
    assert texts[0] == GROUP and len(texts) == 2
    assert counts(whole.root, "embedded")[0] == sum(texts)


@over_edge
async def test_a_growth_that_fails_is_an_error_and_one_that_is_left_in_the_middle_has_no_status(
    traced: Library, sent: Sent, tmp_path: Path
) -> None:
    await many(traced)
    sent.taken()
    other = WordEmbedder("words:96", 96)
    async with open_edge(tmp_path / "other", 96) as store:
        _, growth = begun(traced, store, other)
        indexer = Indexer(traced.index, traced.indexer.read_file, growth=growth, tracer=sent.tracer)
        other.away = True
        with pytest.raises(EmbedderAway):
            await indexer.grow()
        assert told(sent.taken()).root.status.status_code is StatusCode.ERROR
        other.away = False
        await indexer.grow()
        indexer.leave()
    left = told(sent.taken())
    assert (left.root.name, left.root.status.status_code) == ("grow", StatusCode.UNSET)
    assert counts(left.root, "chunks", "embedded") == (GROUP, GROUP)


async def many(library: Library) -> None:
    """More chunks than one step of a growth takes."""
    for n in range(GROUP + 60):
        library.write(f"{n:04}.txt", f"Lantern number{n} hangs in the barn.")
    await library.sync()
