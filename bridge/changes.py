"""Changes of the index become known to whoever listens."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from bridge.service import Changed

Hear = Callable[[Changed], None]


class Changes:
    def __init__(self) -> None:
        self._listening: dict[object, Hear] = {}

    @property
    def heard_by(self) -> int:
        return len(self._listening)

    @contextmanager
    def hearing(self, hear: Hear) -> Generator[None]:
        place = object()  # one may listen twice
        self._listening[place] = hear
        try:
            yield
        finally:
            del self._listening[place]

    def tell(self, changed: Changed) -> None:
        for hear in tuple(self._listening.values()):
            hear(changed)
