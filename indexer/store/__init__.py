"""Points go in; two rankings come out of one round trip. Two adapters, one behaviour (`tests/indexer/test_store.py`).

To bring another vector database, write these eight methods and add it to that suite's fixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from indexer.bm25 import Sparse
from indexer.embed import Vectors

Scored = tuple[int, float]


class StoreAway(Exception):
    """The vector store cannot be reached or answers with an error; the message says which and what to do."""


class StoreUnusable(Exception):
    """What the store holds is not what was asked for (dimensions, a damaged folder); nothing was changed."""


@dataclass(frozen=True, slots=True)
class Point:
    """A chunk's vectors. `id` < 2**63; `document` is the catalog's number, for filters. Without `dense` the chunk is
    found by its words only."""

    id: int
    dense: Vectors | None
    sparse: Sparse
    document: int


@dataclass(frozen=True, slots=True)
class Rankings:
    """(id, raw score), best first, of each side."""

    dense: tuple[Scored, ...]
    lexical: tuple[Scored, ...]


class Store(Protocol):
    @property
    def label(self) -> str: ...

    async def upsert(self, points: Sequence[Point]) -> None:
        """Writes or overwrites. Searchable at once, safe from a crash only after `flush`."""
        ...

    async def delete(self, ids: Sequence[int]) -> None:
        """Unknown ids are no error."""
        ...

    async def search(
        self, dense: Vectors | None, sparse: Sparse, limit: int, documents: Sequence[int] | None = None
    ) -> Rankings:
        """Up to `limit` of each side; `documents` keeps only their points. Without `dense` that side is empty."""
        ...

    async def count(self) -> int: ...

    async def flush(self) -> None:
        """All that was written until now survives a crash."""
        ...

    async def tidy(self) -> None:
        """Gives back what deleted points occupy; for quiet times."""
        ...

    async def publish(self) -> None:
        """This store answers from now on: others who look for it by its name find this one."""
        ...

    async def destroy(self) -> None:
        """Removes all of it for good; nothing may be called afterwards."""
        ...
