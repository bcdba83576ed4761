"""What a trace shows of a batch of texts."""

from collections.abc import Sequence

import anyio
import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from inference_server.embed_spans import spanned
from inference_server.engines import EngineFailed, EngineLost
from inference_server.engines.embed import Embed, embedding
from wire import Final, Job, Metadata, Said
from wire.embedding import Batch, Rows, encode_batch

MODEL = "ones@0a1b:4"
TEXTS = tuple(f"text {n}" for n in range(10))


async def ones(texts: Sequence[str]) -> Rows:
    return np.ones((len(texts), 4), np.float32)


async def span_of(embed: Embed, prompt: str, traceparent: str | None = None, dropped: bool = False) -> ReadableSpan:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    generate = spanned(embedding(embed, MODEL, "ones", step=4), provider.get_tracer("test"))
    try:
        async with generate(Job("r", prompt, metadata=Metadata(traceparent=traceparent)), Said()) as replies:
            async for reply in replies:
                if isinstance(reply, Final) or dropped:
                    break
    except (EngineFailed, EngineLost):
        pass
    (span,) = spans.get_finished_spans()
    return span


async def test_a_batch_is_one_embedding_span_with_its_count_and_its_model() -> None:
    span = await span_of(ones, encode_batch(Batch(TEXTS)))
    assert span.attributes == {
        "openinference.span.kind": "EMBEDDING",
        "tandem.request_id": "r",
        "tandem.texts": 10,
        "embedding.model_name": MODEL,
        "tandem.engine": "ones",
    }
    assert (span.name, span.status.status_code, span.parent) == ("embed", StatusCode.OK, None)


@pytest.mark.parametrize("traceparent", ["garbage", f"00-{0xA:032x}-{0xB:016x}-01"])
async def test_it_is_in_the_trace_of_who_asked_where_that_can_be_read(traceparent: str) -> None:
    span = await span_of(ones, encode_batch(Batch(TEXTS)), traceparent)
    parent = span.parent and (span.parent.trace_id, span.parent.span_id)
    assert parent == (None if traceparent == "garbage" else (0xA, 0xB))
    assert span.context.trace_id == 0xA or not parent


async def test_a_batch_that_is_refused_or_crashes_is_an_error_with_its_reason() -> None:
    refused = await span_of(ones, encode_batch(Batch(TEXTS, "ffff:4")))
    assert refused.status.status_code is StatusCode.ERROR and "ffff:4" in (refused.status.description or "")
    no_batch = await span_of(ones, "How tall is the tower?")
    assert no_batch.status.status_code is StatusCode.ERROR and "tandem.texts" not in (no_batch.attributes or {})
    assert [event.name for event in no_batch.events] == ["exception"]


async def test_a_batch_that_is_dropped_or_whose_engine_died_has_no_status() -> None:
    async def dies(texts: Sequence[str]) -> Rows:
        raise EngineLost("it died", anyio.Event())

    for span in (
        await span_of(ones, encode_batch(Batch(TEXTS)), dropped=True),
        await span_of(dies, encode_batch(Batch(TEXTS))),
    ):
        assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())
