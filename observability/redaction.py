"""What traces may not tell is taken out of each span before it leaves the process (pure).

Numbers, kinds, ids, the names of tools, models and files always stay. Every other word of a span is held against what
it may say: an attribute that is not known here may say anything, and so may an exception and a status. An answer quotes
passages and repeats questions, so it is hidden with either.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

HIDEABLE = ("questions", "passages", "answers")
HIDDEN = "[hidden]"

_ALL = frozenset(HIDEABLE)
_NOTHING = frozenset[str]()
_KNOWN: Sequence[tuple[re.Pattern[str], frozenset[str]]] = tuple(
    (re.compile(key), frozenset(says))
    for key, says in (
        (r"openinference\.span\.kind|session\.id|tool\.name|(?:input|output)\.mime_type", _NOTHING),
        (r"(?:llm|embedding|reranker)\.model_name|llm\.finish_reason|.*\.message\.role", _NOTHING),
        (r"gen_ai\.(?:operation\.name|response\.(?:model|finish_reasons)|conversation\.id)", _NOTHING),
        (r"tandem\.(?:engine|request_id)|exception\.(?:type|escaped)", _NOTHING),
        (r"(?:retrieval|reranker)\..*\.document\.id", _NOTHING),
        (r"(?:retrieval|reranker)\..*\.document\.(?:content|metadata)", ("passages",)),
        (r"input\.value|reranker\.query|embedding\.embeddings\.\d+\.embedding\.text", ("questions",)),
    )
)


def redacted(span: ReadableSpan, hide: Collection[str]) -> ReadableSpan:
    """The span, or a copy without what `hide` names, of HIDEABLE."""
    if not hide:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_attributes(span.attributes or {}, hide),
        events=[Event(one.name, _attributes(one.attributes or {}, hide), one.timestamp) for one in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, HIDDEN if span.status.description else None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _attributes(attributes: Mapping[str, Any], hide: Collection[str]) -> dict[str, Any]:
    return {key: _value(key, value, hide) for key, value in attributes.items()}


def _value(key: str, value: Any, hide: Collection[str]) -> Any:
    if isinstance(value, bool | int | float):
        return value
    says = next((says for known, says in _KNOWN if known.fullmatch(key)), _ALL)
    return value if says.isdisjoint(hide) else HIDDEN
