"""A judged collection becomes figures: is the right file found, and how high?

Files: questions as JSON lines {"id", "text"}, judgements as tab-separated `query-id, path, grade` with a heading.
The measures are the usual ones (Järvelin & Kekäläinen 2002 for nDCG), averaged over the judged questions.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import log2
from pathlib import Path

from indexer import bootstrap
from indexer.hits import Hit

PATHS, PASSAGES, PASSAGE_CHARS = 100, 10, 1_200
_HITS = 300  # enough chunks for 100 files


class BadJudgements(Exception):
    """A file of questions, judgements or a run is not as expected; the message says where."""


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


def load_run(file: Path) -> dict[str, list[str]]:
    """question id -> paths, best first, of what `run_lines` wrote. Raises BadJudgements."""
    try:
        ranks: dict[str, list[tuple[int, str]]] = {}
        for line in file.read_text("utf-8").split("\n"):
            if line:
                question, path, rank, _ = line.split("\t")
                ranks.setdefault(question, []).append((int(rank), path))
    except OSError as error:
        raise BadJudgements(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadJudgements(
            f"expected lines `query-id<TAB>path<TAB>rank<TAB>score` in {file}, as --run writes them: {error}"
        ) from error
    return {question: [path for _, path in sorted(found)] for question, found in ranks.items()}


def rankings(results: Mapping[str, Result]) -> dict[str, list[str]]:
    return {id_: [path for path, _ in result.paths] for id_, result in results.items()}


def scores(judged: Judged, ranked: Mapping[str, Sequence[str]]) -> dict[str, list[float]]:
    """measure -> a score for each question that has judgements, in their order; one without a ranking has 0."""
    rows = [(grades, ranked.get(id_, ())) for id_, grades in judged.grades.items()]
    return {name: [measure(grades, ranking) for grades, ranking in rows] for name, measure in _MEASURES.items()}


def metrics(judged: Judged, results: Mapping[str, Result]) -> dict[str, float]:
    """The means over the questions that have judgements."""
    return {"queries": len(judged.grades), **means(scores(judged, rankings(results)))}


def means(scored: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: sum(values) / max(1, len(values)) for name, values in scored.items()}


def intervals(scored: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Of the means, 95 %, over the questions."""
    return {name: bootstrap.interval(values) for name, values in scored.items()}


def differences(
    judged: Judged, now: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]]
) -> dict[str, bootstrap.Difference]:
    """Of two rankings over the same judged questions, paired."""
    new, old = scores(judged, now), scores(judged, before)
    return {name: bootstrap.difference(new[name], old[name]) for name in new}


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


_MEASURES: Mapping[str, Callable[[Mapping[str, int], Sequence[str]], float]] = {
    "nDCG@10": partial(_ndcg, k=10),
    "R@5": partial(_recall, k=5),
    "R@10": partial(_recall, k=10),
    "R@100": partial(_recall, k=100),
    "RR@10": partial(_reciprocal, k=10),
}
