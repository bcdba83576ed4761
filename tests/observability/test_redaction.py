"""What is to be hidden leaves in no byte of any span; what is not stays."""

from dataclasses import fields, replace

import pytest
from openinference.instrumentation import TraceConfig
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bridge.hiding import KNOWN, hidden_by
from observability.annotations import Annotation
from observability.redaction import HIDDEN, HIDEABLE, TEXTS, redacted, unworded

CANARY = {
    "questions": "canary-question",
    "passages": "canary-passage",
    "answers": "canary-answer",
    "parameters": "canary-parameter",
}
EVERY = "; ".join(CANARY[one] for one in TEXTS)
SPANS = {
    "retrieve": {
        "openinference.span.kind": "RETRIEVER",
        "session.id": "s1",
        "input.value": CANARY["questions"],
        "retrieval.documents.0.document.id": "/notes/kiln.md:3",
        "retrieval.documents.0.document.content": CANARY["passages"],
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.0.document.metadata": f'{{"heading": "{CANARY["passages"]}"}}',
    },
    "embed query": {"embedding.embeddings.0.embedding.text": CANARY["questions"], "embedding.model_name": "minilm"},
    "rerank": {
        "reranker.query": CANARY["questions"],
        "reranker.input_documents.0.document.content": CANARY["passages"],
        "reranker.output_documents.0.document.content": CANARY["passages"],
    },
    "generate": {
        "llm.model_name": "llama",
        "llm.invocation_parameters": CANARY["parameters"],
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": f"{CANARY['questions']} {CANARY['passages']}",
        "llm.output_messages.0.message.content": EVERY,
        "gen_ai.request.max_tokens": 512,
        "llm.token_count.prompt": 12,
        "output.value": EVERY,
    },
    "check citations": {"openinference.span.kind": "EVALUATOR", "input.value": EVERY, "output.value": EVERY},
    "ask": {"tool.name": "ask", "input.value": CANARY["questions"], "output.value": EVERY, "of.tomorrow": EVERY},
}


def spans() -> list[ReadableSpan]:
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name, attributes in SPANS.items():
        span = provider.get_tracer("tests").start_span(name, attributes=attributes)
        span.add_event("first token", {"text": EVERY})
        span.record_exception(ValueError(EVERY))
        span.set_status(trace.StatusCode.ERROR, EVERY)
        span.end()
    return list(memory.get_finished_spans())


def sent(hide: tuple[str, ...]) -> bytes:
    return encode_spans([redacted(span, hide) for span in spans()]).SerializeToString()


@pytest.mark.parametrize("hide", [*((one,) for one in HIDEABLE), ("questions", "answers"), HIDEABLE])
def test_not_a_byte_of_what_is_hidden_leaves(hide: tuple[str, ...]) -> None:
    told = sent(hide)
    for one in hide:
        assert CANARY[one].encode() not in told, one
    assert HIDDEN.encode() in told


@pytest.mark.parametrize("name", KNOWN)
def test_a_setting_of_openinference_hides_no_less_than_it_does_there(name: str) -> None:
    hide = hidden_by(name)
    told = sent(hide)
    assert not [one for one in hide if CANARY[one].encode() in told]
    field = next(field.name for field in fields(TraceConfig) if field.metadata.get("env_var") == name)
    theirs = replace(TraceConfig(), **{field: True})
    for span in spans():
        ours = dict(redacted(span, hide).attributes or {})
        for key, value in (span.attributes or {}).items():
            if "canary" in str(value) and theirs.mask(key, value) != value:
                assert ours[key] == HIDDEN, key


def test_all_of_it_would_have_left() -> None:
    told = sent(())
    assert all(canary.encode() in told for canary in CANARY.values())


def test_what_is_not_hidden_stays() -> None:
    (retrieve, _, _, generate, _, ask) = [redacted(span, ("passages",)) for span in spans()]
    said = dict(retrieve.attributes or {})
    assert said["input.value"] == CANARY["questions"]
    assert said["retrieval.documents.0.document.score"] == 0.5
    assert said["retrieval.documents.0.document.id"] == "/notes/kiln.md:3"
    assert said["retrieval.documents.0.document.content"] == HIDDEN
    said = dict(generate.attributes or {})
    assert (said["llm.model_name"], said["llm.token_count.prompt"]) == ("llama", 12)
    assert dict(ask.attributes or {})["output.value"] == HIDDEN
    assert {span.status.status_code for span in (retrieve, generate, ask)} == {trace.StatusCode.ERROR}
    assert [event.name for event in ask.events] == ["first token", "exception"]
    assert dict(ask.events[1].attributes or {})["exception.type"] == "ValueError"


def test_a_parameter_is_hidden_that_is_a_number() -> None:
    for hide, told in ((("parameters",), HIDDEN), (TEXTS, 512), ((), 512)):
        assert dict(redacted(spans()[3], hide).attributes or {})["gen_ai.request.max_tokens"] == told


@pytest.mark.parametrize("hide", [(one,) for one in TEXTS])
def test_a_judges_words_may_repeat_anything_and_our_measures_nothing(hide: tuple[str, ...]) -> None:
    said = Annotation("00f067aa0ba902b7", "rating", 0.0, "down", EVERY, kind="HUMAN")
    told = unworded(said, hide)
    assert (told.score, told.label, told.explanation) == (0.0, "down", HIDDEN)
    assert unworded(said, ()) == unworded(said, ("parameters",)) == said
    measured = Annotation("00f067aa0ba902b7", "freshness", 0.0, "behind", "3 files waited")
    assert unworded(measured, hide) == measured
