"""Qdrant as a server: the same points over the network, HNSW built there (by its GPU where it has one)."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException

from indexer.bm25 import Sparse
from indexer.embed import Vectors
from indexer.store import Point, Rankings, Scored, StoreAway, StoreUnusable

logger = logging.getLogger("tandem.index")

_BATCH = 256
_TIMEOUT_S = 10

Quantization = Literal["none", "int8", "turbo8"]
_QUANTIZATIONS: dict[Quantization, models.QuantizationConfig | None] = {
    "none": None,
    "int8": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    ),
    "turbo8": models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS8)),
}


@asynccontextmanager
async def open_server(
    url: str,
    api_key: str | None,
    collection: str,
    dimensions: int,
    *,
    alias: str | None = None,
    quantization: Quantization = "none",
    shards: int = 0,
    replicas: int = 0,
) -> AsyncGenerator["ServerStore"]:
    """Opens the collection, made on first use; `publish` lets `alias` point to it. `shards`, and `replicas` of each, on
    a cluster; 0: as the server is configured. `:memory:` is the client's own mode, for tests.

    Raises StoreAway where the server cannot be reached, StoreUnusable where it holds other dimensions.
    """
    client = _client(url, api_key)
    store = ServerStore(client, collection, url, alias)
    try:
        await store.prepare(dimensions, quantization, shards, replicas)
        yield store
    finally:
        await client.close()


async def aliases(url: str, api_key: str | None) -> dict[str, str]:
    """The collection of each alias on the server. Raises StoreAway."""
    client = _client(url, api_key)
    try:
        async with _translated(_where(url)):
            return {one.alias_name: one.collection_name for one in (await client.get_aliases()).aliases}
    finally:
        await client.close()


async def publish(url: str, api_key: str | None, collection: str, alias: str) -> None:
    """See `ServerStore.publish`. Raises StoreAway."""
    client = _client(url, api_key)
    try:
        await ServerStore(client, collection, url, alias).publish()
    finally:
        await client.close()


async def discard(url: str, api_key: str | None, collection: str) -> None:
    """Removes a collection that nobody has open, whatever it holds. Raises StoreAway."""
    client = _client(url, api_key)
    try:
        async with _translated(url):
            await client.delete_collection(collection)
    finally:
        await client.close()


def _client(url: str, api_key: str | None) -> AsyncQdrantClient:
    if url == ":memory:":
        return AsyncQdrantClient(":memory:")
    # A plain http:// URL with a key makes the client warn on every start: the user chose it.
    return AsyncQdrantClient(url=url, api_key=api_key, timeout=_TIMEOUT_S, check_compatibility=False, port=_port(url))


class ServerStore:
    def __init__(self, client: AsyncQdrantClient, collection: str, url: str, alias: str | None = None) -> None:
        self._client, self._collection, self._alias = client, collection, alias
        self._where = _where(url)
        self.label = label(url, collection)

    async def prepare(self, dimensions: int, quantization: Quantization, shards: int = 0, replicas: int = 0) -> None:
        async with _translated(self._where):
            if not await self._client.collection_exists(self._collection):
                await self._create(dimensions, quantization, shards, replicas)
            config = (await self._client.get_collection(self._collection)).config.params
        vectors, sparse = config.vectors, config.sparse_vectors or {}
        dense = vectors.get("dense") if isinstance(vectors, dict) else None
        if dense is None or dense.size != dimensions or "bm25" not in sparse:
            held = f"{dense.size} dimensions" if dense else "no vector named dense"
            raise StoreUnusable(
                f"the collection {self._collection} at {self._where} was expected to hold vectors `dense` of "
                f"{dimensions} dimensions and `bm25`, but it has {held}; nothing was changed. "
                "Set QDRANT_COLLECTION to a new name, or the model back"
            )

    async def _create(self, dimensions: int, quantization: Quantization, shards: int, replicas: int) -> None:
        await self._client.create_collection(
            self._collection,
            vectors_config={"dense": models.VectorParams(size=dimensions, distance=models.Distance.COSINE)},
            sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            quantization_config=_QUANTIZATIONS[quantization],
            shard_number=shards or None,
            replication_factor=replicas or None,
        )
        await self._client.create_payload_index(
            self._collection, "document", field_schema=models.PayloadSchemaType.INTEGER
        )

    async def upsert(self, points: Sequence[Point]) -> None:
        async with _translated(self._where):
            for start in range(0, len(points), _BATCH):
                batch = [_server_point(point) for point in points[start : start + _BATCH]]
                await self._client.upsert(self._collection, batch, wait=True)

    async def delete(self, ids: Sequence[int]) -> None:
        async with _translated(self._where):
            for start in range(0, len(ids), _BATCH):
                batch = models.PointIdsList(points=list(ids[start : start + _BATCH]))
                await self._client.delete(self._collection, batch, wait=True)

    async def search(
        self, dense: Vectors | None, sparse: Sparse, limit: int, documents: Sequence[int] | None = None
    ) -> Rankings:
        only = None
        if documents is not None:
            match = models.MatchAny(any=list(documents))
            only = models.Filter(must=[models.FieldCondition(key="document", match=match)])
        requests: list[models.QueryRequest] = []
        if dense is not None:
            requests.append(_request(dense.tolist(), "dense", limit, only))
        if len(sparse.indices):
            requests.append(_request(_server_sparse(sparse), "bm25", limit, only))
        if not requests:
            return Rankings((), ())
        async with _translated(self._where):
            replies = await self._client.query_batch_points(self._collection, requests)
        found = [_scored(reply.points) for reply in replies]
        return Rankings(
            dense=found.pop(0) if dense is not None else (),
            lexical=found.pop(0) if found else (),
        )

    async def count(self) -> int:
        async with _translated(self._where):
            return (await self._client.count(self._collection, exact=True)).count

    async def flush(self) -> None:
        """Nothing to do: `wait=True` returns once the server's log has it."""

    async def tidy(self) -> None:
        """Nothing to do: the server's own optimizers do it."""

    async def publish(self) -> None:
        """People and programs that look for the alias find this collection. One of that name that is no alias is
        somebody's: it is left alone."""
        if self._alias is None:
            return
        async with _translated(self._where):
            aliases = {one.alias_name for one in (await self._client.get_aliases()).aliases}
            if self._alias not in aliases and await self._client.collection_exists(self._alias):
                logger.warning("%s is a collection at %s, so it is not made an alias", self._alias, self._where)
                return
            create = models.CreateAlias(collection_name=self._collection, alias_name=self._alias)
            await self._client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])

    async def destroy(self) -> None:
        async with _translated(self._where):
            await self._client.delete_collection(self._collection)


@asynccontextmanager
async def _translated(where: str) -> AsyncGenerator[None]:
    try:
        yield
    except (ApiException, ResponseHandlingException, httpx.HTTPError, OSError) as error:
        reason = getattr(error, "reason_phrase", None) or str(error) or type(error).__name__
        raise StoreAway(
            f"the Qdrant server at {where} did not do what was asked: {reason}; "
            "check that it runs, QDRANT_URL (or QDRANT_HOST and QDRANT_PORT) and QDRANT_API_KEY"
        ) from error


def label(url: str, collection: str) -> str:
    return f"qdrant {_where(url)}/{collection}"


def _where(url: str) -> str:
    parts = urlsplit(url)
    return url if url == ":memory:" else f"{parts.scheme}://{parts.hostname}:{_port(url)}"


def _port(url: str) -> int:
    """The client would take 6333 for a URL without a port, https://host too."""
    parts = urlsplit(url)
    return parts.port or {"https": 443, "http": 80}.get(parts.scheme, 6333)


def _request(
    query: list[float] | models.SparseVector, using: str, limit: int, only: models.Filter | None
) -> models.QueryRequest:
    return models.QueryRequest(query=query, using=using, limit=limit, filter=only)


def _server_point(point: Point) -> models.PointStruct:
    vectors: dict[str, Any] = {"bm25": _server_sparse(point.sparse)}
    if point.dense is not None:
        vectors["dense"] = point.dense.tolist()
    return models.PointStruct(id=point.id, vector=vectors, payload={"document": point.document})


def _server_sparse(sparse: Sparse) -> models.SparseVector:
    return models.SparseVector(indices=sparse.indices.tolist(), values=sparse.values.tolist())


def _scored(points: Sequence[models.ScoredPoint]) -> tuple[Scored, ...]:
    return tuple(sorted(((int(p.id), p.score) for p in points), key=lambda found: (-found[1], found[0])))
