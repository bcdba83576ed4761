"""Ended spans wait here until a collector has them; what is measured of them follows as annotations.

Not the SDK's BatchSpanProcessor, for what it does when the collector is away: it loses the batch in hand at
once, counts nothing, repeats itself in the log, and makes the process wait 6 to 11 s at its end.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

import httpx
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import format_span_id

from observability.annotations import Annotation
from observability.annotator import Annotator
from observability.arriving import arrived
from observability.backlog import Backlog, Letter
from observability.collector import Address, client_for, posted
from observability.evaluating import evaluated
from observability.redaction import redacted, unworded
from observability.traces import Asked
from observability.unfolding import unfolded
from observability.utf8 import in_utf8

logger = logging.getLogger("tandem.traces")

ROOM = 2_048  # spans that wait at most; the oldest goes first
_PACKED = 0.75  # of them at most; the rest is for those that end while the collector is asked
BATCH = 128  # spans in one request: about a megabyte when each carries five passages
PARCELS = 128  # of other machines, not opened yet; eight megabytes at most
LEAVE_S = 1.0  # what the end of the process may wait for the last spans; Python's own end takes half a second more
LONGEST_PAUSE_S = 30.0
WARN_AGAIN_S = 600.0  # a collector that comes and goes is not a flood of warnings

_ELSE = "all else works on"


class Outbox(SpanProcessor):
    """Takes ended spans without ever waiting; one thread posts them. Spans wait while the address is unknown.

    `problem`: one sentence with the remedy while spans, or what is said of them, do not get through, else None.
    `dropped`: ended spans that will never arrive; `refused`: what others told as spans and was not taken. `hide`: what
    no span may tell, of `redaction.HIDEABLE`.
    """

    def __init__(self, *, room: int = ROOM, every_s: float = 0.5, hide: Collection[str] = ()) -> None:
        self._problem: str | None = None
        self.dropped = self.refused = 0
        self._room = room
        self._every_s = every_s
        self._hide = hide
        self._address: Address | None = None
        # SimpleQueue.put is reentrant: a span may end in a finalizer, in the middle of another span's end.
        # None is no span; it wakes the thread to see that we are leaving, or that something was said of a trace.
        self._waiting: SimpleQueue[ReadableSpan | None] = SimpleQueue()
        self._parcels: SimpleQueue[tuple[bytes, Asked]] = SimpleQueue()
        self._backlog = Backlog()
        self._again_at, self._pause_s = 0.0, every_s
        self._annotator = Annotator()
        self._counting = threading.RLock()
        self._addressed = threading.Event()
        self._leaving = threading.Event()
        self._given_up = False
        self._warned_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="tandem-traces", daemon=True)
        self._thread.start()

    def send_to(self, where: Address) -> None:
        """Again where the collector has moved: its key stays."""
        self._address = where
        self._addressed.set()

    def give_up(self, why: str) -> None:
        """Instead of `send_to`, or after it: `why` is the problem from now on, and spans are dropped."""
        self._given_up = True
        self._leaving.set()
        self._addressed.set()
        self._lose(len(self._take(self._room)) + self._parcels.qsize())
        self._parcels = SimpleQueue()
        self._waiting.put(None)
        self._warn(why)

    @property
    def problem(self) -> str | None:
        return self._problem or self._annotator.problem

    @property
    def shown_at(self) -> str | None:
        where = self._address
        return str(where).removesuffix("/v1/traces") if where and self._annotator.is_phoenix else None

    @property
    def annotations_problem(self) -> str | None:
        if self._annotator.is_phoenix:
            return self.problem
        return (
            f"{self._address} takes traces and is no Phoenix, which alone keeps what is said of them; use "
            "`tandem up --phoenix`, or set PHOENIX_COLLECTOR_ENDPOINT to a Phoenix"
        )

    def annotate(self, annotation: Annotation) -> None:
        """What a person says, of a trace that is on its way or there."""
        self._annotator.add([unworded(annotation, self._hide)])
        self._waiting.put(None)

    def arrived(self, data: bytes, asked: Asked) -> None:
        """What another machine tells of a job of ours; it is looked at by the thread that posts."""
        if self._leaving.is_set() or self._parcels.qsize() >= PARCELS:
            self._lose(1)
            return
        self._parcels.put((data, asked))
        self._waiting.put(None)

    def on_end(self, span: ReadableSpan) -> None:
        if not (span.context and span.context.trace_flags.sampled):
            return
        if self._leaving.is_set():
            self._lose(1)
            return
        if self._waiting.qsize() + self._backlog.spans >= self._room:
            with contextlib.suppress(Empty):
                self._waiting.get_nowait()
                self._lose(1)
        self._waiting.put(span)

    def shutdown(self) -> None:
        self.close()

    def close(self, limit_s: float = LEAVE_S) -> None:
        """Sends what waits, for `limit_s` at most; the rest counts as dropped."""
        if self._given_up:
            return self._thread.join(limit_s)
        if self._leaving.is_set():
            return None
        self._leaving.set()
        self._addressed.set()
        self._waiting.put(None)
        self._thread.join(limit_s)
        unsent = self._backlog.spans + len(self._take(self._room)) + self._parcels.qsize()
        self._lose(unsent)
        if unsent and self._address and self._problem is None:
            self._warn(f"{unsent} spans were not sent: {self._address} took longer than {limit_s:g} s to answer")
        return None

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # Linux: `top -H` and benchmarks/tracing.py tell it from the request path
            Path("/proc/thread-self/comm").write_text(self._thread.name)
        self._addressed.wait()
        if self._address is None:
            return
        try:
            client = client_for(self._address)
        except (OSError, ValueError) as error:
            self.give_up(f"traces are off: {error}; correct SSL_CERT_FILE or the proxy settings; {_ELSE}")
            return
        with client:
            going_on = True
            while going_on:
                try:
                    going_on = self._gather() and self._deliver(client)
                    if not self._backlog.spans:
                        self._annotate(client)
                except Exception:
                    logger.exception("what is told of traces could not be sent")
                    self._lose(self._backlog.drop_first() if self._backlog.spans else 0)
        while self._given_up and self._backlog.spans:
            self._lose(self._backlog.drop_first())

    def _where(self) -> Address:
        assert self._address
        return self._address

    def _gather(self) -> bool:
        """Packs what waits: once something does, or the collector is to be asked again. False when leaving and
        nothing is left."""
        first: list[ReadableSpan] = []
        if self._backlog.spans:
            self._leaving.wait(min(self._every_s, max(0.0, self._again_at - time.monotonic())))
        elif not self._leaving.is_set() and (span := self._waiting.get()) is not None:
            first = [span]
            if self._waiting.qsize() < BATCH:
                self._leaving.wait(self._every_s)  # the rest of its trace ends in a moment
        self._open_parcels()
        while spans := first + self._take(BATCH - len(first)):
            first = []
            self._pack(spans)
        while self._backlog.spans > max(BATCH, _PACKED * self._room):
            self._lose(self._backlog.drop_first())
        return bool(self._backlog.spans) or not self._leaving.is_set()

    def _take(self, most: int) -> list[ReadableSpan]:
        taken: list[ReadableSpan] = []
        with contextlib.suppress(Empty):
            while len(taken) < most:
                if (span := self._waiting.get_nowait()) is not None:
                    taken.append(span)
        return taken

    def _pack(self, spans: Sequence[ReadableSpan]) -> None:
        try:
            told = [in_utf8(redacted(unfolded(span), self._hide)) for span in spans]
            said = [one for span in spans for one in _measured(span)]
            self._backlog.add(Letter(encode_spans(told).SerializeToString(), said), len(spans))
        except Exception:
            logger.exception("%d spans could not be sent", len(spans))
            self._lose(len(spans))

    def _open_parcels(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._open(*self._parcels.get_nowait())

    def _open(self, data: bytes, asked: Asked) -> None:
        try:
            spans, refused = arrived(data, asked)
            if spans:
                # Nothing is measured of them: only what this machine saw is.
                told = encode_spans([redacted(span, self._hide) for span in spans])
                self._backlog.add(Letter(told.SerializeToString(), []), len(spans))
        except Exception:
            logger.exception("what a worker told of a job could not be read")
            refused = 1
        self.refused += refused

    def _deliver(self, client: httpx.Client) -> bool:
        """Posts what is packed, once it is time to ask again; False when leaving without success."""
        while self._backlog.spans:
            leaving = self._leaving.is_set()
            if time.monotonic() < self._again_at and not leaving:
                return True
            letter, where = self._backlog.first(), self._where()
            if failure := posted(client, where, letter.body):
                if self._given_up:
                    return False
                self._warn(f"traces do not get through: {failure.what}; {failure.remedy or where.remedy}; {_ELSE}")
                if not failure.again:
                    self._lose(self._backlog.drop_first())
                    return not leaving
                self._again_at = time.monotonic() + self._pause_s
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
                return not leaving
            self._backlog.drop_first()
            self._again_at, self._pause_s = 0.0, self._every_s
            self._annotator.add(letter.annotations)
            if self._problem is not None:
                self._problem = None
                logger.info("traces get through to %s again; %d spans were dropped", where, self.dropped)
        return True

    def _annotate(self, client: httpx.Client) -> None:
        before = self._annotator.problem
        self._annotator.post(client, self._where().url)
        if self._annotator.problem and not before:
            self._log(self._annotator.problem)

    def _warn(self, problem: str) -> None:
        """Once for an outage: `problem` follows what is wrong now, the log has its beginning."""
        new, self._problem = self._problem is None, problem
        if new:
            self._log(problem)

    def _log(self, problem: str) -> None:
        now = time.monotonic()
        if self._warned_at is None or now - self._warned_at > WARN_AGAIN_S:
            self._warned_at = now
            logger.warning("%s", problem)

    def _lose(self, spans: int) -> None:
        with self._counting:
            self.dropped += spans


def _measured(span: ReadableSpan) -> Sequence[Annotation]:
    return evaluated(format_span_id(span.context.span_id), span.attributes or {}) if span.context else ()
