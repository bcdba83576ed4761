"""A query becomes hits, whoever asks; what keeps them from being all there is, is said."""

import time
from dataclasses import replace
from functools import partial

import anyio

from bridge.checks import check_words
from bridge.citing import NO_FOLDER
from bridge.counts import Counts
from bridge.keeping import Keeping
from bridge.service import MAX_LIMIT, BadInput, Unavailable
from indexer import search
from indexer.catalog import Catalog
from indexer.filters import EVERYTHING, BadFilter, Filters
from indexer.hits import Found
from indexer.pipeline import Indexer
from indexer.rerank.reranker import Reranker
from indexer.search import Index, Looked
from indexer.store import StoreAway

_FIRST_FILES_S = 10  # a search waits so long for an index that holds nothing yet; a new daemon's, for a small folder


class Looking:
    """`most`: searches at once; the next one waits."""

    def __init__(
        self, catalog: Catalog, indexer: Indexer, keeping: Keeping, counts: Counts, reranker: Reranker | None, most: int
    ) -> None:
        self._catalog, self._indexer, self._keeping = catalog, indexer, keeping
        self._counts, self._reranker = counts, reranker
        self._dispatch = anyio.CapacityLimiter(most)
        self._whole_until = time.monotonic() + _FIRST_FILES_S

    @property
    def is_at_work(self) -> bool:
        return self._dispatch.borrowed_tokens > 0

    async def search(
        self,
        query: str,
        limit: int = 10,
        filters: Filters = EVERYTHING,
        explain: bool = False,
        *,
        merge: bool = True,
    ) -> Found:
        looked = await self.look(query, limit=limit, filters=filters, merge=merge, mark=merge, explain=explain)
        return looked.found

    async def look(
        self,
        query: str,
        *,
        limit: int,
        filters: Filters,
        merge: bool = True,
        mark: bool = False,
        explain: bool = False,
    ) -> Looked:
        """Raises BadInput and Unavailable."""
        check_words(query, filters.within)
        if not 1 <= limit <= MAX_LIMIT and merge:
            raise BadInput(f"limit was expected to be 1 to {MAX_LIMIT}, it is {limit}")
        began = time.perf_counter()
        async with self._dispatch:
            await self._first_files()
            try:
                index = self._indexer.index
                show = partial(search.look, merge=merge, mark=mark, explain=explain, reranker=self._reranker)
                looked = await show(index, query, limit, filters=filters, pending=self._keeping.pending)
            except BadFilter as error:
                raise BadInput(str(error)) from error
            except StoreAway as error:
                self._counts.not_searched()
                raise Unavailable(str(error)) from error
        if told := self._why_less(looked.found, index):
            found = replace(looked.found, degraded=(*looked.found.degraded, told))
            looked = replace(looked, found=found)
        self._counts.searched(looked, time.perf_counter() - began)
        return looked

    def _why_less(self, found: Found, index: Index) -> str | None:
        growth = self._indexer.growth
        if growth and growth.index is index:
            return f"the store is being filled again: {growth.left} chunks cannot be found yet"
        return None if found.hits or self._catalog.roots() else NO_FOLDER

    async def _first_files(self) -> None:
        """Who asks a new daemon at once means the files that it was given, not the nothing it has read of them yet."""
        catalog = self._catalog
        with anyio.move_on_after(_FIRST_FILES_S):
            # Its writers are threads, which tell nobody.
            while self._keeping.begins and catalog.meta("as_of") is None:
                if catalog.counts()[0] and time.monotonic() > self._whole_until:
                    return
                await anyio.sleep(0.05)
