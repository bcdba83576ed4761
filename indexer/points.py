"""Chunks become points: each chunk's vector is looked up, or made and kept, and goes into the store with its terms."""

import logging
from collections.abc import Mapping, Sequence

import anyio.to_thread
import numpy as np

from indexer import bm25, lexical
from indexer.embed import TextsRefused, Vectors
from indexer.records import ChunkRow, searched
from indexer.run_spans import Batch, RunSpans
from indexer.search import Index
from indexer.store import Point

logger = logging.getLogger("tandem.index")

GROUP = 256  # chunks embedded together, so that texts of like length share a batch

Placed = tuple[int, ChunkRow]
"""A chunk and its document's number."""


async def upsert(index: Index, chunks: Sequence[Placed], spans: RunSpans) -> tuple[int, dict[bytes, str]]:
    """Searchable at once, safe from a crash after the store's flush.

    Returns how many texts were embedded, and by key why the model refused some: those are found by their words only.

    Raises EmbedderAway, EmbedderUnusable, StoreAway: the vectors made until then are kept.
    """
    wanted = {chunk.key: searched(chunk.context, chunk.text) for _, chunk in chunks}
    vectors = await anyio.to_thread.run_sync(index.catalog.vectors, index.embedder.signature, wanted)
    missing = {key: text for key, text in wanted.items() if key not in vectors}
    made, refused = dict[bytes, Vectors](), dict[bytes, str]()
    spans.reused(len(chunks) - len(missing))
    if missing:
        documents = [document for document, chunk in chunks if chunk.key in missing]
        with spans.embedding(index.embedder.signature, len(missing), documents) as batch:
            made, refused = await _embedded(index, missing, batch)
    vectors |= made
    points = await anyio.to_thread.run_sync(_points, chunks, vectors)
    await index.store.upsert(points)
    return len(made), refused


async def _embedded(
    index: Index, texts: Mapping[bytes, str], batch: Batch
) -> tuple[dict[bytes, Vectors], dict[bytes, str]]:
    keys = list(texts)
    made: dict[bytes, Vectors] = {}

    def keep(start: int, rows: Vectors) -> None:
        # As the catalog will give them back: the first index and a later one hold the same numbers.
        some = dict(zip(keys[start:], rows.astype(np.float16).astype(np.float32), strict=False))
        index.catalog.keep_vectors(index.embedder.signature, some)
        made.update(some)
        batch.embedded += len(some)

    try:
        await index.embedder.documents([texts[key] for key in keys], keep)
    except TextsRefused as error:
        batch.refused = len(error.refused)
        return made, {keys[row]: reason for row, reason in error.refused.items()}
    return made, {}


def _points(chunks: Sequence[Placed], vectors: Mapping[bytes, Vectors]) -> list[Point]:
    return [_point(document, chunk, vectors.get(chunk.key)) for document, chunk in chunks]


def _point(document: int, chunk: ChunkRow, vector: Vectors | None) -> Point:
    sparse = bm25.document_vector(lexical.unpack(chunk.terms), lexical.unpack(chunk.fields))
    return Point(chunk.id, vector, sparse, document)
