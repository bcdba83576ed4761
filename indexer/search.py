"""A query becomes hits: both sides of the store in one round trip, fused, copies folded, neighbours merged."""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from openinference.semconv.trace import DocumentAttributes, EmbeddingAttributes, SpanAttributes
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
    with tracer.start_as_current_span("retrieve", attributes=_attributes("RETRIEVER")) as span:
        span.set_attribute(SpanAttributes.INPUT_VALUE, query)
        freshness = Freshness(index.catalog.meta("as_of"), pending)
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
        return Looked(found, vector, index.embedder.signature, began)


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
    with tracer.start_as_current_span("embed query", attributes=_attributes("EMBEDDING")) as span:
        span.set_attribute(SpanAttributes.EMBEDDING_MODEL_NAME, embedder.signature)
        text = f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.0.{EmbeddingAttributes.EMBEDDING_TEXT}"
        span.set_attribute(text, query)
        try:
            vector, was_there = await queries.vector(embedder, query)
        except (EmbedderAway, EmbedderUnusable) as error:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            return None, (f"lexical search only: {error}",)
        span.set_attribute("tandem.embedding.reused", was_there)
        span.set_status(StatusCode.OK)
        return vector, ()


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
