"""Where the time goes: a look at the clock after each stage."""

import time

from indexer.hits import Explained


class Laps:
    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self.stages: dict[str, float] = {}  # milliseconds

    def lap(self, stage: str) -> None:
        """What has passed since the last lap was `stage`'s; a stage may come again."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now

    def explained(self) -> Explained:
        total = (self._last - self._began) * 1000
        return Explained({stage: round(took, 3) for stage, took in self.stages.items()}, round(total, 3))
