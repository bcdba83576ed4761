"""All that an index holds, read without the help of what wrote it; and where that is wrong, in words."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_edge import ScrollRequest

from indexer import bm25, lexical
from indexer.embed import Vectors
from indexer.records import chunk_id, document_id, searched, vector_key
from indexer.schema import EVERY
from indexer.store import edge
from tests.indexer.embedders import WordEmbedder

_CHUNK = "id, ordinal, start, end, start_line, end_line, page, heading, text, context, fields, terms, vector"
_NEAR = 0.999  # the store's vectors are coarse


@dataclass(frozen=True, slots=True)
class Document:
    """`chunks`: rows of `_CHUNK`."""

    id: int
    path: str
    sha256: str
    state: str
    reason: str | None
    title: str | None
    stale: int
    chunks: tuple[Sequence[Any], ...]


@dataclass(frozen=True, slots=True)
class Point:
    document: int
    dense: Vectors
    sparse: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Holdings:
    documents: Mapping[str, Document]
    left_out: frozenset[tuple[str, str]]
    vectors: Mapping[bytes, bytes]
    doubtful: int
    held: str | None
    frequencies: Mapping[int, int]
    points: Mapping[int, Point]


def holdings(data: Path) -> Holdings:
    """Opens the store: never in a process that forks afterwards, and never beside another that has it open."""
    with closing(sqlite3.connect(data / "catalog.sqlite3")) as db:
        documents = {
            row[1]: Document(*row, _chunks(db, row[0]))
            for row in db.execute("SELECT id, path, sha256, state, reason, title, stale FROM documents")
        }
        held = db.execute("SELECT value FROM meta WHERE key = 'held'").fetchone()
        return Holdings(
            documents,
            frozenset(db.execute("SELECT path, reason FROM left_out")),
            dict(db.execute("SELECT key, vector FROM vectors")),
            db.execute("SELECT count(*) FROM doubtful").fetchone()[0],
            held and held[0],
            dict(db.execute("SELECT term, chunks FROM frequencies")),
            _points(data / "store"),
        )


def lies(found: Holdings) -> Iterator[str]:
    """What is recorded and cannot be found: this may never be, at no moment of a kill."""
    embedder = WordEmbedder()
    for document in found.documents.values():
        for id_, *_, text, context, fields, terms, key in document.chunks:
            text = searched(context, text)
            point = found.points.get(id_)
            if not point:
                yield f"{document.path!r} is recorded with a chunk that the store does not have: {text[:40]!r}"
            elif point.document != document.id:
                yield f"{document.path!r} has a point of another document"
            elif float(point.dense @ embedder._vector(text)) < _NEAR:
                yield f"{document.path!r} has a chunk with another text's vector: {text[:40]!r}"
            elif not _same_terms(point.sparse, terms, fields):
                yield f"{document.path!r} has a chunk with another text's words: {text[:40]!r}"
            if key not in found.vectors or key != vector_key(text):
                yield f"{document.path!r} has a chunk whose vector is not kept: {text[:40]!r}"
        yield from _misnamed(document)
    if found.frequencies != _frequencies(found):
        yield "it is counted wrong how many chunks hold each term"


def leftovers(found: Holdings) -> Iterator[str]:
    """What nothing needs any more, once all is done."""
    chunks = [chunk for document in found.documents.values() for chunk in document.chunks]
    if extra := found.points.keys() - {chunk[0] for chunk in chunks}:
        yield f"{len(extra)} points in the store belong to no document"
    if extra := found.vectors.keys() - {chunk[-1] for chunk in chunks}:
        yield f"{len(extra)} vectors are kept that no document uses"
    if found.doubtful:
        yield f"{found.doubtful} points are still in doubt"
    if found.held:
        yield f"deletions are held back: {found.held}"
    for document in found.documents.values():
        if document.stale:
            yield f"{document.path!r} is still to be read again"


def compare(own: Holdings, fresh: Holdings) -> Iterator[str]:
    """Where an index with a past differs from one that has just been made."""
    for path in sorted(own.documents.keys() - fresh.documents.keys()):
        yield f"{path!r} is {own.documents[path].state} and a fresh index does not have it"
    for path in sorted(fresh.documents.keys() - own.documents.keys()):
        yield f"{path!r} is not there and a fresh index has it {fresh.documents[path].state}"
    for path in sorted(own.documents.keys() & fresh.documents.keys()):
        mine, its = own.documents[path], fresh.documents[path]
        for field in ("state", "reason", "sha256", "title", "chunks"):
            if (has := getattr(mine, field)) != (should := getattr(its, field)):
                yield f"{path!r} has the {field} {str(has)[:200]}, and in a fresh index {str(should)[:200]}"
                break
    for path, reason in sorted(own.left_out ^ fresh.left_out):
        whose = "this index" if (path, reason) in own.left_out else "a fresh index"
        yield f"{path!r} is listed as left out in {whose} only: {reason}"


def _chunks(db: sqlite3.Connection, document: int) -> tuple[Sequence[Any], ...]:
    return tuple(db.execute(f"SELECT {_CHUNK} FROM chunks WHERE document = ? ORDER BY ordinal", (document,)))


def _points(store: Path) -> dict[int, Point]:
    points: dict[int, Point] = {}
    for folder in store.glob("*") if store.is_dir() else ():
        shard = edge._shard(folder, 64)
        records, more = shard.scroll(ScrollRequest(limit=10**6, with_payload=True, with_vector=True))
        assert more is None
        points |= {int(record.id): _point(record) for record in records}
        shard.close()
    return points


def _point(record: Any) -> Point:
    sparse = record.vector["bm25"]
    weights = dict(zip(sparse.indices, sparse.values, strict=True))
    return Point(record.payload["document"], np.array(record.vector["dense"], np.float32), weights)


def _same_terms(found: Mapping[int, float], terms: bytes, fields: bytes) -> bool:
    expected = bm25.document_vector(lexical.unpack(terms), lexical.unpack(fields))
    wanted = dict(zip(expected.indices.tolist(), expected.values.tolist(), strict=True))
    return found.keys() == wanted.keys() and all(abs(found[term] - weight) < 1e-3 for term, weight in wanted.items())


def _frequencies(found: Holdings) -> Counter[int]:
    chunks = [chunk for document in found.documents.values() for chunk in document.chunks]
    return Counter(
        term
        for *_, fields, terms, _ in chunks
        for term in {EVERY, *lexical.unpack(terms).tolist(), *lexical.unpack(fields).tolist()}
    )


def _misnamed(document: Document) -> Iterator[str]:
    if document.id != document_id(document.path):
        yield f"{document.path!r} goes by another path's number"
    seen = Counter[str]()
    for id_, *_, text, context, fields, terms, _ in document.chunks:
        text = searched(context, text)
        if id_ != chunk_id(document.path, text, seen[text], terms + fields):
            yield f"{document.path!r} has a chunk under another's number: {text[:40]!r}"
        seen[text] += 1
