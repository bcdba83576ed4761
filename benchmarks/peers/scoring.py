"""What a run wrote becomes figures, each question's score kept: two runs are compared question by question."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cover import covered, load_answers
from benchmarks.daemons import percentile
from benchmarks.peers.peer import ASKED, PASSAGE_FILE, RUN
from indexer import bootstrap, evaluate
from indexer.evaluate import Judged, Result

NDCG, COVER = "nDCG@10", "cover@5"


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions, in a file as the peers read it, and what is known of them."""

    file: Path
    judged: Judged
    answers: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Scored:
    """`values`: measure -> a score for each question, the same questions in the same order for every run."""

    values: Mapping[str, Sequence[float]]
    times_ms: Sequence[float]

    def figures(self) -> dict[str, float]:
        means = evaluate.means({name: self.values[name] for name in (NDCG, "R@5", COVER)})
        times = {f"p{percent}_ms": round(percentile([*self.times_ms], percent), 2) for percent in (50, 99)}
        return {name: round(value, 4) for name, value in means.items()} | times


def cut(folder: Path, count: int | None, place: Path) -> Asked:
    """`count` questions out of all, evenly spread."""
    judged = evaluate.load(folder / "queries.jsonl", folder / "qrels.tsv")
    ids = [*judged.questions]
    chosen = dict.fromkeys(ids[:: max(1, len(ids) // count)][:count] if count else ids)
    questions = {id_: judged.questions[id_] for id_ in chosen}
    file = place / "questions.jsonl"
    file.write_text("".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in questions.items()), "utf-8")
    grades = {id_: judged.grades[id_] for id_ in chosen if id_ in judged.grades}
    answers = load_answers(folder / "answers.jsonl")
    return Asked(file, Judged(questions, grades), {id_: answers[id_] for id_ in chosen if id_ in answers})


def read(asked: Asked, results: Path) -> Scored:
    ranked = evaluate.load_run(results / RUN)
    rows = map(json.loads, (results / PASSAGE_FILE).read_text("utf-8").splitlines())
    passages = {row["id"]: [(one["path"], one["text"]) for one in row["passages"]] for row in rows}
    found = {
        id_: Result([(path, 0.0) for path in ranked.get(id_, ())], passages[id_]) for id_ in asked.judged.questions
    }
    values = evaluate.scores(asked.judged, ranked)
    cover = [float(whether) for whether in covered(asked.judged, found, asked.answers)]
    return Scored({**values, COVER: cover}, json.loads((results / ASKED).read_text())["times_ms"])


def compared(ours: Scored, theirs: Scored) -> dict[str, Any]:
    """Ours less theirs, with the interval in which 95 % of the resamples lie."""
    found = {name: bootstrap.difference(ours.values[name], theirs.values[name]) for name in (NDCG, COVER)}
    return {
        name: {"mean": round(one.mean, 4), "low": round(one.low, 4), "high": round(one.high, 4)}
        for name, one in found.items()
    }
