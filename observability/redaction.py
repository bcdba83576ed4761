"""What traces may not tell is taken out of each span before it leaves the process (pure).

Numbers but parameters', kinds, ids, the names of tools, models and files always stay. Every other word of a span is
held against what it may say: an attribute that is not known here may say anything, and so may an exception and a
status. An answer quotes passages and repeats questions, so it is hidden with either.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from observability.annotations import Annotation
from observability.copied import copied

TEXTS = ("questions", "passages", "answers")
HIDEABLE = (*TEXTS, "parameters")
HIDDEN = "[hidden]"

_ANY_TEXT = frozenset(TEXTS)
_NOTHING = frozenset[str]()
_KNOWN: Sequence[tuple[re.Pattern[str], frozenset[str]]] = tuple(
    (re.compile(key), frozenset(says))
    for key, says in (
        (r"openinference\.span\.kind|session\.id|tool\.name|(?:input|output)\.mime_type", _NOTHING),
        (r"(?:llm|embedding|reranker)\.model_name|llm\.finish_reason", _NOTHING),
        (r"llm\.invocation_parameters", ("parameters",)),
        (r".*\.message\.role|gen_ai\.(?:(?:operation|tool)\.name|conversation\.id)", _NOTHING),
        (r"gen_ai\.(?:request\.model|response\.(?:model|finish_reasons))", _NOTHING),
        (r"tandem\.(?:engine|request_id|as_of|judged_trace)|exception\.(?:type|escaped)|file\.path", _NOTHING),
        (r"(?:retrieval|reranker)\..*\.document\.id", _NOTHING),
        (r"(?:retrieval|reranker)\..*\.document\.(?:content|metadata)", ("passages",)),
        (r"input\.value|reranker\.query|embedding\.embeddings\.\d+\.embedding\.text", ("questions",)),
    )
)
_ASKED = re.compile(r"gen_ai\.request\.")  # a parameter may be a number


def redacted(span: ReadableSpan, hide: Collection[str]) -> ReadableSpan:
    """The span, or a copy without what `hide` names, of HIDEABLE."""
    if not hide:
        return span
    return copied(
        span,
        _attributes(span.attributes or {}, hide),
        events=[Event(one.name, _attributes(one.attributes or {}, hide), one.timestamp) for one in span.events],
        status=Status(span.status.status_code, HIDDEN if span.status.description else None),
    )


def unworded(annotation: Annotation, hide: Collection[str]) -> Annotation:
    """Without the words of who judged, where a text is hidden: they may repeat it. Our own measures tell none."""
    if _ANY_TEXT.isdisjoint(hide) or annotation.kind == "CODE" or annotation.explanation is None:
        return annotation
    return replace(annotation, explanation=HIDDEN)


def _attributes(attributes: Mapping[str, Any], hide: Collection[str]) -> dict[str, Any]:
    # What is evaluated is an answer.
    evaluates = attributes.get("openinference.span.kind") == "EVALUATOR"
    return {
        key: _value("evaluated" if evaluates and key == "input.value" else key, value, hide)
        for key, value in attributes.items()
    }


def _are_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, bool | int | float) for one in cast(tuple[Any, ...], value))


def _value(key: str, value: Any, hide: Collection[str]) -> Any:
    if isinstance(value, bool | int | float) or _are_numbers(value):
        return HIDDEN if "parameters" in hide and _ASKED.match(key) else value
    says = next((says for known, says in _KNOWN if known.fullmatch(key)), _ANY_TEXT)
    return value if says.isdisjoint(hide) else HIDDEN
