"""How well `indexer/relevance.py` tells passages that hold the answer from those that do not, on judged folders.

Each question's first ten passages, as `ask` gets them; one is relevant that is of a judged file and holds 80 % of an
answer's words. `auroc`; `called`: of the passages that hold the answer and of those that do not, the share that is
called relevant; `told` against `is`: the mean likelihood of tenths of the passages against the share that is relevant;
`foreign`: of the passages found for questions that no file answers (unanswerable.txt), the share called relevant.
Each on the second half of the questions (by a hash of their ids).

--fit prints weights: a logistic regression on the first halves, each folder counting alike, and in it the passages that
hold the answer as much as those that do not; so a passage is called relevant where it looks more like the former.
"""

import argparse
import json
import tempfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import numpy as np
from numpy.typing import NDArray

from benchmarks.answers import auroc
from benchmarks.cover import covers, load_answers
from benchmarks.quality import indexed
from indexer.evaluate import load
from indexer.hits import Hit
from indexer.relevance import relevance
from indexer.search import Index, look
from observability.evaluating import RELEVANT

_PASSAGES, _PASSAGE_CHARS = 10, 1_200
_TENTHS = 10
Row = tuple[bool, float, float, float, bool]
"""Whether the question is of the first half, cosine, pairs, stretch, whether the passage holds the answer."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--data", type=Path, help="the indexes, one in a folder of each name; default: temporary ones")
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    of_folders: list[list[Row]] = []
    with tempfile.TemporaryDirectory() as place:
        for folder in arguments.folders:
            data = (arguments.data or Path(place)) / folder.resolve().name
            of_folders.append(anyio.run(partial(measure, folder.resolve(), data.absolute())))
    if arguments.fit:
        print(json.dumps({"cosine known": _fitted(of_folders, [2, 3, 1]), "words alone": _fitted(of_folders, [2, 3])}))


async def measure(folder: Path, data: Path) -> list[Row]:
    judged, answers = load(folder / "queries.jsonl", folder / "qrels.tsv"), load_answers(folder / "answers.jsonl")
    rows: list[Row] = []
    async with indexed(folder / "corpus", data) as index:
        for id_, texts in answers.items():
            first_half = bool(zlib.crc32(id_.encode()) & 1)
            for hit in await _found(index, judged.questions[id_]):
                path = Path(hit.path).relative_to(folder / "corpus").as_posix()
                holds = covers(texts, [(path, hit.text[:_PASSAGE_CHARS])], judged.grades.get(id_, {}))
                rows.append((first_half, *_features(hit), holds))
        unanswerable = Path(__file__).with_name("unanswerable.txt").read_text("utf-8").splitlines()
        foreign = [relevance(*_features(hit)) for line in unanswerable for hit in await _found(index, line)]
    second = [row for row in rows if not row[0]]
    told = np.array([relevance(*row[1:4]) for row in second])
    holds = np.array([row[4] for row in second])
    figures = {
        "collection": folder.name,
        "passages": len(second),
        "auroc": round(auroc(told[holds].tolist(), told[~holds].tolist()), 3),
        "called": [round(float((told[which] >= RELEVANT).mean()), 3) for which in (holds, ~holds)],
        "foreign": round(float((np.array(foreign) >= RELEVANT).mean()), 3),
        "told": [round(float(part.mean()), 2) for part in np.array_split(np.sort(told), _TENTHS)],
        "is": [round(float(part.mean()), 2) for part in np.array_split(holds[np.argsort(told)], _TENTHS)],
    }
    print(json.dumps(figures), flush=True)
    return rows


async def _found(index: Index, question: str) -> Sequence[Hit]:
    return (await look(index, question, _PASSAGES, explain=True)).found.hits


def _features(hit: Hit) -> tuple[float, float, float]:
    parts = hit.scores or {}
    return hit.dense_score or 0.0, parts.get("pairs", 0.0), parts.get("stretch", 0.0)


def _fitted(of_folders: Sequence[Sequence[Row]], columns: Sequence[int]) -> list[float]:
    """The bias and the weights of `columns`, by Newton's method on the first halves."""
    rows = [[row for row in rows if row[0]] for rows in of_folders]
    features = np.array([[1.0, *(row[column] for column in columns)] for some in rows for row in some])
    holds = np.array([row[4] for some in rows for row in some], float)
    of_folder = np.concatenate([np.full(len(some), n) for n, some in enumerate(rows)])
    weight = np.empty(len(holds))
    for n in range(len(rows)):
        for kind in (0, 1):
            alike = (of_folder == n) & (holds == kind)
            weight[alike] = len(holds) / (2 * len(rows) * max(1, alike.sum()))
    found: NDArray[np.float64] = np.zeros(features.shape[1])
    for _ in range(30):
        told = 1 / (1 + np.exp(-features @ found))
        slope = features.T @ (weight * (holds - told))
        curve = (features * (weight * told * (1 - told))[:, None]).T @ features
        found += np.linalg.solve(curve + 1e-6 * np.eye(len(found)), slope)
    return [round(float(one), 2) for one in found]


if __name__ == "__main__":
    main()
