"""What a collector has not taken yet waits here, packed.

A span is some thirty objects and ten kilobytes of passages; two thousand of them in the heap make everything else that
the process does dearer. Packed they are a tenth of the size, in one object for each batch.
"""

import zlib
from collections import deque

import msgspec

from observability.annotations import Annotation

_QUICK = 1


class Letter(msgspec.Struct, frozen=True):
    """One request: `body` in OTLP; `annotations` follow once it is there."""

    body: bytes
    annotations: list[Annotation]


class Backlog:
    """Letters, the oldest first. `spans`: how many they tell of. One thread writes."""

    def __init__(self) -> None:
        self._packed: deque[tuple[int, bytes]] = deque()
        self.spans = 0

    def add(self, letter: Letter, spans: int) -> None:
        self._packed.append((spans, zlib.compress(msgspec.msgpack.encode(letter), _QUICK)))
        self.spans += spans

    def first(self) -> Letter:
        return msgspec.msgpack.decode(zlib.decompress(self._packed[0][1]), type=Letter)

    def drop_first(self) -> int:
        """The spans that it told of."""
        spans, _ = self._packed.popleft()
        self.spans -= spans
        return spans
