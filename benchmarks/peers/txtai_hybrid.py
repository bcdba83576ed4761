"""txtai: a folder becomes a hybrid index on disk, `Embeddings(hybrid=True, content=True)`.

Split by its Segmentation: into paragraphs, as its examples do, or at a size by chonkie, which it takes in for that.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from peer import Found, Made, Search, clock, main, texts, tokenizer
from txtai import Embeddings
from txtai.pipeline import Segmentation

PACKAGES = ("txtai", "chonkie", "transformers", "torch")


def index(given: argparse.Namespace) -> Made:
    torch.set_num_threads(given.threads)
    clock.stage("import")
    embeddings = Embeddings(path=str(given.weights), hybrid=True, content=True, gpu=False)
    clock.stage("load")
    documents = texts(given.folder)
    clock.stage("read")
    segments = _segmentation(given)
    rows = [{"text": text, "file": str(path)} for path, whole in documents for text in segments(whole)]
    clock.stage("split")
    embeddings.index(enumerate(rows))
    clock.stage("embed_and_store")
    embeddings.save(str(given.out))
    clock.stage("persist")
    return Made(len(documents), [row["text"] for row in rows])


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Search]:
    torch.set_num_threads(given.threads)
    embeddings = Embeddings()
    embeddings.load(str(given.out))

    def search(question: str, limit: int) -> Sequence[Found]:
        hits = embeddings.search(
            "select file, text, score from txtai where similar(:question)", limit, parameters={"question": question}
        )
        return [Found(Path(hit["file"]), hit["text"]) for hit in hits]

    yield search
    embeddings.close()


def _segmentation(given: argparse.Namespace) -> Segmentation:
    if not given.size:
        return Segmentation(paragraphs=True)
    return Segmentation(
        chunker="sentence", tokenizer=tokenizer(given.weights), chunk_size=given.size, chunk_overlap=given.overlap
    )


if __name__ == "__main__":
    main(index, opened, PACKAGES)
