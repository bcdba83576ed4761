"""A judged collection becomes figures: is the right file found, and how high?

Files: questions as JSON lines {"id", "text"}, judgements as tab-separated `query-id, path, grade` with a heading.
The measures are the usual ones (Järvelin & Kekäläinen 2002 for nDCG), averaged over the judged questions.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

from indexer.hits import Hit

PATHS, PASSAGES, PASSAGE_CHARS = 100, 10, 1_200
_HITS = 300  # enough chunks for 100 files


class BadJudgements(Exception):
    """A file of questions or judgements is not as expected; the message says where."""


@dataclass(frozen=True, slots=True)
class Judged:
    """question id -> text, and question id -> path -> grade."""

    questions: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Result:
    """For one question: (path relative to the corpus, score) best first, and its best passages."""

    paths: Sequence[tuple[str, float]]
    passages: Sequence[tuple[str, str]]


def load(questions: Path, judgements: Path) -> Judged:
    """Raises BadJudgements."""
    try:
        rows = [json.loads(line) for line in questions.read_text("utf-8").splitlines() if line.strip()]
        asked = {str(row["id"]): str(row["text"]) for row in rows}
        grades: dict[str, dict[str, int]] = {}
        for line in judgements.read_text("utf-8").splitlines()[1:]:
            question, path, grade = line.split("\t")
            grades.setdefault(question, {})[path] = int(grade)
    except OSError as error:
        raise BadJudgements(f"{error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadJudgements(
            f'expected JSON lines {{"id", "text"}} in {questions} and a heading, then lines '
            f"`query-id<TAB>path<TAB>grade` in {judgements}: {error}"
        ) from error
    return Judged(asked, grades)


async def answer_all(
    judged: Judged, corpus: Path, search: Callable[[str, int], Awaitable[Sequence[Hit]]]
) -> dict[str, Result]:
    return {id_: _result(await search(text, _HITS), corpus) for id_, text in judged.questions.items()}


def metrics(judged: Judged, results: Mapping[str, Result]) -> dict[str, float]:
    """Of the questions that have judgements; one without a result counts 0."""
    rankings = {id_: [path for path, _ in results[id_].paths] if id_ in results else [] for id_ in judged.grades}
    rows = [(grades, rankings[id_]) for id_, grades in judged.grades.items()]
    count = max(1, len(rows))
    return {
        "queries": len(rows),
        "nDCG@10": sum(_ndcg(grades, ranking, 10) for grades, ranking in rows) / count,
        "R@5": sum(_recall(grades, ranking, 5) for grades, ranking in rows) / count,
        "R@10": sum(_recall(grades, ranking, 10) for grades, ranking in rows) / count,
        "R@100": sum(_recall(grades, ranking, 100) for grades, ranking in rows) / count,
        "RR@10": sum(_reciprocal(grades, ranking, 10) for grades, ranking in rows) / count,
    }


def run_lines(results: Mapping[str, Result]) -> list[str]:
    """`query-id, path, rank, score`, tab-separated: file names hold spaces."""
    return [
        f"{id_}\t{path}\t{rank}\t{score:.6f}"
        for id_, result in results.items()
        for rank, (path, score) in enumerate(result.paths, 1)
    ]


def passage_lines(results: Mapping[str, Result]) -> list[str]:
    return [
        json.dumps({"id": id_, "passages": [{"path": path, "text": text} for path, text in result.passages]})
        for id_, result in results.items()
    ]


def _result(hits: Sequence[Hit], corpus: Path) -> Result:
    best: dict[str, float] = {}
    for hit in hits:
        best.setdefault(_relative(hit.path, corpus), hit.score)
    passages = [(_relative(hit.path, corpus), hit.text[:PASSAGE_CHARS]) for hit in hits[:PASSAGES]]
    return Result(list(best.items())[:PATHS], passages)


def _relative(path: str, corpus: Path) -> str:
    return str(Path(path).relative_to(corpus))


def _ndcg(grades: Mapping[str, int], ranking: Sequence[str], k: int) -> float:
    gain = sum(grades.get(path, 0) / log2(rank + 1) for rank, path in enumerate(ranking[:k], 1))
    best = sorted(grades.values(), reverse=True)[:k]
    ideal = sum(grade / log2(rank + 1) for rank, grade in enumerate(best, 1))
    return gain / ideal if ideal else 0.0


def _recall(grades: Mapping[str, int], ranking: Sequence[str], k: int) -> float:
    right = {path for path, grade in grades.items() if grade > 0}
    return len(right & set(ranking[:k])) / len(right) if right else 0.0


def _reciprocal(grades: Mapping[str, int], ranking: Sequence[str], k: int) -> float:
    return next((1 / rank for rank, path in enumerate(ranking[:k], 1) if grades.get(path, 0) > 0), 0.0)
