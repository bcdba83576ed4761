"""The ended spans of some traces are kept for who asked for them, instead of a collector; no other span is made."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from observability.packing import packed

ROOM = 64  # spans of one trace at once; what is more is not kept


class Kept(SpanProcessor, Sampler):
    """`hide`: what none of them may tell, of `redaction.HIDEABLE`."""

    def __init__(self, hide: Collection[str] = ()) -> None:
        self._hide = hide
        self._spans: dict[int, list[ReadableSpan]] = {}
        self._askers: dict[int, int] = {}

    @contextmanager
    def of(self, trace: int) -> Generator["Pack"]:
        """Two jobs of one trace at once share what is kept: the first that packs has it."""
        self._askers[trace] = self._askers.get(trace, 0) + 1
        spans = self._spans.setdefault(trace, [])
        try:
            yield Pack(spans, self._hide)
        finally:
            self._askers[trace] -= 1
            if not self._askers[trace]:
                del self._askers[trace], self._spans[trace]

    def on_end(self, span: ReadableSpan) -> None:
        spans = self._spans.get(span.context.trace_id) if span.context else None
        if spans is not None and len(spans) < ROOM:
            spans.append(span)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE if trace_id in self._spans else Decision.DROP, attributes)

    def get_description(self) -> str:
        return "of traces that somebody asked for"


class Pack:
    def __init__(self, spans: list[ReadableSpan], hide: Collection[str]) -> None:
        self._spans, self._hide = spans, hide

    def __call__(self, most_bytes: int) -> bytes:
        """What has ended, in OTLP, and is then kept no more. Longer texts are cut to what all can have."""
        spans = self._spans[:]
        del self._spans[: len(spans)]
        return packed(spans, self._hide, most_bytes) if spans else b""
