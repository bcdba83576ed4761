"""LlamaIndex: a folder becomes a VectorStoreIndex on disk, as its starter example does with a local model."""

from rival import Clock, arguments, report, tokenizer

clock = Clock()
given = arguments(tokens=int, overlap=int)

import torch  # noqa: E402
from llama_index.core import SimpleDirectoryReader, VectorStoreIndex  # noqa: E402
from llama_index.core.node_parser import SentenceSplitter  # noqa: E402
from llama_index.core.schema import MetadataMode  # noqa: E402
from llama_index.embeddings.huggingface import HuggingFaceEmbedding  # noqa: E402
from llama_index.readers.file import HTMLTagReader  # noqa: E402

torch.set_num_threads(given.threads)
clock.stage("import")
embedder = HuggingFaceEmbedding(model_name=str(given.weights), device="cpu")
clock.stage("load")

reader = SimpleDirectoryReader(
    str(given.folder), file_extractor={".html": HTMLTagReader(tag="body", ignore_no_id=False)}
)
documents = reader.load_data()
clock.stage("read")
if given.tokens:
    for document in documents:
        # Its default embeds the path too: the same text for everybody.
        document.excluded_embed_metadata_keys = document.excluded_llm_metadata_keys = list(document.metadata)
    splitter = SentenceSplitter(
        chunk_size=given.tokens, chunk_overlap=given.overlap, tokenizer=tokenizer(given.weights)
    )
else:
    splitter = SentenceSplitter()
nodes = splitter.get_nodes_from_documents(documents)
clock.stage("split")
index = VectorStoreIndex(nodes, embed_model=embedder)
clock.stage("embed_and_store")
index.storage_context.persist(str(given.out))
clock.stage("persist")

report(
    clock,
    given.weights,
    len(documents),
    (node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes),
    ("llama-index-core", "llama-index-embeddings-huggingface", "sentence-transformers", "torch"),
)
