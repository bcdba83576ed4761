"""What each part of search brings, on judged folders: the sides alone, fused, and the second look's parts one by one.

For each part: nDCG@10 and recall over files, `cover@5` (benchmarks/cover.py), and what the whole has more than it, with
the 95 % interval of the paired bootstrap over questions. `halves`: nDCG@10 over the two halves of the questions (by a
hash of their ids): weights are chosen on the first and confirmed on the second. A question that only makes sense beside
its file (`deictic`) can be left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from statistics import mean

import anyio
from platformdirs import user_cache_path

from benchmarks.cover import covered, load_answers
from bridge.folder import Folder, holding
from indexer import bootstrap
from indexer.catalog import Catalog
from indexer.embed import onnx
from indexer.evaluate import Judged, Result, answer_all, load, rankings, scores
from indexer.hits import Hit
from indexer.ranking import Weights
from indexer.search import Index, search
from indexer.store.edge import open_edge

_HITS = 60
_NONE = Weights(pairs=0, stretch=0, document=0)
PARTS = {
    "the whole": Weights(),
    "vectors alone": Weights(1, 0, 0, 0),
    "BM25 alone": Weights(0, 0, 0, 0),
    "both fused": _NONE,
    "fused, and pairs": Weights(stretch=0, document=0),
    "fused, pairs and stretch": Weights(document=0),
    "without pairs": Weights(pairs=0),
    "without stretch": Weights(stretch=0),
    "without the vectors in the fusion": Weights(dense=0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--data", type=Path, help="the indexes, one in a folder of each name; default: temporary ones")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), help="the whole always counts")
    parser.add_argument("--weights", type=json.loads, default={}, help='one more row: {"dense": 0.4, "pairs": 1}')
    parser.add_argument("--without-deictic", action="store_true")
    arguments = parser.parse_args()
    parts = {name: part for name, part in PARTS.items() if not arguments.only or name in ("the whole", *arguments.only)}
    if arguments.weights:
        parts["as asked"] = Weights(**arguments.weights)
    with tempfile.TemporaryDirectory() as place:
        for folder in arguments.folders:
            data = (arguments.data or Path(place)) / folder.resolve().name
            anyio.run(partial(measure, folder.resolve(), data.absolute(), parts, arguments.without_deictic))


async def measure(folder: Path, data: Path, parts: Mapping[str, Weights], without_deictic: bool) -> None:
    judged = _judged(folder, without_deictic)
    answers = {id_: texts for id_, texts in load_answers(folder / "answers.jsonl").items() if id_ in judged.questions}
    whole: tuple[list[float], list[float]] | None = None
    async with indexed(folder / "corpus", data) as index:
        for name, weights in parts.items():
            results = await answer_all(judged, folder / "corpus", partial(_hits, index, weights))
            scored = scores(judged, rankings(results))
            covers = [float(held) for held in covered(judged, results, answers)]
            whole = whole or (scored["nDCG@10"], covers)
            row = {"collection": folder.name, "part": name, "questions": len(judged.grades)}
            row |= {measure: round(mean(scored[measure]), 4) for measure in ("nDCG@10", "R@5", "R@10")}
            row |= {"cover@5": round(mean(covers or [0]), 4), "halves": _halves(judged, results)}
            row |= {"whole_has_more": _told(whole[0], scored["nDCG@10"]), "and_covers": _told(whole[1], covers)}
            print(json.dumps(row), flush=True)


@asynccontextmanager
async def indexed(corpus: Path, data: Path) -> AsyncGenerator[Index]:
    """The index of a folder, made or brought up to date first."""
    subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "bridge.cli", "index", str(corpus), "--data", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    embedder = onnx.load("all-MiniLM-L6-v2", None, user_cache_path("tandem", appauthor=False) / "models", 1)
    (store_folder,) = Folder(data).stores.iterdir()
    with holding(Folder(data)), closing(Catalog(Folder(data).catalog)) as catalog:
        async with open_edge(store_folder, embedder.dimensions) as store:
            yield Index(catalog, store, embedder)


async def _hits(index: Index, weights: Weights, question: str, _limit: int) -> Sequence[Hit]:
    return (await search(index, question, _HITS, merge=False, weights=weights)).hits


def _judged(folder: Path, without_deictic: bool) -> Judged:
    judged = load(folder / "queries.jsonl", folder / "qrels.tsv")
    if not without_deictic:
        return judged
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    kept = {str(row["id"]) for row in rows if not row.get("deictic")}
    return Judged(
        {id_: text for id_, text in judged.questions.items() if id_ in kept},
        {id_: grades for id_, grades in judged.grades.items() if id_ in kept},
    )


def _halves(judged: Judged, results: Mapping[str, Result]) -> list[float]:
    halves: tuple[list[float], list[float]] = ([], [])
    scored = scores(judged, rankings(results))["nDCG@10"]
    for id_, score in zip(judged.grades, scored, strict=True):
        halves[zlib.crc32(id_.encode()) & 1].append(score)
    return [round(mean(half or [0]), 4) for half in halves]


def _told(whole: Sequence[float], part: Sequence[float]) -> list[float]:
    found = bootstrap.difference(whole, part)
    return [round(found.mean, 4), round(found.low, 4), round(found.high, 4)]


if __name__ == "__main__":
    main()
