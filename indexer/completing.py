"""A passage is completed (pure): whole sentences of what stands right before and after it, up to PASSAGE_CHARS.

Chunks are as long as the model reads well; a sentence too many costs a reader nothing, one too few costs the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from indexer.chunk import breaks
from indexer.parse.document import line_starts
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
    return Passage(
        head + text + tail,
        None if first.start_line is None else first.start_line - _lines(head),
        None if last.end_line is None else last.end_line + _lines(tail),
    )


def _joined(chunks: Sequence[ChunkRow]) -> str:
    return chunks[0].text + "".join(_behind(after, before) for before, after in pairwise(chunks))


def _belongs(neighbour: ChunkRow, chunk: ChunkRow) -> bool:
    return (neighbour.page, neighbour.heading, neighbour.context) == (chunk.page, chunk.heading, chunk.context)


def _ahead(before: ChunkRow, chunk: ChunkRow) -> str:
    if chunk.start < before.end:
        return before.text[: chunk.start - before.start]
    return before.text + _between(before, chunk)


def _behind(after: ChunkRow, chunk: ChunkRow) -> str:
    return after.text[chunk.end - after.start :] if after.start < chunk.end else _between(chunk, after) + after.text


def _between(before: ChunkRow, after: ChunkRow) -> str:
    """The blanks between two chunks, which neither keeps: their number and their line ends are known."""
    gap = after.start - before.end
    if before.end_line is None or after.start_line is None:
        return "\n" * min(gap, 2)
    beside = before.text + after.text
    end = next((end for end in ("\r\n", "\n", "\r") if end in beside), "\n")
    ends = end * (after.start_line - before.end_line)
    return ends + ("\t" if f"{end}\t" in beside else " ") * (gap - len(ends))


def _end_of(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    first = len(text) - room
    starts = (at for at in breaks(text.rstrip(), first, len(text)) if at >= first)
    return text[next(starts, len(text)) :]


def _start_of(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    bare = text.lstrip()
    gap = len(text) - len(bare)
    ends = [gap + at for at in breaks(bare, 0, room - gap) if len(text[: gap + at].rstrip()) <= room]
    return text[: ends[-1]].rstrip() if ends else ""


def _lines(text: str) -> int:
    return len(line_starts(text)) - 1
