"""Qdrant inside this process (qdrant-edge): Turbo8 storage, exact scan, no server.

The library holds the GIL in every call, so a thread would gain nothing: calls run where they are made, in small
batches. The caller must hold the data folder's lock: a second `load` of a shard damages its owner.
"""

import shutil
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    IntegerIndexParams,
    MatchAny,
    Memory,
    Modifier,
    Query,
    QueryBatchRequest,
    QueryRequest,
    ScoredPoint,
    SparseVector,
    UpdateOperation,
    VectorStorageDatatype,
)
from qdrant_edge import Point as EdgePoint

from indexer.bm25 import Sparse
from indexer.embed import Vectors
from indexer.store import Point, Rankings, Scored, StoreAway, StoreUnusable

_Item = TypeVar("_Item")
_BATCH = 128  # points a call: about 10 ms with the GIL held


@asynccontextmanager
async def open_edge(folder: Path, dimensions: int) -> AsyncGenerator["EdgeStore"]:
    """Opens the shard in `folder`, made on first use. Raises StoreUnusable where it holds other dimensions."""
    store = EdgeStore(_shard(folder, dimensions), folder)
    try:
        yield store
    finally:
        store.close()


class EdgeStore:
    label = "qdrant-edge"

    def __init__(self, shard: EdgeShard, folder: Path) -> None:
        self._shard, self._folder = shard, folder
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._shard.flush()
            self._shard.close()

    async def upsert(self, points: Sequence[Point]) -> None:
        with _translated():
            for batch in _batched(points):
                self._shard.update(UpdateOperation.upsert_points([_edge_point(point) for point in batch]))

    async def delete(self, ids: Sequence[int]) -> None:
        with _translated():
            for batch in _batched(ids):
                self._shard.update(UpdateOperation.delete_points(list(batch)))

    async def search(
        self, dense: Vectors | None, sparse: Sparse, limit: int, documents: Sequence[int] | None = None
    ) -> Rankings:
        only = None
        if documents is not None:
            only = Filter(must=[FieldCondition("document", match=MatchAny(list(documents)))])
        queries: list[Query] = []
        if dense is not None:
            queries.append(Query.Nearest(dense.tolist(), using="dense"))
        if len(sparse.indices):
            queries.append(Query.Nearest(_edge_sparse(sparse), using="bm25"))
        requests = [QueryRequest(limit=limit, query=query, filter=only) for query in queries]
        found = [_scored(side) for side in self._shard.query_batch(QueryBatchRequest(requests))] if requests else []
        return Rankings(
            dense=found.pop(0) if dense is not None else (),
            lexical=found.pop(0) if found else (),
        )

    async def count(self) -> int:
        return self._shard.count(CountRequest(exact=True))

    async def flush(self) -> None:
        with _translated():
            self._shard.flush()

    async def tidy(self) -> None:
        with _translated():
            self._shard.optimize()  # never HNSW, see `_shard`: it only drops what is deleted, once that is a fifth

    async def publish(self) -> None:
        """Nothing to do: nobody else can look into it."""

    async def destroy(self) -> None:
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except Exception as error:
        raise StoreAway(
            f"the embedded vector store could not write: {error}; is the disk full, or the data folder read-only?"
        ) from error


def _shard(folder: Path, dimensions: int) -> EdgeShard:
    # The library raises bare Exception.
    try:
        if any(folder.glob("*")):
            _warm(folder)
            return EdgeShard.load(str(folder), _config(dimensions))
        folder.mkdir(parents=True, exist_ok=True)
        # Nothing is relied on before `flush`, so a log of its own would only double what is written, and lie in memory
        # too. Who has one keeps it: that is said once, when a shard is made.
        shard = EdgeShard.create(str(folder), _config(dimensions, wal_enabled=False))
        by_number = IntegerIndexParams(lookup=True, range=False)
        shard.update(UpdateOperation.create_field_index("document", by_number))
    except Exception as error:
        raise StoreUnusable(
            f"the vector store in {folder} could not be opened with {dimensions} dimensions: {error}; "
            "nothing was changed. Use another --data folder, or move this one away to build it again"
        ) from error
    return shard


def _config(dimensions: int, wal_enabled: bool | None = None) -> EdgeConfig:
    # Not cached: that would hold whole files of 32 MB, however little is in them.
    dense = EdgeVectorParams(dimensions, Distance.Cosine, datatype=VectorStorageDatatype.Turbo8, memory=Memory.Cold)
    return EdgeConfig(
        vectors={"dense": dense},
        sparse_vectors={"bm25": EdgeSparseVectorParams(modifier=Modifier.Idf)},
        # Never HNSW: its build holds the GIL for minutes, and the exact scan takes 4.5 ms at 100k x 768.
        optimizers=EdgeOptimizersConfig(indexing_threshold=10**9),
        wal_enabled=wal_enabled,
    )


def _warm(folder: Path) -> None:
    """Reads the vectors once, in order: the first search would fetch them from the disk page by page."""
    some = bytearray(1 << 20)
    for file in folder.glob("segments/*/vector_storage-dense/*/*"):
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(some):
                pass


def _batched(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


def _edge_point(point: Point) -> EdgePoint:
    vectors: dict[str, Any] = {"bm25": _edge_sparse(point.sparse)}
    if point.dense is not None:
        vectors["dense"] = point.dense.tolist()
    return EdgePoint(point.id, vectors, {"document": point.document})


def _edge_sparse(sparse: Sparse) -> SparseVector:
    return SparseVector(sparse.indices.tolist(), sparse.values.tolist())


def _scored(points: Sequence[ScoredPoint]) -> tuple[Scored, ...]:
    """Ties are ordered by id: the library leaves them open."""
    return tuple(sorted(((int(p.id), p.score) for p in points), key=lambda found: (-found[1], found[0])))
