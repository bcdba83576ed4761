"""The settings become the cache of answers: where its vectors lie, and what of the catalog it looks at."""

import shutil
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from uuid import uuid4

from bridge.cache import Cache, OpenStore, open_cache
from bridge.folder import Folder
from bridge.settings import Settings
from indexer.catalog import Catalog
from indexer.embed import Embedder
from indexer.store import Store


def opened_cache(
    settings: Settings, folder: Folder, catalog: Catalog, embedder: Embedder
) -> AbstractAsyncContextManager[Cache]:
    """`embedder` is that of the index which answers."""
    return open_cache(
        folder.data / "cache.db",
        _stores(settings, folder),
        catalog.recorded,
        name=_name(settings, catalog),
        dimensions=embedder.dimensions,
        signature=embedder.signature,
        ttl_s=settings.cache_ttl_s,
        most=settings.cache_max,
        threshold=settings.cache_similarity_threshold,
    )


def _name(settings: Settings, catalog: Catalog) -> str:
    """Two data folders may share a server: each has a collection of its own, as for the index."""
    if not settings.qdrant:
        return settings.cache_collection
    name = catalog.meta("name")
    if name is None:
        name = uuid4().hex[:8]
        catalog.set_meta("name", name)
    return f"{settings.cache_collection}-{name}"


def _stores(settings: Settings, folder: Folder) -> OpenStore:
    if not settings.qdrant:
        return partial(_embedded, folder.data / "cache")
    from indexer.store.server import open_server

    url = settings.qdrant
    return lambda name, dimensions: open_server(
        url,
        settings.qdrant_api_key,
        name,
        dimensions,
        alias=settings.cache_collection,
        shards=settings.shard_number,
        replicas=settings.replication_factor,
    )


def _embedded(folder: Path, name: str, dimensions: int) -> AbstractAsyncContextManager[Store]:
    from indexer.store.edge import open_edge

    for other in folder.glob("*"):
        if other.name != name:  # a former model's
            shutil.rmtree(other, ignore_errors=True)
    return open_edge(folder / name, dimensions)
