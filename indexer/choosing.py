"""Filters become the documents that a search looks at."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio.to_thread

from indexer.catalog import Catalog
from indexer.filters import Filters, moment, passing

_KEPT = 8


@dataclass(slots=True)
class Choices:
    """What filters came to, until the catalog changes: each letter of a query searches anew, in the same files."""

    _version: int = -1
    _kept: dict[Filters, tuple[int, list[int]]] = field(default_factory=dict[Filters, tuple[int, list[int]]])

    async def documents(self, catalog: Catalog, filters: Filters) -> Sequence[int]:
        """By id. Raises BadFilter."""
        now = time.time()
        since = 0 if filters.since is None else moment(filters.since, now)
        if self._version != (version := catalog.version()):
            self._version = version
            self._kept.clear()
        kept = self._kept.pop(filters, None)
        if not kept or kept[0] != since:
            roots = catalog.roots()
            # 100 000 paths take a quarter of a second: not on the loop.
            chosen = await anyio.to_thread.run_sync(lambda: passing(catalog.files(), roots, filters, now))
            kept = (since, chosen)
        if self._version == version:
            self._kept[filters] = kept
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return kept[1]
