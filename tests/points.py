"""What an index holds, read from its files: for comparing two that were made in different ways."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qdrant_edge import EdgeShard

from bridge.folder import Folder
from indexer.catalog import Catalog
from indexer.embed import Vectors


@dataclass(frozen=True, slots=True)
class Points:
    """By chunk id: what is in the store by words, by meaning, and the vectors as the catalog keeps them."""

    signature: str
    lexical: dict[int, tuple[tuple[int, ...], tuple[float, ...]]]
    with_vector: frozenset[int]
    vectors: dict[int, Vectors]

    def cosine_to(self, other: "Points") -> float:
        """The lowest of all points'."""
        assert self.vectors.keys() == other.vectors.keys()
        ours, theirs = (np.stack([one.vectors[n] for n in sorted(one.vectors)]).astype(float) for one in (self, other))
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        return float(((ours * theirs).sum(axis=1) / lengths).min())


def points(data: Path) -> Points:
    """Of an embedded index that nobody has open."""
    folder = Folder(data)
    catalog = Catalog(folder.catalog)
    (answers,) = (one for one in catalog.generations() if one.state == "answers")
    ids = [chunk.id for _, chunk in catalog.unfilled(-1, 1_000_000)]
    vectors: dict[int, Vectors] = {}
    for start in range(0, len(ids), 500):
        vectors |= catalog.vectors_of(answers.signature, ids[start : start + 500])
    catalog.close()
    (place,) = folder.stores.iterdir()
    shard = EdgeShard.load(str(place))
    records = shard.retrieve(ids, with_payload=False, with_vector=True)
    lexical = {int(one.id): _terms(one.vector["bm25"]) for one in records}
    with_vector = frozenset(int(one.id) for one in records if len(one.vector.get("dense", ())))
    shard.close()
    return Points(answers.signature, lexical, with_vector, vectors)


def _terms(sparse) -> tuple[tuple[int, ...], tuple[float, ...]]:
    pairs = sorted(zip(sparse.indices, sparse.values, strict=True))
    return tuple(index for index, _ in pairs), tuple(value for _, value in pairs)
