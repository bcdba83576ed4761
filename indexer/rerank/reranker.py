"""Scores of a reranker become a new order of the candidates, within a time; without them the order stays."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
from openinference.semconv.trace import (
    DocumentAttributes,
    OpenInferenceSpanKindValues,
    RerankerAttributes,
    SpanAttributes,
)
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from indexer.presenting import Ranked
from indexer.records import searched
from indexer.rerank import Rerank, RerankerAway

MOST = 30  # candidates; the right one is seldom further down, and each costs as much as embedding a chunk

_TRACER = trace.get_tracer("tandem")


class Reranker:
    """`limit_s`: how long a search waits for it. `pause_s`: how long nobody asks it after it gave nothing."""

    def __init__(
        self,
        rerank: Rerank,
        name: str,
        limit_s: float,
        most: int = MOST,
        pause_s: float = 30,
        tracer: trace.Tracer = _TRACER,
    ) -> None:
        self.name, self.most, self._tracer = name, most, tracer
        self._rerank, self._limit_s, self._pause_s = rerank, limit_s, pause_s
        self._failed: tuple[float, RerankerAway] | None = None

    async def scores(self, query: str, best: Sequence[Ranked]) -> Sequence[float]:
        """Of at most `most`. Raises RerankerAway."""
        if self._failed and anyio.current_time() < self._failed[0]:
            raise self._failed[1]
        texts = [searched(one.candidate.chunk.context, one.candidate.chunk.text) for one in best]
        with self._tracer.start_as_current_span("rerank", attributes=self._asked(query, best, texts)) as span:
            try:
                scores = await self._within(query, texts)
            except RerankerAway as error:
                self._failed = (anyio.current_time() + self._pause_s, error)
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise
            self._failed = None
            _tell(span, best, texts, scores)
        return scores

    async def _within(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        try:
            with anyio.fail_after(self._limit_s):
                scores = await self._rerank(query, texts)
        except TimeoutError as error:
            raise RerankerAway(
                f"{self.name} was expected to answer within {self._limit_s:g} s; "
                "set TANDEM_RERANK_LIMIT_S higher, or take a smaller model"
            ) from error
        if len(scores) != len(texts):
            raise RerankerAway(f"{self.name} was expected to give {len(texts)} scores, it gave {len(scores)}")
        return scores

    def _asked(self, query: str, best: Sequence[Ranked], texts: Sequence[str]) -> dict[str, str | int]:
        told: dict[str, str | int] = {
            SpanAttributes.OPENINFERENCE_SPAN_KIND: OpenInferenceSpanKindValues.RERANKER.value,
            RerankerAttributes.RERANKER_QUERY: query,
            RerankerAttributes.RERANKER_MODEL_NAME: self.name,
            RerankerAttributes.RERANKER_TOP_K: self.most,
        }
        for n, (one, text) in enumerate(zip(best, texts, strict=True)):
            prefix = f"{RerankerAttributes.RERANKER_INPUT_DOCUMENTS}.{n}."
            told[prefix + DocumentAttributes.DOCUMENT_ID] = str(one.candidate.chunk.id)
            told[prefix + DocumentAttributes.DOCUMENT_CONTENT] = text
        return told


class Reranking:
    """The order of one search, which may look several times, and deeper: no text is weighed twice.

    `degraded`: in words why the order stayed as it was.
    """

    def __init__(self, reranker: Reranker | None, query: str) -> None:
        self._reranker, self._query = reranker, query
        self._scores: dict[int, float] = {}
        self.degraded: tuple[str, ...] = ()

    async def order(self, ranked: Sequence[Ranked]) -> list[Ranked]:
        """The best anew, the others behind them as they were.

        The places keep their scores: what is told of a hit falls from the first to the last, whoever ordered them.
        """
        reranker = self._reranker
        if reranker is None or self.degraded:
            return list(ranked)
        best = ranked[: reranker.most]
        new = [one for one in best if one.candidate.chunk.id not in self._scores]
        try:
            scores = await reranker.scores(self._query, new) if new else ()
        except RerankerAway as error:
            self.degraded = (f"not reranked: {error}",)
            return list(ranked)
        self._scores |= {one.candidate.chunk.id: score for one, score in zip(new, scores, strict=True)}
        anew = sorted(best, key=lambda one: -self._scores[one.candidate.chunk.id])
        placed = zip(anew, best, strict=True)
        return [*(self._at(one, place.score) for one, place in placed), *ranked[reranker.most :]]

    def _at(self, one: Ranked, score: float) -> Ranked:
        return replace(one, score=score, parts={**one.parts, "rerank": self._scores[one.candidate.chunk.id]})


def _tell(span: trace.Span, best: Sequence[Ranked], texts: Sequence[str], scores: Sequence[float]) -> None:
    order = sorted(zip(scores, best, texts, strict=True), key=lambda scored: -scored[0])
    for n, (score, one, text) in enumerate(order if span.is_recording() else []):
        prefix = f"{RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS}.{n}."
        span.set_attribute(prefix + DocumentAttributes.DOCUMENT_ID, str(one.candidate.chunk.id))
        span.set_attribute(prefix + DocumentAttributes.DOCUMENT_CONTENT, text)
        span.set_attribute(prefix + DocumentAttributes.DOCUMENT_SCORE, score)
    span.set_status(StatusCode.OK)
