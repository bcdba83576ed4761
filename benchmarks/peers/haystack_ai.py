"""Haystack: a folder goes through its indexing pipeline into an InMemoryDocumentStore saved to disk.

Asked as its hybrid pipeline does: BM25 and vectors, joined by reciprocal rank fusion. (Its tutorial puts a
cross-encoder behind that, which is another model.)
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from haystack import Pipeline
from haystack.components.converters import HTMLToDocument, TextFileToDocument
from haystack.components.joiners import DocumentJoiner
from haystack.components.preprocessors import DocumentSplitter, RecursiveDocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.components.routers import FileTypeRouter
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)
from peer import Found, Made, Search, clock, files, main

PACKAGES = ("haystack-ai", "sentence-transformers-haystack", "sentence-transformers", "torch")
STORE = "store.json"


def index(given: argparse.Namespace) -> Made:
    torch.set_num_threads(given.threads)
    clock.stage("import")
    embedder = SentenceTransformersDocumentEmbedder(**_model(given))
    embedder.warm_up()
    clock.stage("load")
    store = InMemoryDocumentStore()
    pipeline = Pipeline()
    pipeline.add_component("router", FileTypeRouter(mime_types=["text/html"]))
    pipeline.add_component("html", HTMLToDocument(store_full_path=True))
    pipeline.add_component("text", TextFileToDocument(store_full_path=True))
    pipeline.add_component("join", DocumentJoiner())
    pipeline.add_component("split", _splitter(given))
    pipeline.add_component("embed", embedder)
    pipeline.add_component("write", DocumentWriter(store))
    pipeline.connect("router.text/html", "html.sources")
    pipeline.connect("router.unclassified", "text.sources")
    for converter in ("html", "text"):
        pipeline.connect(converter, "join")
    pipeline.connect("join", "split")
    pipeline.connect("split", "embed")
    pipeline.connect("embed", "write")
    made = pipeline.run({"router": {"sources": files(given.folder)}}, include_outputs_from={"join"})
    clock.stage("index")
    given.out.mkdir(parents=True, exist_ok=True)
    store.save_to_disk(str(given.out / STORE))
    clock.stage("persist")
    return Made(len(made["join"]["documents"]), [document.content or "" for document in store.filter_documents()])


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Search]:
    torch.set_num_threads(given.threads)
    store = InMemoryDocumentStore.load_from_disk(str(given.out / STORE))
    pipeline = Pipeline()
    pipeline.add_component("embed", SentenceTransformersTextEmbedder(**_model(given)))
    pipeline.add_component("vectors", InMemoryEmbeddingRetriever(store))
    pipeline.add_component("words", InMemoryBM25Retriever(store))
    pipeline.add_component("join", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    pipeline.connect("embed", "vectors.query_embedding")
    pipeline.connect("vectors", "join")
    pipeline.connect("words", "join")

    def search(question: str, limit: int) -> Sequence[Found]:
        asked = {
            "embed": {"text": question},
            "vectors": {"top_k": limit},
            "words": {"query": question, "top_k": limit},
            "join": {"top_k": limit},
        }
        hits = pipeline.run(asked)["join"]["documents"]
        return [Found(Path(hit.meta["file_path"]), hit.content or "") for hit in hits]

    yield search


def _model(given: argparse.Namespace) -> dict[str, object]:
    return {"model": str(given.weights), "device": ComponentDevice.from_str("cpu"), "progress_bar": False}


def _splitter(given: argparse.Namespace) -> DocumentSplitter | RecursiveDocumentSplitter:
    """Its token unit needs a vocabulary from the internet, its sentence separator another."""
    if not given.size:
        return DocumentSplitter()
    return RecursiveDocumentSplitter(
        split_length=given.size, split_overlap=given.overlap, split_unit="char", separators=["\n\n", "\n", ". ", " "]
    )


if __name__ == "__main__":
    main(index, opened, PACKAGES)
