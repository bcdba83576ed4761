"""One span a batch of texts, in the asker's trace where it has one: how many, by what model, what became of them.

Neither texts nor vectors stand in it: an index is hundreds of batches.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from openinference.semconv.trace import OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry.trace import Span, StatusCode, Tracer

from inference_server.engines import EngineLost, Generate
from inference_server.spans import parent_of
from wire import Final, Job, Malformed, Reply, Said
from wire.embedding import decode_batch


def spanned(generate: Generate, tracer: Tracer) -> Generate:
    """A batch that is dropped, or lost with its engine, leaves its span without a status."""

    @asynccontextmanager
    async def embed(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        span = tracer.start_span("embed", context=parent_of(job))
        try:
            if span.is_recording():
                _describe(span, job)
            async with generate(job, said) as replies, aclosing(_heard(replies, span)) as heard:
                yield heard
        finally:
            span.end()

    return embed


async def _heard(replies: AsyncIterator[Reply], span: Span) -> AsyncGenerator[Reply]:
    try:
        async for reply in replies:
            if isinstance(reply, Final):
                _ended(span, reply)
            yield reply
    except EngineLost:
        raise
    except Exception as error:
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error) or type(error).__name__)
        raise


def _describe(span: Span, job: Job) -> None:
    span.set_attribute(SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.EMBEDDING.value)
    span.set_attribute("tandem.request_id", job.request_id)
    try:
        span.set_attribute("tandem.texts", len(decode_batch(job.prompt).texts))
    except Malformed:
        return  # the engine refuses it, and says why


def _ended(span: Span, final: Final) -> None:
    if final.model:
        span.set_attribute(SpanAttributes.EMBEDDING_MODEL_NAME, final.model)
    if final.engine:
        span.set_attribute("tandem.engine", final.engine)
    span.set_status(StatusCode.ERROR if final.error else StatusCode.OK, final.error)
