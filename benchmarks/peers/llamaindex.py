"""LlamaIndex: a folder becomes a VectorStoreIndex on disk, as its starter example does with a local model.

Asked two ways: `vectors`, the index's own retriever; `fusion`, QueryFusionRetriever over it and BM25Retriever.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from llama_index.core import Settings, SimpleDirectoryReader, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import MetadataMode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.readers.file import HTMLTagReader
from peer import Found, Made, Search, clock, main, tokens

PACKAGES = (
    "llama-index-core",
    "llama-index-embeddings-huggingface",
    "llama-index-retrievers-bm25",
    "sentence-transformers",
    "torch",
)


def index(given: argparse.Namespace) -> Made:
    embedder = _embedder(given)
    html = HTMLTagReader(tag="body", ignore_no_id=False)
    documents = SimpleDirectoryReader(str(given.folder), recursive=True, file_extractor={".html": html}).load_data()
    clock.stage("read")
    if given.size:
        for document in documents:
            # Its default embeds the path too: the same text for everybody.
            document.excluded_embed_metadata_keys = document.excluded_llm_metadata_keys = list(document.metadata)
        splitter = SentenceSplitter(chunk_size=given.size, chunk_overlap=given.overlap, tokenizer=tokens(given.weights))
    else:
        splitter = SentenceSplitter()
    nodes = splitter.get_nodes_from_documents(documents)
    clock.stage("split")
    made = VectorStoreIndex(nodes, embed_model=embedder)
    clock.stage("embed_and_store")
    made.storage_context.persist(str(given.out / "vectors"))
    clock.stage("persist")
    return Made(len(documents), [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes])


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Search]:
    embedder = _embedder(given)
    stored = StorageContext.from_defaults(persist_dir=str(given.out / "vectors"))
    made = load_index_from_storage(stored, embed_model=embedder)
    retrievers, count = [made.as_retriever()], len(made.docstore.docs)
    if given.way == "fusion":
        from llama_index.retrievers.bm25 import BM25Retriever  # only here, or those who do not use it would pay for it

        Settings.llm = None  # it would write more questions with it
        retrievers.append(BM25Retriever.from_defaults(index=made))
        retrievers.append(QueryFusionRetriever(retrievers[:], mode=FUSION_MODES.RECIPROCAL_RANK, num_queries=1))

    def search(question: str, limit: int) -> Sequence[Found]:
        for retriever in retrievers:
            retriever.similarity_top_k = min(limit, count)  # BM25Retriever fails where there are fewer
        hits = retrievers[-1].retrieve(question)
        return [Found(Path(hit.node.metadata["file_path"]), hit.node.get_content(MetadataMode.NONE)) for hit in hits]

    yield search


def _embedder(given: argparse.Namespace) -> HuggingFaceEmbedding:
    torch.set_num_threads(given.threads)
    clock.stage("import")
    embedder = HuggingFaceEmbedding(model_name=str(given.weights), device="cpu")
    clock.stage("load")
    return embedder


if __name__ == "__main__":
    main(index, opened, PACKAGES)
