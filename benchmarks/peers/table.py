"""Rows become a page (pure): every system a line, then what was demanded and what came."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Column(NamedTuple):
    key: str
    heading: str
    digits: int
    more_is_better: bool = False


COLUMNS = (
    Column("index_s", "index: s", 0),
    Column("index_cpu_s", "CPU s", 0),
    Column("index_mb", "MB", 0),
    Column("ask_mb", "ask: MB", 0),
    Column("p50_ms", "p50 ms", 1),
    Column("p99_ms", "p99 ms", 1),
    Column("nDCG@10", "nDCG@10", 3, more_is_better=True),
    Column("cover@5", "cover@5", 3, more_is_better=True),
)
# Ours to the best of the peers, at most; of the last two we are to be ahead.
DEMANDS = {"index_cpu_s": 0.6, "index_mb": 1 / 3, "ask_mb": 1 / 3, "p50_ms": 1 / 3, "nDCG@10": 1, "cover@5": 1}


_READ = """In brackets: theirs to ours; **bold**: better than ours. Ours is the cost over HTTP, and the quality chunk by
chunk, as it is of the peers: over HTTP neighbouring chunks are one hit, of which 1 200 characters are looked at."""


def page(over_http: Row, in_process: Row, peers: Sequence[Row], about: Sequence[str]) -> str:
    ours = {**over_http, **{column.key: in_process[column.key] for column in COLUMNS if column.more_is_better}}
    heading = ["", "chunks", *(column.heading for column in COLUMNS)]
    lines = [_line(heading), _line(["---", *["---:"] * (len(heading) - 1)])]
    lines += [_line([row["name"], str(row["chunks"]), *_cells(row, None)]) for row in (over_http, in_process)]
    lines += [_line([row["name"], str(row.get("chunks", "")), *_cells(row, ours)]) for row in peers]
    measured = [row for row in peers if "failed" not in row]
    return "\n".join([*about, "", *lines, "", _READ, *(["", *_demanded(ours, measured)] if measured else [])])


def _cells(row: Row, ours: Row | None) -> list[str]:
    if "failed" in row:
        return [row["failed"], *[""] * (len(COLUMNS) - 1)]
    return [_cell(column, row, ours) for column in COLUMNS]


def _cell(column: Column, row: Row, ours: Row | None) -> str:
    value = row[column.key]
    shown = f"{value:.{column.digits}f}"
    if not ours or not (base := ours[column.key]):
        return shown
    told = f"{shown} ({value / base:.2f})"
    return f"**{told}**" if _better(column, value, base) else told


def _better(column: Column, value: float, than: float) -> bool:
    return value > than if column.more_is_better else value < than


def _demanded(ours: Row, peers: Sequence[Row]) -> list[str]:
    lines = [_line(["", "Tandem", "best of the peers", "ours to theirs", "demanded", ""]), _line(["---"] * 6)]
    for column in COLUMNS:
        if column.key not in DEMANDS:
            continue
        best = (max if column.more_is_better else min)(peers, key=lambda row: row[column.key])
        if not best[column.key]:  # such as cover@5 where no answers are known
            continue
        ratio, demand = ours[column.key] / best[column.key], DEMANDS[column.key]
        held = ratio > demand if column.more_is_better else ratio <= demand
        lines.append(
            _line(
                [
                    column.key,
                    f"{ours[column.key]:.{column.digits}f}",
                    f"{best[column.key]:.{column.digits}f} ({best['name']})",
                    f"{ratio:.2f}",
                    f"{'>' if column.more_is_better else '<='} {demand:.2f}",
                    "held" if held else "**missed**",
                ]
            )
        )
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
