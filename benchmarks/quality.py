"""What each part of search brings, on a judged folder: BM25, vectors, both fused, proximity.

The index is `tandem eval`'s own (made by it where it is not there yet). `cover@5`: a passage among the first five, of
at most 1 200 characters and from a judged file, holds at least 80 % of an answer's words.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean

import anyio
from platformdirs import user_cache_path

from benchmarks.cover import covered, load_answers
from bridge.folder import Folder, holding
from indexer.catalog import Catalog
from indexer.embed import onnx
from indexer.evaluate import answer_all, load, metrics
from indexer.fusion import Weights
from indexer.hits import Hit
from indexer.search import Index, search
from indexer.store.edge import open_edge

PARTS = {
    "BM25 alone": Weights(dense=0, proximity=0),
    "vectors alone": Weights(dense=1, proximity=0),
    "both fused": Weights(proximity=0),
    "and proximity": Weights(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, help="the index; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        data = arguments.data or Path(place)
        anyio.run(measure, arguments.folder.resolve(), data.absolute())


async def measure(folder: Path, data: Path) -> None:
    files = ["--queries", str(folder / "queries.jsonl"), "--qrels", str(folder / "qrels.tsv")]
    subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "bridge.cli", "eval", str(folder / "corpus"), *files, "--data", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    judged = load(folder / "queries.jsonl", folder / "qrels.tsv")
    answers = load_answers(folder / "answers.jsonl")
    embedder = onnx.load("all-MiniLM-L6-v2", None, user_cache_path("tandem", appauthor=False) / "models", 1)
    (store_folder,) = Folder(data).stores.iterdir()
    with holding(Folder(data)), closing(Catalog(Folder(data).catalog)) as catalog:
        async with open_edge(store_folder, embedder.dimensions) as store:
            index = Index(catalog, store, embedder)
            for name, weights in PARTS.items():

                async def hits(question: str, limit: int, weights: Weights = weights) -> Sequence[Hit]:
                    return (await search(index, question, limit, merge=False, weights=weights)).hits

                results = await answer_all(judged, folder / "corpus", hits)
                scores = {**metrics(judged, results), "cover@5": mean(covered(judged, results, answers) or [0])}
                print(json.dumps({"part": name, **{key: round(score, 4) for key, score in scores.items()}}), flush=True)


if __name__ == "__main__":
    main()
