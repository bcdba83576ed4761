"""An answer on its way: what is known of it so far, and what it will be once it ends."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
from opentelemetry import trace

from bridge.grounding import Claim, checked
from bridge.service import Answer, Citation, Numbered, Piece, Place, Timings
from indexer.filters import EVERYTHING, Filters
from indexer.hits import Found, Freshness, Hit
from wire import Delta, Final, Turn

_UNKNOWN = Freshness(None)
CANCELLED = "the answer was cancelled"
RESTARTED = "this answer was lost and begun again in other words: ask again"


class Record(msgspec.Struct, frozen=True):
    """What another process must know to end an answer as this one would have."""

    asked: str
    question: str
    passages: tuple[Hit, ...]
    freshness: Freshness
    degraded: tuple[str, ...] = ()
    label: str = ""
    trace_id: str | None = None
    asked_ms: int = 0
    span_id: str | None = None
    session: str | None = None


@dataclass(slots=True, eq=False)
class Draft:
    """`question` is what is searched for; `asked` what was typed. `goes_on`: leaving it does not cancel its job.
    `claims`: the answer's, once it has ended. `cache`: what the cache decided, once it was asked.
    `span_id`: of the answer's own span, where it is kept; `check`: of the one on which its check stands, likewise."""

    request: str
    asked: str
    filters: Filters = EVERYTHING
    session: str | None = None
    turns: tuple[Turn, ...] = ()
    question: str = ""
    passages: Sequence[Hit] = ()
    freshness: Freshness = _UNKNOWN
    degraded: tuple[str, ...] = ()
    label: str = ""
    trace_id: str | None = None
    span_id: str | None = None
    text: str = ""
    place: Place = (0, 0)
    goes_on: bool = False
    claims: Sequence[Claim] = ()
    cache: str | None = None
    check: str | None = None
    _began: float = field(default_factory=time.time)
    _searched: float | None = None
    _first: float | None = None

    def __post_init__(self) -> None:
        self.question = self.question or self.asked

    @classmethod
    def of(cls, request: str, record: bytes) -> "Draft":
        kept = msgspec.json.decode(record, type=Record)
        return cls(
            request,
            kept.asked,
            session=kept.session,
            question=kept.question,
            passages=kept.passages,
            freshness=kept.freshness,
            degraded=kept.degraded,
            label=kept.label,
            trace_id=kept.trace_id,
            span_id=kept.span_id,
            _began=kept.asked_ms / 1000,
        )

    def record(self, session: str | None) -> bytes:
        kept = Record(
            self.asked,
            self.question,
            tuple(self.passages),
            self.freshness,
            self.degraded,
            self.label,
            self.trace_id,
            int(self._began * 1000),
            self.span_id,
            session,
        )
        return msgspec.json.encode(kept)

    def found(self, found: Found, passages: Sequence[Hit], span: trace.Span) -> None:
        self.passages, self.freshness, self.degraded = passages, found.freshness, found.degraded
        if span.is_recording():
            own = span.get_span_context()
            self.trace_id, self.span_id = trace.format_trace_id(own.trace_id), trace.format_span_id(own.span_id)
        self._searched = time.time()

    @property
    def asked_at(self) -> float:
        """Seconds since the epoch."""
        return self._began

    def add(self, delta: Delta) -> Numbered | None:
        """The piece that it makes, where it has text."""
        # An old worker does not number: its pieces are counted here.
        self.place = (delta.epoch, delta.seq) if delta.seq else (0, self.place[1] + 1)
        if not delta.chunk:
            return None
        self._first = self._first or time.time()
        self.text += delta.chunk
        return Numbered(self.place, Piece(delta.chunk))

    def end(self, final: Final | str) -> Numbered:
        """`final` in words: why the text stops short."""
        final = Final(error=final) if isinstance(final, str) else final
        epoch, seq = self.place
        # Words of our own may stand where a worker's next reply would have stood.
        place = (final.epoch, final.seq) if final.seq > seq else (epoch, seq + 1)
        return Numbered(place, self._answer(final))

    def _answer(self, final: Final) -> Answer:
        engine = final.engine or self.label
        found = checked(self.text, self.passages)
        self.claims = found.claims
        return Answer(
            answer=self.text,
            citations=tuple(map(self._placed, found.citations, found.supports)),
            freshness=self.freshness,
            engine=f"{engine} {final.model}" if final.model else engine,
            grounded=None if final.error else found.grounded,
            trace_id=self.trace_id,
            degraded=self.degraded,
            error=final.error,
            request=self.request,
            question=self.question if self.question != self.asked else None,
            timings=self.timings(),
        )

    def _placed(self, citation: Citation, support: float) -> Citation:
        hit = self.passages[citation.n - 1]
        return replace(citation, document=hit.document, passage=hit.text, support=support)

    def timings(self) -> Timings:
        def since(moment: float | None) -> int | None:
            return round((moment - self._began) * 1000) if moment else None

        return Timings(since(self._searched), since(self._first), since(time.time()))
