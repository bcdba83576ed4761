"""Server-sent events: bytes for each event, and events out of bytes.

Framing only, and pure: payloads are JSON text without line breaks, made and read elsewhere.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = b":\n\n"
END = "[DONE]"


def event(data: bytes, event_id: str | None = None) -> bytes:
    """One event. `data` is one line (JSON as msgspec writes it has no line break)."""
    name = f"id: {event_id}\n".encode() if event_id is not None else b""
    return b"%bdata: %b\n\n" % (name, data)


DONE = event(END.encode())


@dataclass(frozen=True, slots=True)
class Event:
    """`event_id` is the last one named on the stream so far, as browsers have it."""

    data: str
    event_id: str | None = None


class Decoder:
    """Events out of a byte stream cut anywhere. A last event without a blank line is dropped.

    Lines end in LF, CRLF or CR and nothing else: str.splitlines would also cut at U+2028, which JSON leaves
    as it is.
    """

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._rest = ""
        self._data: list[str] = []
        self._event_id: str | None = None

    def feed(self, received: bytes) -> Iterator[Event]:
        for line in self._lines(self._text.decode(received)):
            if line:
                self._take(line)
            elif self._data:
                yield Event("\n".join(self._data), self._event_id)
                self._data.clear()

    def _lines(self, text: str) -> Iterator[str]:
        text = self._rest + text
        # A CR at the very end may be the first half of a CRLF: it waits for what comes next.
        held = "\r" if text.endswith("\r") else ""
        *whole, last = text.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = last + held
        yield from whole

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "id" and "\0" not in value:
            self._event_id = value
