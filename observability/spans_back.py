"""What Phoenix tells becomes spans, scores, datasets and experiments again (pure).

What is of another shape ends in LookupError, TypeError, ValueError or AttributeError.
"""

# What comes is JSON of another program, a tree of Any.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from observability.datasets import Dataset, Example, Experiment


@dataclass(frozen=True, slots=True)
class Span:
    """`attributes`: flat names; lists of plain values are tuples. `started`: ISO 8601."""

    id: str
    trace: str
    parent: str | None
    name: str
    kind: str
    status: str
    started: str
    attributes: Mapping[str, Any]


def gathered(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Phoenix tells a list as `name.0`, `name.1`: here it is a tuple again. An empty one it does not tell at all."""
    lists: dict[str, dict[int, Any]] = {}
    others: dict[str, Any] = {}
    for key, value in flat.items():
        name, _, n = key.rpartition(".")
        if name and n.isdecimal():
            lists.setdefault(name, {})[int(n)] = value
        else:
            others[key] = value
    return others | {name: tuple(values[n] for n in sorted(values)) for name, values in lists.items()}


def span_back(row: Mapping[str, Any]) -> Span:
    """`row`: of GET /v1/projects/{name}/spans."""
    return Span(
        id=row["context"]["span_id"],
        trace=row["context"]["trace_id"],
        parent=row["parent_id"],
        name=row["name"],
        kind=row["span_kind"],
        status=row["status_code"],
        started=row["start_time"],
        attributes=gathered(row["attributes"]),
    )


def page_back(said: Any) -> tuple[list[Span], str | None]:
    """A page of spans, and where the next one begins."""
    return [span_back(row) for row in said["data"]], said.get("next_cursor")


def ratings_back(said: Any) -> list[tuple[str, float]]:
    """(trace, score), as they come."""
    scores = [(row["trace_id"], (row["result"] or {}).get("score")) for row in said["data"]]
    return [(trace, score) for trace, score in scores if score is not None]


def datasets_back(said: Any) -> list[Dataset]:
    return [Dataset(row["id"], row["name"]) for row in said["data"]]


def examples_back(said: Any) -> tuple[str, list[Example]]:
    """The dataset's version, and what it holds."""
    rows = said["data"]["examples"]
    return said["data"]["version_id"], [
        Example(row["id"], row["input"], row["output"], row["metadata"], id=row["node_id"]) for row in rows
    ]


def experiments_back(said: Any) -> list[Experiment]:
    return [Experiment(row["id"], row["name"], row["metadata"], row["successful_run_count"]) for row in said["data"]]


def scores_back(said: Any) -> dict[str, dict[str, float]]:
    """measure -> example's id -> score."""
    found: dict[str, dict[str, float]] = {}
    for row in said:
        for one in row["annotations"]:
            if one["score"] is not None:
                found.setdefault(one["name"], {})[row["example_id"]] = one["score"]
    return found
