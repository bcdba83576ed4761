"""Figures become Prometheus's text (format 0.0.4); pure."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


class Histogram:
    """How many values are at most each of `bounds`, which rise."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        so_far = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            so_far += count
            yield _line(f"{name}_bucket", {**labels, "le": _number(bound)}, so_far)
        yield _line(f"{name}_sum", labels, self._sum)
        yield _line(f"{name}_count", labels, so_far)


def family(name: str, help_: str, samples: Sequence[Sample], kind: str = "gauge") -> list[str]:
    """Its lines; none where there is no sample."""
    return [*_head(name, help_, kind), *(_line(name, *sample) for sample in samples)] if samples else []


def histograms(name: str, help_: str, of: Sequence[tuple[Labels, Histogram]]) -> list[str]:
    lines = [line for labels, histogram in of for line in histogram.lines(name, labels)]
    return [*_head(name, help_, "histogram"), *lines] if lines else []


def _head(name: str, help_: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {help_}", f"# TYPE {name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    told = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{name}{f'{{{told}}}' if told else ''} {_number(value)}"


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else f"{value:.15g}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
