"""A query becomes hits: both sides of the store in one round trip, fused, copies folded, neighbours merged."""

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec
from openinference.semconv.trace import EmbeddingAttributes, SpanAttributes
from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode

from indexer import bm25, lexical
from indexer.catalog import Catalog
from indexer.choosing import Choices
from indexer.embed import Embedder, EmbedderAway, EmbedderUnusable, Vectors
from indexer.embed.queries import Queries
from indexer.exactly import to_the_letter
from indexer.filters import EVERYTHING, Filters
from indexer.folding import folded
from indexer.fusion import FUSED
from indexer.hits import Found, Freshness, Hit
from indexer.laps import Laps
from indexer.marking import likely, marks, wanted
from indexer.presenting import Group, Ranked, apart, merged, presented
from indexer.ranking import LOOKED_AT, WEIGHTS, Weights, exact, ranked
from indexer.records import ChunkRow
from indexer.rerank.reranker import Reranker, Reranking
from indexer.store import Store

_SPARE = 1.3  # of the dense side more are asked for: the store ranks by coarse vectors, we by those of the catalog
_DEEPER = 4  # times as many candidates, where copies and neighbours have left too few hits
_DEEPEST = 64  # times `limit`

_EMBEDDED = f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.0.{EmbeddingAttributes.EMBEDDING_TEXT}"
_METADATA = (
    *("path", "heading", "page", "start_line", "end_line"),
    *("dense_score", "lexical_score", "relevance", "modified"),
)

tracer = trace.get_tracer("tandem")


@dataclass(frozen=True, slots=True)
class Index:
    """The parts that hold one index."""

    catalog: Catalog
    store: Store
    embedder: Embedder
    choices: Choices = field(default_factory=Choices)
    queries: Queries = field(default_factory=Queries)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a search found and by what: the query's vector (none where its embedder is away) of the model `signature`,
    and when it began, in seconds since the epoch. `stages`: where its time went, in milliseconds. `span`: the id of
    the span that it stands on, where there is one."""

    found: Found
    vector: Vectors | None
    signature: str
    began: float
    stages: Mapping[str, float] = field(default_factory=dict[str, float])
    span: str | None = None


async def search(
    index: Index,
    query: str,
    limit: int,
    *,
    filters: Filters = EVERYTHING,
    pending: int = 0,
    merge: bool = True,
    weights: Weights = WEIGHTS,
) -> Found:
    """The best `limit` hits. Without its embedder the lexical side searches alone, and `degraded` says so."""
    looked = await look(index, query, limit, filters=filters, pending=pending, merge=merge, weights=weights)
    return looked.found


async def look(
    index: Index,
    query: str,
    limit: int,
    *,
    filters: Filters = EVERYTHING,
    pending: int = 0,
    merge: bool = True,
    mark: bool = False,
    explain: bool = False,
    weights: Weights = WEIGHTS,
    reranker: Reranker | None = None,
) -> Looked:
    """As `search`, for those who want the query's vector too: it is embedded once. Where no document
    passes `filters` nothing is embedded. Without `merge` each chunk is a hit, copies too. Raises BadFilter."""
    began, vector, laps = time.time(), None, Laps()
    asked = {SpanAttributes.INPUT_VALUE: query}
    with tracer.start_as_current_span("retrieve", attributes=_attributes("RETRIEVER", asked)) as span:
        freshness = Freshness(index.catalog.meta("as_of"), pending)
        if filters != EVERYTHING:
            span.set_attribute("tandem.filters", json.dumps(_told(filters)))
        documents = None if filters == EVERYTHING else await index.choices.documents(index.catalog, filters)
        laps.lap("filter")
        if documents is not None and not documents:
            found = Found((), freshness, (f"no document {filters}",))
        else:
            vector, degraded = await _embedded(index.queries, index.embedder, query)
            laps.lap("embed")
            reranking = Reranking(reranker, query)
            choose = partial(_chosen, index, query, vector, documents, weights, laps, reranking)
            groups = await _merged(choose, limit, laps) if merge else apart(await choose(limit), limit)
            hits = presented(groups, partial(_beside, index.catalog), explain)
            laps.lap("complete")
            if mark:
                hits = _marked(hits, query, index.catalog.languages())
                laps.lap("mark")
            found = Found(tuple(hits), freshness, (*degraded, *reranking.degraded))
        if explain:
            found = replace(found, explained=laps.explained())
        _describe(span, found)
        named = trace.format_span_id(span.get_span_context().span_id) if span.is_recording() else None
        return Looked(found, vector, index.embedder.signature, began, laps.stages, named)


async def _merged(choose: Callable[[int], Awaitable[list[Ranked]]], limit: int, laps: Laps) -> list[Group]:
    """As many as were asked for, however many copies of them there are."""
    wide = limit
    while True:
        chosen = await choose(wide)
        groups = merged(folded(chosen), limit)
        laps.lap("merge")
        if len(groups) == limit or len(chosen) < max(LOOKED_AT, 2 * wide) or wide >= _DEEPEST * limit:
            return groups
        wide *= _DEEPER


def _beside(catalog: Catalog, group: Group) -> tuple[ChunkRow | None, ChunkRow | None]:
    first, last = group[0].candidate, group[-1].candidate
    around = catalog.neighbours(first.document, first.chunk.ordinal - 1, last.chunk.ordinal + 1)
    by_ordinal = {one.chunk.ordinal: one.chunk for one in around}
    return by_ordinal.get(first.chunk.ordinal - 1), by_ordinal.get(last.chunk.ordinal + 1)


def _marked(hits: Sequence[Hit], query: str, languages: Sequence[str]) -> list[Hit]:
    terms, look_at = wanted(query, languages), likely(query)
    return [replace(hit, marks=marks(hit.text, terms, languages, look_at)) for hit in hits]


async def _chosen(
    index: Index,
    query: str,
    vector: Vectors | None,
    documents: Sequence[int] | None,
    weights: Weights,
    laps: Laps,
    reranking: Reranking,
    limit: int,
) -> list[Ranked]:
    catalog, signature = index.catalog, index.embedder.signature
    words = lexical.asked(query, catalog.languages())
    depth = max(FUSED, 2 * limit)
    found = await index.store.search(vector, bm25.query_vector(words), int(_SPARE * depth), documents)
    laps.lap("store")
    rankings = exact(catalog, signature, vector, found, depth)
    laps.lap("exact")
    best = ranked(catalog, signature, vector, words, rankings, limit, laps, weights)
    laps.lap("second look")
    best = await reranking.order(best)
    laps.lap("rerank")
    literal = await to_the_letter(catalog, index.store, query, documents, best)
    laps.lap("to the letter")
    return literal


async def _embedded(queries: Queries, embedder: Embedder, query: str) -> tuple[Vectors | None, tuple[str, ...]]:
    asked = {SpanAttributes.EMBEDDING_MODEL_NAME: embedder.signature, _EMBEDDED: query}
    asked |= {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": embedder.signature}
    with tracer.start_as_current_span("embed query", attributes=_attributes("EMBEDDING", asked)) as span:
        try:
            vector, was_there = await queries.vector(embedder, query)
        except (EmbedderAway, EmbedderUnusable) as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            return None, (f"lexical search only: {error}",)
        span.set_attribute("tandem.embedding.reused", was_there)
        span.set_status(StatusCode.OK)
        return vector, ()


def _attributes(kind: str, asked: Mapping[str, str]) -> dict[str, str]:
    attributes = {SpanAttributes.OPENINFERENCE_SPAN_KIND: kind, **asked}
    if session := context.get_value(SpanAttributes.SESSION_ID):  # where the caller of `search` has put one
        attributes[SpanAttributes.SESSION_ID] = str(session)
    return attributes


def _describe(span: trace.Span, found: Found) -> None:
    if span.is_recording():
        span.set_attribute("tandem.relevances", [hit.relevance or 0.0 for hit in found.hits])
        span.set_attribute(SpanAttributes.RETRIEVAL_DOCUMENTS, _as_json([_document(hit) for hit in found.hits]))
    span.set_status(StatusCode.OK)


def _document(hit: Hit) -> dict[str, Any]:
    metadata = {name: value for name in _METADATA if (value := getattr(hit, name)) is not None}
    where = f"{hit.path}:{hit.start_line or hit.page or 0}"
    return {"id": where, "content": hit.text, "score": hit.score, "metadata": metadata}


def _told(filters: Filters) -> dict[str, str]:
    told = {"in": filters.within, "type": ",".join(filters.types), "since": filters.since}
    return {name: word for name, word in told.items() if word}


def _as_json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(value)
