"""A span's passages become attributes of their own, as OpenInference has them (pure).

A search sets `retrieval.documents` once, as JSON: [{id, content, score, metadata}, ...]. Forty attributes would cost
it more than the rest of its span, and hold as many objects while they wait for a collector.
"""

import json
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan

from observability.copied import copied

DOCUMENTS = "retrieval.documents"


def unfolded(span: ReadableSpan) -> ReadableSpan:
    """The span, or a copy with retrieval.documents.N.document.{id, content, score, metadata}; metadata is JSON."""
    told = dict(span.attributes or {})
    folded = told.pop(DOCUMENTS, None)
    if not isinstance(folded, str):
        return span
    for n, document in enumerate(cast("list[dict[str, Any]]", json.loads(folded))):
        for name, value in document.items():
            told[f"{DOCUMENTS}.{n}.document.{name}"] = json.dumps(value) if isinstance(value, dict) else value
    return copied(span, told)
