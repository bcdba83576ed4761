"""A passage is completed (pure): whole sentences of what stands right before and after it, up to PASSAGE_CHARS.

Chunks are as long as the model reads well; a sentence too many costs a reader nothing, one too few costs the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.chunk import breaks
from indexer.records import ChunkRow

PASSAGE_CHARS = 1_200


@dataclass(frozen=True, slots=True)
class Passage:
    """`text`: the document's, from its first chunk to its last; lines count from 1, null where a format has none."""

    text: str
    start_line: int | None
    end_line: int | None


def completed(chunks: Sequence[ChunkRow], before: ChunkRow | None, after: ChunkRow | None) -> Passage:
    """`chunks`: neighbours in reading order; `before` and `after`: those on both sides. Nothing is taken from another
    page or section: what stands there is about something else, and would be cited wrongly."""
    first, last = chunks[0], chunks[-1]
    text = _joined(chunks)
    room = PASSAGE_CHARS - len(text)
    ahead = _ahead(before, first) if before and _belongs(before, first) else ""
    behind = _behind(after, last) if after and _belongs(after, last) else ""
    head = _end_of(ahead, max(room // 2, room - len(behind)))
    tail = _start_of(behind, room - len(head))
    head = _end_of(ahead, room - len(tail))
    return Passage(head + text + tail, _lines_up(first, before, head), _lines_down(last, after, tail))


def _joined(chunks: Sequence[ChunkRow]) -> str:
    return chunks[0].text + "".join(_behind(after, before) for before, after in pairwise(chunks))


def _belongs(neighbour: ChunkRow, chunk: ChunkRow) -> bool:
    return (neighbour.page, neighbour.heading, neighbour.context) == (chunk.page, chunk.heading, chunk.context)


def _ahead(before: ChunkRow, chunk: ChunkRow) -> str:
    return before.text[: chunk.start - before.start] if chunk.start < before.end else before.text + "\n"


def _behind(after: ChunkRow, chunk: ChunkRow) -> str:
    return after.text[chunk.end - after.start :] if after.start < chunk.end else "\n" + after.text


def _end_of(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    starts = (at for at in breaks(text) if len(text) - at <= room)
    return text[next(starts, len(text)) :]


def _start_of(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    ends = [at for at in breaks(text) if len(text[:at].rstrip()) <= room]
    return text[: ends[-1]].rstrip() if ends else ""


def _lines_up(first: ChunkRow, before: ChunkRow | None, head: str) -> int | None:
    if first.start_line is None or not head or not before:
        return first.start_line
    if first.start < before.end:
        return first.start_line - head.count("\n")
    return None if before.end_line is None else before.end_line + 1 - head.count("\n")


def _lines_down(last: ChunkRow, after: ChunkRow | None, tail: str) -> int | None:
    if last.end_line is None or not tail or not after:
        return last.end_line
    if after.start < last.end:
        return last.end_line + tail.count("\n")
    return None if after.start_line is None else after.start_line - 1 + tail.count("\n")
