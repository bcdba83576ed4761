"""`tandem mcp`: stdin and stdout joined to the daemon's socket, line by line.

    client --stdin--> up   --socket--> daemon
    client <-stdout-- down <-socket--- daemon

Only the standard library: it is up in some 20 ms and holds 12 MB, once for each client. It starts the daemon
where none runs and outlives it. A daemon that went away is started again by the next request, or at once where
requests wait: they are sent once more behind the handshake and the subscriptions, and the client sees nothing of it
but time. A request on which two daemons ended is answered with an error. stdout carries JSON-RPC only, whatever
happens.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from bridge.dial import CannotStart, connect, let_die, peer
from bridge.subscribed import ACKNOWLEDGED, Subscribed, key, stream_of

TYPE_CHECKING = False
if TYPE_CHECKING:  # its import would cost each relay 4 ms of its start
    from typing import Any, NoReturn

MAX_LINE = 64 << 20
# Hosts cut a tool call at about a minute; nobody waits longer for what was under way at stdin's end.
LAST_REPLIES_S = 60.0
CLOSE_S = 5.0
GRACE_S = 5.0

PARSE_ERROR, INVALID_REQUEST, SERVER_ERROR = -32700, -32600, -32000
NO_REQUEST = "expected one JSON-RPC 2.0 object (no batch) whose id, if any, is a string or an integer"
_AGAIN = "tandem-handshake-again"


class Lines:
    """Lines (without their LF) out of pieces cut anywhere; None stands for one longer than `limit` bytes."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes | None]:
        *ended, rest = piece.split(b"\n")
        lines: list[bytes | None] = []
        for part in ended:
            self._add(part)
            lines.append(self.rest())
        self._add(rest)
        return lines

    def rest(self) -> bytes | None:
        """What stands after the last LF; it is forgotten here."""
        line = None if self._size > self._limit else b"".join(self._parts)
        self._parts, self._size = [], 0
        return line

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            self._parts = []
        elif part:
            self._parts.append(part)


def is_id(value: Any) -> bool:
    """Whether a request may have this id: an integer, or a string, half a surrogate pair being no character."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, int) and not isinstance(value, bool)


def no_message(error: ValueError | RecursionError) -> str:
    """What `decode` and `json.loads` have against a line, in words for its writer."""
    match error:
        case UnicodeDecodeError():
            came = f"byte {error.start} is not UTF-8"
        case json.JSONDecodeError():
            came = str(error)
        case RecursionError():
            came = "it is nested too deeply"
        case _:
            came = "a number in it has too many digits"
    return f"expected one JSON-RPC message a line: {came}"


def relay(socket_path: str, start_daemon: Sequence[str], log_path: str | None = None, grace_s: float = GRACE_S) -> None:
    """Serves until stdin ends, then returns; exits with 1 where the client closes stdout before that.

    `start_daemon` is the command that makes a daemon listen at `socket_path`; `log_path` takes its output
    (default: the socket's path with .log behind it). Owns the process: its signals, stdin and stdout.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for fd in (0, 1):
        # A client may have left a descriptor that it shares with us non-blocking.
        with suppress(OSError):
            os.set_blocking(fd, True)
    log_path = log_path or socket_path + ".log"
    _Relay(socket_path, log_path, partial(connect, socket_path, start_daemon, log_path, say=say, grace_s=grace_s)).run()


class _Request:
    __slots__ = ("id", "line", "progress", "progress_before", "sent", "token")

    def __init__(self, message: dict[str, Any], line: bytes) -> None:
        meta = _object(_object(message.get("params")).get("_meta"))
        self.id = message["id"]
        self.line = line
        self.token = meta.get("progressToken")
        self.sent = 0
        self.progress = self.progress_before = 0.0


class _Relay:
    """`_sending` orders what goes to the daemon; `_changed` guards `_pending`, `_subscribed` and `_ended`. Taken in
    this order."""

    def __init__(self, socket_path: str, log_path: str, connect: Callable[..., socket.socket | None]) -> None:
        self._socket_path = socket_path
        self._log_path = log_path
        self._connect_or_start = connect
        self._pending: dict[str, _Request] = {}
        self._initialize: dict[str, Any] | None = None
        self._initialized: bytes | None = None
        self._subscribed = Subscribed()
        self._connection: socket.socket | None = None
        self._gone: int | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._writing = threading.Lock()

    def run(self) -> None:
        threading.Thread(target=self._up, daemon=True).start()
        wanted = True  # The first daemon is started ahead of the first request.
        while wanted:
            try:
                connection = self._connect()
            except CannotStart as error:
                say(str(error))
                self._refuse(lambda request: True, f"{error}; once that is put right, try again")
            else:
                if connection:
                    self._join(connection)
                    self._down(connection)
                    self._part(connection)
            wanted = self._wait_for_work()

    # up: client to daemon

    def _up(self) -> None:
        for line in _lines_of(lambda: os.read(0, 1 << 16), MAX_LINE):
            self._take(line)
        self._end()

    def _take(self, line: bytes | None) -> None:
        if line is None:
            return self._put(_error(None, INVALID_REQUEST, f"expected a line of at most {MAX_LINE} bytes"))
        if not line.strip():
            return None
        try:
            message = _object(json.loads(line.decode()))
        except (ValueError, RecursionError) as error:
            return self._put(_error(None, PARSE_ERROR, no_message(error)))
        if not message or not is_id(message.get("id", 0)):
            return self._put(_error(None, INVALID_REQUEST, NO_REQUEST))
        with self._sending:
            request = self._note(message, line + b"\n")
            if self._connection and _sent(self._connection, line + b"\n") and request:
                request.sent += 1
        return None

    def _note(self, message: dict[str, Any], line: bytes) -> _Request | None:
        method = message.get("method")
        if method == "initialize" and "id" in message:
            self._initialize, self._initialized = message, None
        elif method == "notifications/initialized":
            self._initialized = line
        with self._changed:
            if method == "notifications/cancelled":
                # A cancelled request is never answered.
                cancelled = _object(message.get("params")).get("requestId")
                self._pending.pop(key(cancelled), None)
                self._subscribed.end(cancelled)
            if method is None or "id" not in message:
                return None
            self._subscribed.ask(message)
            request = self._pending[key(message["id"])] = _Request(message, line)
            self._changed.notify_all()
            return request

    def _end(self) -> None:
        """The daemon cancels what is under way when its client hangs up: so the last replies come first."""
        give_up = time.monotonic() + LAST_REPLIES_S
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            while not self._changed.wait_for(lambda: not self._pending, 0.5):
                if time.monotonic() > give_up or _nobody_reads(1):
                    self._pending.clear()
            self._changed.notify_all()
        with self._sending:
            connection = self._connection
            if connection:
                _shut(connection, socket.SHUT_WR)
        if connection:
            time.sleep(CLOSE_S)  # The process ends under this sleep, unless the daemon hangs.
            _shut(connection, socket.SHUT_RDWR)

    # down: daemon to client

    def _down(self, connection: socket.socket) -> None:
        for line in _lines_of(lambda: connection.recv(1 << 16), sys.maxsize):
            try:
                message = _object(json.loads(line or b""))
            except (ValueError, RecursionError):
                message = {}
            if not message:
                say("the daemon wrote a line that is no JSON-RPC message; it is left out")
                continue
            heard = self._hear(message, line or b"")
            if heard:
                self._put(heard + b"\n")

    def _hear(self, message: dict[str, Any], line: bytes) -> bytes | None:
        if message.get("method") == "notifications/progress":
            return self._rising(message, line)
        with self._changed:
            news = self._subscribed.news(message)
            if message.get("method") == ACKNOWLEDGED:
                # As long as it lasts it is never answered, so nobody waits for that.
                self._pending.pop(key(stream_of(message)), None)
                self._changed.notify_all()
        if news is not None:
            return b"\n".join(json.dumps(one).encode() for one in news)
        if "method" in message:
            return line
        if message.get("id") == _AGAIN:
            if "error" in message:
                say(f"the new daemon refused the handshake: {message['error']}")
            return None
        with self._changed:
            self._pending.pop(key(message.get("id")), None)
            self._subscribed.answer(message)
            self._changed.notify_all()
        return line

    def _rising(self, message: dict[str, Any], line: bytes) -> bytes:
        """A new daemon counts from the start again; for the client progress only ever rises."""
        params = _object(message.get("params"))
        token = params.get("progressToken")
        with self._changed:
            request = next((one for one in self._pending.values() if one.token == token), None)
        if request is None or token is None or not isinstance(params.get("progress"), int | float):
            return line
        request.progress = request.progress_before + params["progress"]
        if not request.progress_before:
            return line
        params["progress"] = request.progress
        if isinstance(params.get("total"), int | float):
            params["total"] += request.progress_before
        return json.dumps(message).encode()

    def _put(self, line: bytes) -> None:
        view = memoryview(line)
        with self._writing:
            try:
                while view:
                    view = view[os.write(1, view) :]
            except OSError as error:
                self._quit(f"the client no longer reads our stdout ({error.strerror})")

    def _quit(self, reason: str) -> NoReturn:
        say(reason)
        # Both threads may stand in a system call: nothing but the process's end stops them.
        os._exit(0 if self._ended else 1)

    # daemons come and go

    def _connect(self) -> socket.socket | None:
        if self._gone is not None:
            let_die(self._socket_path, self._gone)
        return self._connect_or_start(wanted=lambda: not self._is_over())

    def _join(self, connection: socket.socket) -> None:
        self._gone = peer(connection)
        with self._sending:
            self._connection = connection
            with self._changed:
                requests = list(self._pending.values())
            for line in self._handshake():
                _sent(connection, line)
            for request in requests:
                _sent(connection, request.line)
                request.sent += 1
            if self._is_over():
                _shut(connection, socket.SHUT_WR)

    def _handshake(self) -> Iterator[bytes]:
        """What opened the session, once it was answered, under an id that the client never uses, and what it
        subscribed to."""
        if self._initialize and key(self._initialize["id"]) not in self._pending:
            yield json.dumps({**self._initialize, "id": _AGAIN}).encode() + b"\n"
            if self._initialized:
                yield self._initialized
        with self._changed:
            subscriptions = list(self._subscribed.again())
        for one in subscriptions:
            yield json.dumps(one).encode() + b"\n"

    def _part(self, connection: socket.socket) -> None:
        _shut(connection, socket.SHUT_RDWR)
        with self._sending:
            self._connection = None
            connection.close()
        if self._is_over():
            return
        say("the daemon went away")
        with self._changed:
            for request in self._pending.values():
                request.progress_before = request.progress
        reason = (
            f"the daemon ended twice on this request: try again, and if it happens again see its log: {self._log_path}"
        )
        self._refuse(lambda request: request.sent >= 2, reason)

    def _refuse(self, refused: Callable[[_Request], bool], reason: str) -> None:
        with self._changed:
            requests = {key: one for key, one in self._pending.items() if refused(one)}
            for key in requests:
                del self._pending[key]
            self._changed.notify_all()
        for request in requests.values():
            self._put(_error(request.id, SERVER_ERROR, reason))

    def _wait_for_work(self) -> bool:
        """True once a request waits for a daemon, False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._pending)
            return bool(self._pending)

    def _is_over(self) -> bool:
        with self._changed:
            return self._ended and not self._pending


def _lines_of(read: Callable[[], bytes], limit: int) -> Iterator[bytes | None]:
    """A broken end is an end. What a peer that ended left without a LF counts as a line."""
    lines = Lines(limit)
    with suppress(OSError):
        while piece := read():
            yield from lines.feed(piece)
    rest = lines.rest()
    if rest:
        yield rest


def _sent(connection: socket.socket, line: bytes) -> bool:
    try:
        connection.sendall(line)
    except OSError:
        return False  # `_down` sees the same end and sends again.
    return True


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):
        connection.shutdown(how)


def _nobody_reads(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _error(request_id: Any, code: int, message: str) -> bytes:
    error = {"code": code, "message": message}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode() + b"\n"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def say(text: str) -> None:
    with suppress(OSError):
        os.write(2, f"tandem mcp: {text}\n".encode(errors="replace"))
