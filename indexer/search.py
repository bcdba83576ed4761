"""A query becomes hits: both sides of the store in one round trip, fused, neighbours merged."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from openinference.semconv.trace import DocumentAttributes, EmbeddingAttributes, SpanAttributes
from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode

from indexer import fusion, lexical
from indexer.catalog import Catalog
from indexer.embed import Embedder, EmbedderAway, EmbedderUnusable, Vectors
from indexer.filters import ids_within
from indexer.hits import Found, Freshness, Hit
from indexer.presenting import Ranked, apart, merged
from indexer.store import Rankings, Store

_DEPTH = 100  # candidates of each side
_SPARE = 1.3  # of the dense side more are asked for: the store ranks by coarse vectors, we by those of the catalog
_SECOND_STAGE = 50  # candidates whose terms are looked at
_QUERY_TERMS = 64  # of a longer query the first ones are looked at in the second stage

tracer = trace.get_tracer("tandem")


@dataclass(frozen=True, slots=True)
class Index:
    """The parts that hold one index."""

    catalog: Catalog
    store: Store
    embedder: Embedder


@dataclass(frozen=True, slots=True)
class Looked:
    """What a search found and by what: the query's vector (none where its embedder is away) of the model `signature`,
    and when it began, in seconds since the epoch."""

    found: Found
    vector: Vectors | None
    signature: str
    began: float


async def search(
    index: Index,
    query: str,
    limit: int,
    *,
    within: str | None = None,
    pending: int = 0,
    merge: bool = True,
    weights: fusion.Weights = fusion.WEIGHTS,
) -> Found:
    """The best `limit` hits. Without its embedder the lexical side searches alone, and `degraded` says so."""
    looked = await look(index, query, limit, within=within, pending=pending, merge=merge, weights=weights)
    return looked.found


async def look(
    index: Index,
    query: str,
    limit: int,
    *,
    within: str | None = None,
    pending: int = 0,
    merge: bool = True,
    weights: fusion.Weights = fusion.WEIGHTS,
) -> Looked:
    """As `search`, for those who want the query's vector too: it is embedded once. Without a document within `within`
    nothing is embedded."""
    began, vector = time.time(), None
    with tracer.start_as_current_span("retrieve", attributes=_attributes("RETRIEVER")) as span:
        span.set_attribute(SpanAttributes.INPUT_VALUE, query)
        freshness = Freshness(index.catalog.meta("as_of"), pending)
        documents = None if within is None else await ids_within(index.catalog, within)
        if documents == []:
            found = Found((), freshness, (f"no document lies within {within!r}",))
        else:
            vector, degraded = await _embedded(index.embedder, query)
            terms = lexical.terms(query)
            depth = max(_DEPTH, 2 * limit)
            rankings = await index.store.search(vector, lexical.query_vector(terms), int(_SPARE * depth), documents)
            rankings = _exact(index, vector, rankings, depth)
            ranked = _ranked(index.catalog, terms[:_QUERY_TERMS].tolist(), rankings, depth, limit, weights)
            hits = merged(ranked, limit) if merge else apart(ranked, limit)
            found = Found(tuple(hits), freshness, degraded)
        _describe(span, found)
        return Looked(found, vector, index.embedder.signature, began)


async def _embedded(embedder: Embedder, query: str) -> tuple[Vectors | None, tuple[str, ...]]:
    with tracer.start_as_current_span("embed query", attributes=_attributes("EMBEDDING")) as span:
        span.set_attribute(SpanAttributes.EMBEDDING_MODEL_NAME, embedder.signature)
        text = f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.0.{EmbeddingAttributes.EMBEDDING_TEXT}"
        span.set_attribute(text, query)
        try:
            vector = await embedder.query(query)
        except (EmbedderAway, EmbedderUnusable) as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            return None, (f"lexical search only: {error}",)
        span.set_status(StatusCode.OK)
        return vector, ()


def _exact(index: Index, query: Vectors | None, rankings: Rankings, depth: int) -> Rankings:
    """The best `depth` of each side, the dense side by the vectors as they were made: each store then ranks alike."""
    # One store counts in single, the other in double precision.
    rounded = [(id_, round(score, 4)) for id_, score in rankings.lexical]
    words = tuple(sorted(rounded, key=lambda found: (-found[1], found[0]))[:depth])
    if query is None:
        return Rankings((), words)
    exact = index.catalog.vectors_of(index.embedder.signature, [id_ for id_, _ in rankings.dense])
    if not exact:
        return Rankings((), words)
    scores = np.stack(list(exact.values())).astype(np.float32) @ query
    dense = sorted(
        zip(exact, (round(score, 6) for score in scores.tolist()), strict=True), key=lambda found: (-found[1], found[0])
    )
    return Rankings(tuple(dense[:depth]), words)


def _ranked(
    catalog: Catalog, terms: Sequence[int], rankings: Rankings, depth: int, limit: int, weights: fusion.Weights
) -> list[Ranked]:
    """The best fused candidates, more than `limit`; the best of them are ordered by the second stage too."""
    scores = fusion.fuse(rankings.dense, rankings.lexical, depth, weights.dense)
    # A point without its row in the catalog belongs to a deleted or not yet recorded document.
    standing = catalog.standing(list(scores))
    best = sorted(standing, key=lambda id_: (-scores[id_], id_))[: max(_SECOND_STAGE, 2 * limit)]
    candidates = catalog.candidates(best)
    looked_at = best[:_SECOND_STAGE]
    near = fusion.proximity(
        terms, {id_: lexical.unpack(candidates[id_].chunk.terms) for id_ in looked_at if id_ in candidates}
    )
    for id_, nearness in near.items():
        scores[id_] += weights.proximity * nearness
    dense, words = dict(rankings.dense), dict(rankings.lexical)
    ranked = [Ranked(scores[id_], dense.get(id_), words.get(id_), one) for id_, one in candidates.items()]
    return sorted(ranked, key=lambda one: (-one.score, one.candidate.chunk.id))


def _attributes(kind: str) -> dict[str, str]:
    attributes = {SpanAttributes.OPENINFERENCE_SPAN_KIND: kind}
    if session := context.get_value(SpanAttributes.SESSION_ID):  # where the caller of `search` has put one
        attributes[SpanAttributes.SESSION_ID] = str(session)
    return attributes


def _describe(span: trace.Span, found: Found) -> None:
    if span.is_recording():
        for n, hit in enumerate(found.hits):
            prefix = f"{SpanAttributes.RETRIEVAL_DOCUMENTS}.{n}."
            told = {name: value for name, value in _metadata(hit).items() if value is not None}
            span.set_attribute(prefix + DocumentAttributes.DOCUMENT_ID, f"{hit.path}:{hit.start_line or hit.page or 0}")
            span.set_attribute(prefix + DocumentAttributes.DOCUMENT_CONTENT, hit.text)
            span.set_attribute(prefix + DocumentAttributes.DOCUMENT_SCORE, hit.score)
            span.set_attribute(prefix + DocumentAttributes.DOCUMENT_METADATA, json.dumps(told))
    span.set_status(StatusCode.OK)


def _metadata(hit: Hit) -> dict[str, str | int | float | None]:
    return {
        "path": hit.path,
        "heading": hit.heading,
        "page": hit.page,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "dense_score": hit.dense_score,
        "lexical_score": hit.lexical_score,
    }
