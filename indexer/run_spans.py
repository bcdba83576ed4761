"""What a trace tells of one run over the folders, or of one growth: its batches of texts, the files that failed, the
slowest ones, and at its root the counts of all. The names: observability/__init__.py.

OpenTelemetry's API alone: without an SDK all of this is nothing. However many files there are, a run sends some 200
spans and keeps no more than the slowest files in memory.
"""

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from openinference.semconv.trace import SpanAttributes
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from indexer.hits import Summary
from indexer.records import document_id

# A second is what a person notices who waits for a file to be found; most take some milliseconds.
SLOW_MS, MOST_SLOW = 1_000, 20
MOST_FAILED = 100
# Below each of them a worker has up to eight of its own.
MOST_BATCHES = 100

TRACER = trace.get_tracer("tandem")


@dataclass(frozen=True, slots=True)
class File:
    """One that was read, or could not be. `size` in bytes; `began`: its reading, in seconds since the epoch."""

    path: str
    size: int
    chunks: int
    began: float
    read_ms: float


@dataclass(slots=True)
class Batch:
    """How many of its texts have become vectors by now, and how many never will."""

    embedded: int = 0
    refused: int = 0


class RunSpans:
    """Ended by `done`, `left` or what breaks it off; only then its root is sent, and not where nothing was to be done.

    `files`: whether it is told of the files, too, whose texts are embedded.
    """

    def __init__(self, name: str, tracer: trace.Tracer = TRACER, *, files: bool = False) -> None:
        self._tracer, self._files = tracer, files
        # A trace of its own, whoever asked for the run.
        self._root = tracer.start_span(name, Context(), attributes={SpanAttributes.OPENINFERENCE_SPAN_KIND: "CHAIN"})
        self._began = time.monotonic()
        self._counts = Counter(read=0, failed=0, chunks=0, embedded=0, reused=0, refused=0)
        self._batches = 0
        self._embed_ms = defaultdict[int, float](float)  # by document, of those that are not all stored
        self._slow: list[tuple[float, int, File, float, int]] = []  # a heap, the quickest of them first

    @contextmanager
    def embedding(self, model: str, texts: int, documents: Sequence[int]) -> Generator[Batch]:
        """Around the embedding of one batch. `documents`: that of each chunk that waits for it."""
        span, batch, began = self._batch(model, texts), Batch(), time.monotonic()
        try:
            with trace.use_span(span):
                yield batch
            span.set_status(StatusCode.OK)
        finally:
            self._counts.update(embedded=batch.embedded, refused=batch.refused)
            if batch.refused:
                span.set_attribute("tandem.refused", batch.refused)
            span.end()
            if self._files and self._root.is_recording():
                share = (time.monotonic() - began) * 1000 / len(documents)
                for document in documents:
                    self._embed_ms[document] += share

    def reused(self, chunks: int) -> None:
        """The vectors of their texts are there already, or will be by another chunk."""
        self._counts["reused"] += chunks

    def stored(self, chunks: int) -> None:
        self._counts["chunks"] += chunks

    def read(self, files: Iterable[File]) -> None:
        """All that was read of these files is in the store."""
        if not self._root.is_recording():
            return
        now = time.time_ns()
        for file in files:
            self._counts["read"] += 1
            embed_ms = self._embed_ms.pop(document_id(file.path), 0.0)
            if file.read_ms + embed_ms > SLOW_MS:
                keep = heapq.heappush if len(self._slow) < MOST_SLOW else heapq.heappushpop
                keep(self._slow, (file.read_ms + embed_ms, self._counts["read"], file, embed_ms, now))

    def failed(self, file: File, reason: str) -> None:
        """`reason`: in words, as the status tells it."""
        self._counts["failed"] += 1
        if self._counts["failed"] <= MOST_FAILED:
            self._tell(file, 0.0, time.time_ns(), Status(StatusCode.ERROR, reason))

    @contextmanager
    def unbroken(self) -> Generator[None]:
        """What leaves it in the middle ends the run: an exception as an error, a cancellation without a status."""
        try:
            yield
        except Exception as error:
            self._root.record_exception(error)
            self._root.set_status(StatusCode.ERROR, str(error) or type(error).__name__)
            self._end()
            raise
        except BaseException:
            self.left()
            raise

    def done(self, summary: Summary | None = None) -> None:
        if summary:
            changes = {name: getattr(summary, name) for name in ("added", "changed", "moved", "deleted")}
            self._counts.update(changes)
        if self._has_news():
            self._root.set_status(StatusCode.OK)
            self._end()

    def left(self) -> None:
        """Given up in the middle."""
        if self._has_news():
            self._end()

    def _has_news(self) -> bool:
        # Read again and found the same is no news.
        return bool(self._batches or self._slow or any(n for name, n in self._counts.items() if name != "read"))

    def _end(self) -> None:
        for _, _, file, embed_ms, ended in sorted(self._slow):
            self._tell(file, embed_ms, ended, Status(StatusCode.OK))
        self._root.set_attributes({f"tandem.{name}": count for name, count in self._counts.items()})
        self._root.set_attribute("tandem.seconds", round(time.monotonic() - self._began, 3))
        self._root.end()

    def _batch(self, model: str, texts: int) -> Span:
        self._batches += 1
        if self._batches > MOST_BATCHES:
            return _silent(self._root)
        attributes: dict[str, AttributeValue] = {
            SpanAttributes.OPENINFERENCE_SPAN_KIND: "EMBEDDING",
            SpanAttributes.EMBEDDING_MODEL_NAME: model,
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": model,
            "tandem.texts": texts,
        }
        return self._tracer.start_span("embed chunks", trace.set_span_in_context(self._root), attributes=attributes)

    def _tell(self, file: File, embed_ms: float, ended: int, status: Status) -> None:
        if not self._root.is_recording():
            return
        attributes: dict[str, AttributeValue] = {
            SpanAttributes.OPENINFERENCE_SPAN_KIND: "CHAIN",
            "file.path": file.path,
            "file.size": file.size,
            "tandem.chunks": file.chunks,
            "tandem.read_ms": round(file.read_ms, 1),
            "tandem.embed_ms": round(embed_ms, 1),
        }
        began, root = int(file.began * 1e9), trace.set_span_in_context(self._root)
        span = self._tracer.start_span("index file", root, attributes=attributes, start_time=began)
        span.set_status(status)
        span.end(ended)


def _silent(root: Span) -> Span:
    """Whoever makes a span below it, here or in a worker, makes one that is not sampled."""
    of = root.get_span_context()
    return NonRecordingSpan(SpanContext(of.trace_id, of.span_id, is_remote=False))
