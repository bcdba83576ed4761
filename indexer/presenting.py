"""Ranked chunks become hits (pure): neighbours of one file merge, and each passage is completed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from indexer.completing import PASSAGE_CHARS, Passage, completed
from indexer.hits import Hit
from indexer.records import Candidate, ChunkRow
from indexer.relevance import relevance

_MERGED = 3  # chunks in one hit at most
_WORTH_MERGING = 0.5  # of the group's best score


@dataclass(frozen=True, slots=True)
class Ranked:
    """`own`: what of the score is the chunk's own and not its document's. `parts`: what the score is made of.
    `also_in`: other files that have this passage."""

    score: float
    dense: float | None
    lexical: float | None
    candidate: Candidate
    own: float
    parts: Mapping[str, float]
    also_in: tuple[str, ...] = ()


Group = Sequence[Ranked]
"""Neighbouring chunks of one document, in reading order."""


def merged(ranked: Sequence[Ranked], limit: int) -> list[Group]:
    """Neighbouring chunks of one document become one group, at the rank of the better one."""
    groups: list[list[Ranked]] = []
    for one in ranked:
        group = next((group for group in groups if len(group) < _MERGED and _adjoins(group, one)), None)
        if group is not None:
            group.append(one)
            group.sort(key=lambda member: member.candidate.chunk.ordinal)
        elif len(groups) < limit:
            groups.append([one])
        else:
            break
    return list(groups)


def apart(ranked: Sequence[Ranked], limit: int) -> list[Group]:
    """Each chunk a group of its own, as `tandem eval` judges them."""
    return [[one] for one in ranked[:limit]]


def presented(
    groups: Sequence[Group], beside: Callable[[Group], tuple[ChunkRow | None, ChunkRow | None]], explain: bool
) -> list[Hit]:
    """A hit for each group. `beside`: the chunks before and after it. `explain`: with what the scores are made of."""
    return [
        _hit(group, _passage([one.candidate.chunk for one in group], partial(beside, group)), explain)
        for group in groups
    ]


def _passage(chunks: Sequence[ChunkRow], beside: Callable[[], tuple[ChunkRow | None, ChunkRow | None]]) -> Passage:
    is_long = chunks[-1].end - chunks[0].start >= PASSAGE_CHARS
    return completed(chunks, *((None, None) if is_long else beside()))


def _adjoins(group: Sequence[Ranked], one: Ranked) -> bool:
    """A neighbour that is worth reading by itself; a page stays a page, so that the citation is true."""
    first, last, here = group[0].candidate, group[-1].candidate, one.candidate
    return (
        here.document == first.document
        and here.chunk.page == first.chunk.page
        and here.chunk.ordinal in (first.chunk.ordinal - 1, last.chunk.ordinal + 1)
        and one.own >= _WORTH_MERGING * max(member.own for member in group)
    )


def _relevance(one: Ranked) -> float:
    if "exact" in one.parts:
        return 1.0
    return relevance(one.dense, one.parts.get("pairs", 0.0), one.parts.get("stretch", 0.0))


def _hit(group: Group, passage: Passage, explain: bool) -> Hit:
    best = max(group, key=lambda one: one.score)
    document = best.candidate
    return Hit(
        path=document.path,
        uri=Path(document.path).as_uri(),
        score=round(best.score, 6),
        text=passage.text,
        start_line=passage.start_line,
        end_line=passage.end_line,
        page=best.candidate.chunk.page,
        heading=best.candidate.chunk.heading,
        sha256=document.sha256,
        modified=datetime.fromtimestamp(document.mtime_ns / 1e9, UTC).isoformat(timespec="seconds"),
        dense_score=best.dense,
        lexical_score=best.lexical,
        relevance=round(_relevance(best), 3),
        document=str(document.document),
        also_in=tuple(dict.fromkeys(path for one in group for path in one.also_in)),
        scores={name: round(part, 6) for name, part in best.parts.items()} if explain else None,
        span=(group[0].candidate.chunk.start, group[-1].candidate.chunk.end),
    )
