"""Haystack: a folder goes through its indexing pipeline into an InMemoryDocumentStore saved to disk."""

from rival import Clock, arguments, report

clock = Clock()
given = arguments(chars=int, overlap=int)

import torch  # noqa: E402
from haystack import Pipeline  # noqa: E402
from haystack.components.converters import HTMLToDocument, TextFileToDocument  # noqa: E402
from haystack.components.joiners import DocumentJoiner  # noqa: E402
from haystack.components.preprocessors import DocumentSplitter, RecursiveDocumentSplitter  # noqa: E402
from haystack.components.routers import FileTypeRouter  # noqa: E402
from haystack.components.writers import DocumentWriter  # noqa: E402
from haystack.document_stores.in_memory import InMemoryDocumentStore  # noqa: E402
from haystack.utils import ComponentDevice  # noqa: E402
from haystack_integrations.components.embedders.sentence_transformers import (  # noqa: E402
    SentenceTransformersDocumentEmbedder,
)

torch.set_num_threads(given.threads)
clock.stage("import")
embedder = SentenceTransformersDocumentEmbedder(
    model=str(given.weights), device=ComponentDevice.from_str("cpu"), progress_bar=False
)
embedder.warm_up()
clock.stage("load")

# Its token unit needs a vocabulary from the internet, its sentence separator another.
splitter = (
    RecursiveDocumentSplitter(
        split_length=given.chars, split_overlap=given.overlap, split_unit="char", separators=["\n\n", "\n", ". ", " "]
    )
    if given.chars
    else DocumentSplitter()
)
store = InMemoryDocumentStore()
pipeline = Pipeline()
pipeline.add_component("router", FileTypeRouter(mime_types=["text/html"]))
pipeline.add_component("html", HTMLToDocument())
pipeline.add_component("text", TextFileToDocument())
pipeline.add_component("join", DocumentJoiner())
pipeline.add_component("split", splitter)
pipeline.add_component("embed", embedder)
pipeline.add_component("write", DocumentWriter(store))
pipeline.connect("router.text/html", "html.sources")
pipeline.connect("router.unclassified", "text.sources")
for converter in ("html", "text"):
    pipeline.connect(converter, "join")
pipeline.connect("join", "split")
pipeline.connect("split", "embed")
pipeline.connect("embed", "write")
made = pipeline.run({"router": {"sources": sorted(given.folder.iterdir())}}, include_outputs_from={"join"})
clock.stage("index")
store.save_to_disk(str(given.out))
clock.stage("persist")

report(
    clock,
    given.weights,
    len(made["join"]["documents"]),
    (document.content for document in store.filter_documents()),
    ("haystack-ai", "sentence-transformers-haystack", "sentence-transformers", "torch"),
)
