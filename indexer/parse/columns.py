"""Two columns whose lines come across both are read one column after the other, where it is certain that they are two.

Most programs write a page's columns one by one, and PDFium gives text as it was written. What looks like columns may be
a table: so lines must fill both sides, as prose does.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Box = tuple[float, float, float, float]
"""Left, bottom, right, top in points; up is larger."""

_LEAST_LINES = 8
_LEAST_WIDTH = 120.0
_LEAST_LENGTH = 60.0
_LEAST_GAP = 8.0
_STEP = 2
# So much of a column's width may be missing at the end of a full line.
_RAGGED = 0.2
_FULL_LINES = 0.6
_MOST_BOXES = 5_000


@dataclass(slots=True)
class _Line:
    left: float
    bottom: float
    right: float
    top: float


def reading_order(boxes: Sequence[Box]) -> list[Box]:
    """Areas of a page in the order in which they are to be read; none where its own order is to be trusted.

    Args:
        boxes: of its pieces of text, as they were written.
    """
    if len(boxes) > _MOST_BOXES or not may_cross(boxes):
        return []
    gap = _gap(boxes)
    if gap is None:
        return []
    sides = [_side(box, gap) for box in boxes]
    left, right = (_lines([box for box, at in zip(boxes, sides, strict=True) if at == side]) for side in (-1, 1))
    switches = sum(a * b < 0 for a, b in pairwise(sides))
    if min(len(left), len(right)) < _LEAST_LINES or switches < min(len(left), len(right)):
        return []
    if not (_is_prose(left) and _is_prose(right)):
        return []
    return _areas(boxes, sides, gap)


def may_cross(boxes: Sequence[Box]) -> bool:
    """Whether lines of two columns may come one after the other: every third box at least has another beside it, and
    they are longer than a table's cells."""
    beside = sum(_goes_on(*pair) for pair in pairwise(boxes))
    wide = sum(box[2] - box[0] for box in boxes) >= _LEAST_LENGTH * len(boxes)
    return wide and len(boxes) >= 2 * _LEAST_LINES and 3 * beside >= len(boxes)


def _goes_on(box: Box, after: Box) -> bool:
    """Whether what follows stands in the same line with room between."""
    return after[0] - box[2] >= _LEAST_GAP and after[1] < box[3] and box[1] < after[3]


def _gap(boxes: Sequence[Box]) -> float | None:
    """Where the fewest boxes are crossed, the middle of the widest such place; none if many are."""
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    first, last = int(left + 0.3 * (right - left)), int(left + 0.7 * (right - left))
    lefts, rights = sorted(box[0] for box in boxes), sorted(box[2] for box in boxes)
    crossed = [bisect_right(lefts, x) - bisect_right(rights, x) for x in range(first, last + 1, _STEP)]
    least = min(crossed, default=len(boxes))
    if least * 4 > len(boxes):
        return None
    best, start = (0, 0), None
    for at, count in enumerate([*crossed, least + 1]):
        if count == least:
            start = at if start is None else start
        elif start is not None:
            best = max(best, (at - start, start))
            start = None
    return first + _STEP * (best[1] + best[0] / 2) if _STEP * best[0] >= _LEAST_GAP else None


def _side(box: Box, gap: float) -> int:
    return -1 if box[2] <= gap else 1 if box[0] >= gap else 0


def _lines(boxes: Sequence[Box]) -> list[_Line]:
    lines: list[_Line] = []
    for box in boxes:
        middle = (box[1] + box[3]) / 2
        if lines and lines[-1].bottom <= middle <= lines[-1].top:
            lines[-1].left, lines[-1].right = min(lines[-1].left, box[0]), max(lines[-1].right, box[2])
        else:
            lines.append(_Line(*box))
    return lines


def _is_prose(lines: Sequence[_Line]) -> bool:
    left, right = min(line.left for line in lines), max(line.right for line in lines)
    width = right - left
    full = sum(line.right - line.left >= (1 - _RAGGED) * width for line in lines)
    return width >= _LEAST_WIDTH and full >= _FULL_LINES * len(lines)


def _areas(boxes: Sequence[Box], sides: Sequence[int], gap: float) -> list[Box]:
    """What goes across parts the page into bands; in each the left column comes first."""
    far = 1e5
    across = _lines(sorted((box for box, side in zip(boxes, sides, strict=True) if not side), key=lambda box: -box[3]))
    areas: list[Box] = []
    top = far
    for line in across:
        areas += [(-far, line.top, gap, top), (gap, line.top, far, top), (-far, line.bottom, far, line.top)]
        top = line.bottom
    return [*areas, (-far, -far, gap, top), (gap, -far, far, top)]
