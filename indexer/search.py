"""A query becomes hits: both sides of the store in one round trip, fused, neighbours merged."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio.to_thread
import numpy as np
from openinference.semconv.trace import DocumentAttributes, EmbeddingAttributes, SpanAttributes
from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode
from pathspec import GitIgnoreSpec

from indexer import fusion, lexical
from indexer.catalog import Catalog
from indexer.embed import Embedder, EmbedderAway, EmbedderUnusable, Vectors
from indexer.hits import Found, Freshness, Hit
from indexer.records import Candidate
from indexer.store import Rankings, Store

_DEPTH = 100  # candidates of each side
_SPARE = 1.3  # of the dense side more are asked for: the store ranks by coarse vectors, we by those of the catalog
_SECOND_STAGE = 50  # candidates whose terms are looked at
_QUERY_TERMS = 64  # of a longer query the first ones are looked at in the second stage
_MERGED = 3  # chunks in one hit at most
_WORTH_MERGING = 0.5  # of the group's best score

tracer = trace.get_tracer("tandem")


class BadGlob(Exception):
    """`in` is no pattern; the message says what was expected."""


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


@dataclass(frozen=True, slots=True)
class _Ranked:
    score: float
    dense: float | None
    lexical: float | None
    candidate: Candidate


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
            hits = _merged(ranked, limit) if merge else [_hit([one]) for one in ranked[:limit]]
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


async def ids_within(catalog: Catalog, within: str) -> list[int]:
    """The documents whose path matches a pattern as in .gitignore: absolute, or relative to its root or to the folder
    that the root lies in. Raises BadGlob."""
    try:
        spec = GitIgnoreSpec.from_lines([within.removeprefix("./")])
    except (ValueError, re.error) as error:
        raise BadGlob(
            f"`in` was expected to be a pattern as in .gitignore, e.g. '*.md' or docs/; got {within!r}"
        ) from error
    roots = sorted((root.rstrip("/") for root in catalog.roots()), key=len, reverse=True)

    def matching() -> list[int]:
        return [id_ for id_, path in catalog.paths() if _matches(spec, path, roots)]

    # 20 000 paths take a third of a second: not on the loop.
    return await anyio.to_thread.run_sync(matching)


def _matches(spec: GitIgnoreSpec, path: str, roots: Sequence[str]) -> bool:
    root = next((root for root in roots if path.startswith(root + "/")), "")
    starts = {0, len(root), root.rfind("/")} - {-1}
    return any(spec.match_file(path[start + 1 :]) for start in starts)


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
) -> list[_Ranked]:
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
    ranked = [_Ranked(scores[id_], dense.get(id_), words.get(id_), one) for id_, one in candidates.items()]
    return sorted(ranked, key=lambda one: (-one.score, one.candidate.chunk.id))


def _merged(ranked: Sequence[_Ranked], limit: int) -> list[Hit]:
    """Neighbouring chunks of one document become one hit, at the rank of the better one."""
    groups: list[list[_Ranked]] = []
    for one in ranked:
        group = next((group for group in groups if len(group) < _MERGED and _adjoins(group, one)), None)
        if group is not None:
            group.append(one)
            group.sort(key=lambda member: member.candidate.chunk.ordinal)
        elif len(groups) < limit:
            groups.append([one])
        else:
            break
    return [_hit(group) for group in groups]


def _adjoins(group: Sequence[_Ranked], one: _Ranked) -> bool:
    """A neighbour that is worth reading by itself; a page stays a page, so that the citation is true."""
    first, last, here = group[0].candidate, group[-1].candidate, one.candidate
    return (
        here.document == first.document
        and here.chunk.page == first.chunk.page
        and here.chunk.ordinal in (first.chunk.ordinal - 1, last.chunk.ordinal + 1)
        and one.score >= _WORTH_MERGING * max(member.score for member in group)
    )


def _hit(group: Sequence[_Ranked]) -> Hit:
    """`group` in reading order."""
    best = max(group, key=lambda one: one.score)
    first, last = group[0].candidate.chunk, group[-1].candidate.chunk
    document = best.candidate
    return Hit(
        path=document.path,
        uri=Path(document.path).as_uri(),
        score=round(best.score, 6),
        text=_joined(group),
        start_line=first.start_line,
        end_line=last.end_line,
        page=best.candidate.chunk.page,
        heading=best.candidate.chunk.heading,
        sha256=document.sha256,
        modified=datetime.fromtimestamp(document.mtime_ns / 1e9, UTC).isoformat(timespec="seconds"),
        dense_score=best.dense,
        lexical_score=best.lexical,
        document=str(document.document),
    )


def _joined(group: Sequence[_Ranked]) -> str:
    text, end = "", 0
    for one in group:
        chunk = one.candidate.chunk
        if not text:
            text = chunk.text
        elif chunk.start < end:
            text += chunk.text[end - chunk.start :]
        else:
            text += "\n" + chunk.text
        end = chunk.end
    return text


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
