"""One span a job, in the asker's trace: what the model was given, what it said, and what that cost.

OpenInference's names, and OpenTelemetry's for generative AI beside them where it has one. Its API only: without an SDK
all of this is nothing.
"""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager

from openinference.semconv.trace import MessageAttributes, OpenInferenceSpanKindValues, SpanAttributes
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from inference_server.prompt import messages
from wire import Final, Job, Said

tracer = trace.get_tracer("tandem")


@contextmanager
def generation(job: Job, said: Said, waited_s: float = 0.0) -> Generator["Generation"]:
    """The span `generate`, below the job's `traceparent` (W3C) where it has a valid one. `said`: what another worker
    had said of it; `waited_s`: in the queue, by the queue's clock.

    It ends as `ended` says; a job that is dropped in the middle leaves it without a status.
    """
    parent = parent_of(job)
    _waited(job, parent, waited_s)
    with tracer.start_as_current_span("generate", context=parent) as span:
        if span.is_recording():
            _describe(span, job)
            if said.text:
                span.add_event("taken over", {"tandem.tokens": len(said.tokens), "tandem.characters": len(said.text)})
        yield Generation(span)


def parent_of(job: Job) -> Context:
    """With the asker's span as the current one, where the job names a valid one."""
    return TraceContextTextMapPropagator().extract({"traceparent": job.metadata.traceparent or ""})


class Generation:
    """An answer as it grows."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._chunks: list[str] = []
        self._began = time.perf_counter()

    def said(self, chunk: str) -> None:
        if not self._span.is_recording():
            return
        if not self._chunks:
            self._span.add_event("first token")
            self._span.set_attribute("tandem.first_token_ms", round((time.perf_counter() - self._began) * 1000, 1))
        self._chunks.append(chunk)

    def failed(self, error: Exception) -> None:
        """Before `ended`: what raised, with its traceback."""
        self._span.record_exception(error)

    def ended(self, final: Final) -> None:
        text = "".join(self._chunks)
        self._span.set_attribute(SpanAttributes.OUTPUT_VALUE, text)
        _set_message(self._span, f"{SpanAttributes.LLM_OUTPUT_MESSAGES}.0", "assistant", text)
        if model := final.model or final.engine:
            self._span.set_attributes({SpanAttributes.LLM_MODEL_NAME: model, "gen_ai.response.model": model})
        if final.engine:
            self._span.set_attribute("tandem.engine", final.engine)
        if final.finish_reason:
            self._span.set_attribute(SpanAttributes.LLM_FINISH_REASON, final.finish_reason)
            self._span.set_attribute("gen_ai.response.finish_reasons", (final.finish_reason,))
        self._count(final)
        self._span.set_status(StatusCode.ERROR if final.error else StatusCode.OK, final.error)

    def _count(self, final: Final) -> None:
        if not final.usage:
            return
        prompt, completion, total = final.usage.prompt_tokens, final.usage.completion_tokens, final.usage.total_tokens
        if prompt is not None:
            self._span.set_attributes(
                {SpanAttributes.LLM_TOKEN_COUNT_PROMPT: prompt, "gen_ai.usage.input_tokens": prompt}
            )
        if completion is not None:
            self._span.set_attribute(SpanAttributes.LLM_TOKEN_COUNT_COMPLETION, completion)
            self._span.set_attribute("gen_ai.usage.output_tokens", completion)
        if total is not None:
            self._span.set_attribute(SpanAttributes.LLM_TOKEN_COUNT_TOTAL, total)
        if (cached := final.usage.cached_tokens) is not None:
            self._span.set_attribute(SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, cached)


def _waited(job: Job, parent: Context, waited_s: float) -> None:
    """The span `wait in queue` in the asker's trace. It ends now, by this machine's clock as all its spans are; how
    long it is the queue has told."""
    if not get_current_span(parent).get_span_context().is_valid:
        return
    now = time.time_ns()
    began = now - round(waited_s * 1e9)
    attributes: dict[str, AttributeValue] = {
        SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.CHAIN.value,
        "tandem.queue_wait_ms": (now - began) // 1_000_000,
        **_session(job),
    }
    span = tracer.start_span("wait in queue", parent, attributes=attributes, start_time=began)
    span.set_status(StatusCode.OK)
    span.end(now)


def _session(job: Job) -> dict[str, AttributeValue]:
    return {SpanAttributes.SESSION_ID: job.metadata.session} if job.metadata.session else {}


def _describe(span: Span, job: Job) -> None:
    span.set_attribute(SpanAttributes.OPENINFERENCE_SPAN_KIND, OpenInferenceSpanKindValues.LLM.value)
    span.set_attribute(SpanAttributes.INPUT_VALUE, job.prompt)
    span.set_attributes({"gen_ai.operation.name": "chat", "tandem.request_id": job.request_id})
    span.set_attributes(_session(job))
    if asked := {name: value for name in ("model", "max_tokens") if (value := getattr(job.metadata, name)) is not None}:
        span.set_attribute(SpanAttributes.LLM_INVOCATION_PARAMETERS, json.dumps(asked))
        span.set_attributes({f"gen_ai.request.{name}": value for name, value in asked.items()})
    if job.metadata.session:
        span.set_attribute("gen_ai.conversation.id", job.metadata.session)
    for position, message in enumerate(messages(job)):
        _set_message(span, f"{SpanAttributes.LLM_INPUT_MESSAGES}.{position}", message["role"], message["content"])


def _set_message(span: Span, prefix: str, role: str, content: str) -> None:
    span.set_attribute(f"{prefix}.{MessageAttributes.MESSAGE_ROLE}", role)
    span.set_attribute(f"{prefix}.{MessageAttributes.MESSAGE_CONTENT}", content)
