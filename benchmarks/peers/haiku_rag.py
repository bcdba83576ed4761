"""haiku.rag: a folder becomes its LanceDB database, converted and split by docling, embedded by sentence-transformers.

Its hybrid search (vectors and full text by LanceDB, joined by reciprocal rank fusion) is its default.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from haiku.rag.client import HaikuRAG
from haiku.rag.config import AppConfig
from haiku.rag.config.models import EmbeddingModelConfig, EmbeddingsConfig, ProcessingConfig
from haiku.rag.uri import uri_to_path
from peer import Found, Made, Search, clock, main

PACKAGES = ("haiku.rag-slim", "lancedb", "docling", "sentence-transformers", "torch")
DIMENSIONS = 384


def index(given: argparse.Namespace) -> Made:
    torch.set_num_threads(given.threads)
    clock.stage("import")
    return asyncio.run(_index(given))


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Search]:
    torch.set_num_threads(given.threads)
    with asyncio.Runner() as runner:
        client = runner.run(HaikuRAG(_database(given), _config(given)).__aenter__())

        def search(question: str, limit: int) -> Sequence[Found]:
            hits = runner.run(client.search(question, limit))
            return [Found(uri_to_path(hit.document_uri), hit.content) for hit in hits]

        yield search
        runner.run(client.__aexit__(None, None, None))


async def _index(given: argparse.Namespace) -> Made:
    given.out.mkdir(parents=True, exist_ok=True)
    async with HaikuRAG(_database(given), _config(given), create=True) as client:
        documents = await client.create_document_from_source(given.folder)
    clock.stage("index")
    async with HaikuRAG(_database(given), _config(given), read_only=True) as client:
        rows = await client.store.chunks_table.query().select(["content_fts"]).to_list()
    return Made(len(documents), [row["content_fts"] for row in rows])


def _database(given: argparse.Namespace) -> Path:
    return given.out / "haiku.lancedb"


def _config(given: argparse.Namespace) -> AppConfig:
    """Its own tokenizer would be Qwen's, from the internet: the model's serves as well."""
    model = EmbeddingModelConfig(provider="sentence-transformers", name=str(given.weights), vector_dim=DIMENSIONS)
    processing = ProcessingConfig(chunking_tokenizer=str(given.weights), auto_title=False)
    if given.do == "index" and given.size:
        processing.chunk_size = given.size
    return AppConfig(embeddings=EmbeddingsConfig(model=model), processing=processing)


if __name__ == "__main__":
    main(index, opened, PACKAGES)
