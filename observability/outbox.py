"""Ended spans wait here until a collector has them.

Not the SDK's BatchSpanProcessor, for what it does when the collector is away: it loses the batch in hand at
once, counts nothing, repeats itself in the log, and makes the process wait 6 to 11 s at its end.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import httpx
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from observability.redaction import redacted
from observability.utf8 import in_utf8

logger = logging.getLogger("tandem.traces")

ROOM = 2_048  # spans that wait at most; the oldest goes first
BATCH = 128  # spans in one request: about a megabyte when each carries five passages
ANSWER_S = 5.0
LEAVE_S = 1.0  # what the end of the process may wait for the last spans; Python's own end takes half a second more
LONGEST_PAUSE_S = 30.0
WARN_AGAIN_S = 600.0  # a collector that comes and goes is not a flood of warnings

# The statuses after which OTLP/HTTP lets a client send the same batch again. Sent twice is kept once: Phoenix
# knows a span by its id.
AGAIN = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Address:
    """Where spans go. `remedy` ends the sentence that says they do not get there."""

    url: httpx.URL
    headers: Mapping[str, str]
    remedy: str = "start Phoenix there, or correct or unset PHOENIX_COLLECTOR_ENDPOINT"

    def __str__(self) -> str:
        """Fit to be shown: without a user's name, password or token."""
        return str(self.url.copy_with(userinfo=b"", query=None))


def address(endpoint: str, api_key: str | None = None, remedy: str | None = None) -> Address:
    """`endpoint` with or without the path /v1/traces. Raises ValueError where it is no URL or the key no header."""
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            f"PHOENIX_COLLECTOR_ENDPOINT must be a URL like http://127.0.0.1:6006, not {endpoint!r}: "
            "correct or unset it"
        )
    path = url.path.rstrip("/")
    url = url.copy_with(path=path if path.endswith("/v1/traces") else f"{path}/v1/traces")
    headers = {"content-type": "application/x-protobuf"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable() and api_key):
            raise ValueError("PHOENIX_API_KEY must be printable ASCII on one line: copy the key again, or unset it")
        headers["authorization"] = f"Bearer {api_key}"
    return Address(url, headers, remedy) if remedy else Address(url, headers)


@dataclass(frozen=True, slots=True)
class _Failure:
    what: str
    again: bool
    remedy: str | None = None


class Outbox(SpanProcessor):
    """Takes ended spans without ever waiting; one thread posts them. Spans wait while the address is unknown.

    `problem`: one sentence with the remedy while spans do not get through, else None.
    `dropped`: ended spans that will never arrive. `hide`: what no span may tell, of `redaction.HIDEABLE`.
    """

    def __init__(self, *, room: int = ROOM, every_s: float = 0.5, hide: Collection[str] = ()) -> None:
        self.problem: str | None = None
        self.dropped = 0
        self._room = room
        self._every_s = every_s
        self._hide = hide
        self._address: Address | None = None
        # SimpleQueue.put is reentrant: a span may end in a finalizer, in the middle of another span's end.
        # None is no span; it wakes the thread to see that we are leaving.
        self._waiting: SimpleQueue[ReadableSpan | None] = SimpleQueue()
        self._in_hand: list[ReadableSpan] = []
        self._counting = threading.RLock()
        self._addressed = threading.Event()
        self._leaving = threading.Event()
        self._warned_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="tandem-traces", daemon=True)
        self._thread.start()

    def send_to(self, where: Address) -> None:
        self._address = where
        self._addressed.set()

    def give_up(self, why: str) -> None:
        """Instead of `send_to`: `why` is the problem from now on, and spans are dropped."""
        self._leaving.set()
        self._addressed.set()
        self._lose(len(self._take(self._room)))
        self._warn(why)

    def on_end(self, span: ReadableSpan) -> None:
        if not (span.context and span.context.trace_flags.sampled):
            return
        if self._leaving.is_set():
            self._lose(1)
            return
        if self._waiting.qsize() >= self._room:
            with contextlib.suppress(Empty):
                self._waiting.get_nowait()
                self._lose(1)
        self._waiting.put(span)

    def shutdown(self) -> None:
        self.close()

    def close(self, limit_s: float = LEAVE_S) -> None:
        """Sends what waits, for `limit_s` at most; the rest counts as dropped."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        self._addressed.set()
        self._waiting.put(None)
        self._thread.join(limit_s)
        unsent = len(self._in_hand) + len(self._take(self._room))
        self._lose(unsent)
        if unsent and self._address and self.problem is None:
            self._warn(f"{unsent} spans were not sent: {self._address} took longer than {limit_s:g} s to answer")

    def _run(self) -> None:
        self._addressed.wait()
        if self._address is None:
            return
        try:
            client = _client(self._address)
        except (OSError, ValueError) as error:
            self.give_up(f"traces are off: {error}; correct SSL_CERT_FILE or the proxy settings; all else works on")
            return
        with client:
            going_on = True
            while going_on:
                try:
                    going_on = self._gather() and self._deliver(client, self._address)
                except Exception:
                    logger.exception("%d spans could not be sent", len(self._in_hand))
                    self._lose(len(self._in_hand))
                    self._in_hand = []

    def _gather(self) -> bool:
        """Takes a batch in hand, waiting for one; False when leaving and none is left."""
        first: list[ReadableSpan] = []
        if not self._leaving.is_set() and (span := self._waiting.get()) is not None:
            first = [span]
            if self._waiting.qsize() < BATCH:
                self._leaving.wait(self._every_s)  # the rest of its trace ends in a moment
        self._in_hand = first + self._take(BATCH - len(first))
        return bool(self._in_hand)

    def _take(self, most: int) -> list[ReadableSpan]:
        taken: list[ReadableSpan] = []
        with contextlib.suppress(Empty):
            while len(taken) < most:
                if (span := self._waiting.get_nowait()) is not None:
                    taken.append(span)
        return taken

    def _deliver(self, client: httpx.Client, where: Address) -> bool:
        """Posts the batch in hand, again and again where that can help; False when leaving without success."""
        pause_s = self._every_s
        while failure := _post(client, where, [redacted(span, self._hide) for span in self._in_hand]):
            leaving = self._leaving.is_set()
            remedy = failure.remedy or where.remedy
            self._warn(f"traces do not get through: {failure.what}; {remedy}; all else works on")
            if not failure.again:
                self._lose(len(self._in_hand))
                self._in_hand = []
                return not leaving
            if leaving:
                return False
            self._leaving.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._in_hand = []
        if self.problem is not None:
            self.problem = None
            logger.info("traces get through to %s again; %d spans were dropped", where, self.dropped)
        return True

    def _warn(self, problem: str) -> None:
        """Once for an outage: `problem` follows what is wrong now, the log has its beginning."""
        new, self.problem = self.problem is None, problem
        now = time.monotonic()
        if new and (self._warned_at is None or now - self._warned_at > WARN_AGAIN_S):
            self._warned_at = now
            logger.warning("%s", problem)

    def _lose(self, spans: int) -> None:
        with self._counting:
            self.dropped += spans


def _client(where: Address) -> httpx.Client:
    # A proxy set for the Internet must not get what is meant for this machine.
    here = where.url.host in ("127.0.0.1", "localhost", "::1")
    return httpx.Client(headers=where.headers, timeout=ANSWER_S, trust_env=not here)


def _post(client: httpx.Client, where: Address, spans: Sequence[ReadableSpan]) -> _Failure | None:
    body = encode_spans([in_utf8(span) for span in spans]).SerializeToString()
    try:
        answer = client.post(where.url, content=body)
    except httpx.TimeoutException:
        return _Failure(f"{where} did not answer within {ANSWER_S:g} s", again=True)
    except httpx.HTTPError as error:
        return _Failure(f"{where} cannot be reached ({error})", again=True)
    if answer.is_success:
        return None
    if answer.status_code in (401, 403):
        remedy = "set PHOENIX_API_KEY to a key made in Phoenix under Settings, API Keys"
        return _Failure(f"{where} refuses the key with {answer.status_code}", again=False, remedy=remedy)
    said = f"{where} answered {answer.status_code} {answer.reason_phrase}"
    return _Failure(f"{said}: its own log says why", again=answer.status_code in AGAIN)
