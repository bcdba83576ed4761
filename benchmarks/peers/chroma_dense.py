"""Chroma: a folder becomes a collection on disk with its default HNSW graph.

It has no chunker and, on one's own machine, no ranking by words: chonkie's SentenceChunker makes chunks of our size.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import chromadb
import torch
from chonkie import SentenceChunker
from chromadb.api import ClientAPI
from chromadb.config import Settings
from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction
from peer import Found, Made, Search, clock, main, texts, tokenizer

PACKAGES = ("chromadb", "chonkie", "sentence-transformers", "torch")
COLLECTION = "documents"
AT_ONCE = 1_000  # chunks in one call; it refuses more than some 5 000


def index(given: argparse.Namespace) -> Made:
    embedder = _embedder(given)
    collection = _client(given).create_collection(COLLECTION, embedding_function=embedder)
    documents = texts(given.folder)
    clock.stage("read")
    chunker = SentenceChunker(tokenizer(given.weights), chunk_size=given.size, chunk_overlap=given.overlap)
    rows = [(str(path), chunk.text) for path, text in documents for chunk in chunker(text)]
    clock.stage("split")
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        collection.add(
            ids=[str(start + n) for n in range(len(some))],
            documents=[text for _, text in some],
            metadatas=[{"file": path} for path, _ in some],
        )
    clock.stage("embed_and_store")
    return Made(len(documents), [text for _, text in rows])


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Search]:
    collection = _client(given).get_collection(COLLECTION, embedding_function=_embedder(given))

    def search(question: str, limit: int) -> Sequence[Found]:
        hits = collection.query(query_texts=[question], n_results=limit)
        assert hits["documents"] and hits["metadatas"]
        rows = zip(hits["metadatas"][0], hits["documents"][0], strict=True)
        return [Found(Path(str(about["file"])), text) for about, text in rows]

    yield search


def _client(given: argparse.Namespace) -> ClientAPI:
    return chromadb.PersistentClient(str(given.out), Settings(anonymized_telemetry=False))


def _embedder(given: argparse.Namespace) -> SentenceTransformerEmbeddingFunction:
    torch.set_num_threads(given.threads)
    clock.stage("import")
    embedder = SentenceTransformerEmbeddingFunction(str(given.weights), device="cpu")
    clock.stage("load")
    return embedder


if __name__ == "__main__":
    main(index, opened, PACKAGES)
