"""What Phoenix keeps of questions: a dataset has examples, each with what is known of its answer, and an experiment has
a run of each, with what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dataset:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Example:
    """`key`: the same one again is the same example. `span`: the one it was made of."""

    key: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    metadata: Mapping[str, Any]
    span: str | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    id: str
    name: str
    metadata: Mapping[str, Any]
    runs: int


@dataclass(frozen=True, slots=True)
class Run:
    """Of one example: times are ISO 8601; measure -> (score, what it says), where none could be had with None."""

    example: str
    output: Mapping[str, Any] | None
    started: str
    ended: str
    scores: Mapping[str, tuple[float | None, str]]
    error: str | None = None
    trace: str | None = None
