"""What `tandem trace` did becomes JSON and words for people (pure)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.comparing import Compared, Scores, most_lost
from bridge.terminal import on_one_line, table
from indexer.bootstrap import interval
from observability.datasets import Example, Experiment, Run

_LOST_SHOWN = 10
_QUESTION_CHARS = 120
_OF_THE_INDEX = frozenset({"as_of", "made_by"})  # differs between any two
_ORDER = ("worse", "better", "no change", "too few questions")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`left_out`: examples of the dataset that nothing can be asked of."""

    dataset: str
    experiment: Experiment
    runs: Sequence[Run]
    examples: Sequence[Example]
    left_out: int
    url: str


@dataclass(frozen=True, slots=True)
class Against:
    experiment: Experiment
    scores: Scores
    compared: Mapping[str, Compared]


def scores_of(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """measure -> example's id -> score, of what could be judged."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        for name, (score, _) in run.scores.items():
            if score is not None:
                found.setdefault(name, {})[run.example] = score
    return found


def counted(reasons: Iterable[str]) -> list[dict[str, Any]]:
    return [{"reason": reason, "count": count} for reason, count in Counter(reasons).most_common()]


def report(done: Outcome, against: Against | None) -> dict[str, Any]:
    questions = {one.id: str(one.input["question"]) for one in done.examples}
    scores = scores_of(done.runs)
    return {
        "dataset": done.dataset,
        "experiment": {"id": done.experiment.id, "name": done.experiment.name},
        "questions": len(done.runs),
        "left_out": done.left_out,
        "failed": [{"question": questions[run.example], "reason": run.error} for run in done.runs if run.error],
        "settings": done.experiment.metadata,
        "measures": {
            name: {"questions": len(of), "mean": sum(of.values()) / len(of), "interval": interval(list(of.values()))}
            for name, of in scores.items()
        },
        "against": _against(done.experiment, against, scores, questions) if against else None,
        "verdict": min((one.verdict for one in against.compared.values()), key=_ORDER.index, default=None)
        if against
        else None,
        "url": done.url,
    }


def _against(now: Experiment, against: Against, scores: Scores, questions: Mapping[str, str]) -> dict[str, Any]:
    before = against.experiment
    lost = most_lost(against.compared, scores, against.scores)
    return {
        "id": before.id,
        "name": before.name,
        "changed": {
            name: [before.metadata.get(name), now.metadata.get(name)]
            for name in now.metadata
            if name not in _OF_THE_INDEX and before.metadata.get(name) != now.metadata[name]
        },
        "measures": {name: _measure(one) for name, one in against.compared.items()},
        "lost": [
            {
                "question": questions[id_],
                "measures": {
                    name: [against.scores[name][id_], scores[name][id_]]
                    for name, one in against.compared.items()
                    if id_ in one.lost
                },
            }
            for id_ in lost
        ],
    }


def _measure(one: Compared) -> dict[str, Any]:
    by = one.difference
    return {
        "questions": one.questions,
        "now": one.now,
        "before": one.before,
        "difference": by.mean,
        "interval": [by.low, by.high],
        "better": by.wins,
        "worse": by.losses,
        "equal": by.ties,
        "verdict": one.verdict,
    }


def eval_in_words(told: Mapping[str, Any]) -> str:
    lines = [
        f"{_many(told['traces'], 'trace')} since {told['since']}: {_many(told['annotations'], 'annotation')} "
        f"on {_many(told['spans'], 'span')}"
    ]
    return "\n".join([*lines, *_reasons("could not be judged", told["unjudged"])])


def export_in_words(told: Mapping[str, Any]) -> str:
    lines = [
        f"{_many(told['added'], 'question')} added to the dataset {on_one_line(told['dataset'])!r}, which holds "
        f"{told['examples']} now; {told['known']} it had already, and {told['repeated']} were asked again"
    ]
    return "\n".join([*lines, *_reasons("left out", told["unfit"])])


def experiment_in_words(told: Mapping[str, Any]) -> str:
    return "\n".join(_told(told))


def _told(told: Mapping[str, Any]) -> Iterator[str]:
    against = told["against"]
    settings = told["settings"]
    yield f"experiment  {on_one_line(told['experiment']['name'])}: {_many(told['questions'], 'question')}, " + (
        f"the first {_many(settings['k'], 'passage')} of each"
    )
    if told["left_out"]:
        yield f"left out    {_many(told['left_out'], 'example')} without a question or evidence"
    for one in told["failed"][:_LOST_SHOWN]:
        yield f"failed      {_short(one['question'])}: {on_one_line(one['reason'])}"
    if against is None:
        yield "against     nothing: it is the first one of this dataset"
        rows = [(name, str(one["questions"]), *_cells(one["mean"], one["interval"])) for name, one in _measures(told)]
        yield "\n" + table(("", "QUESTIONS", "MEAN", "95 %"), rows)
    else:
        yield f"against     {on_one_line(against['name'])}"
        for name, (before, now) in against["changed"].items():
            yield f"changed     {name.replace('_', ' ')}: {on_one_line(str(before))} -> {on_one_line(str(now))}"
        rows = [
            (
                name,
                str(one["questions"]),
                f"{one['before']:.3f}",
                f"{one['now']:.3f}",
                *_cells(one["difference"], one["interval"], sign=True),
                one["verdict"],
            )
            for name, one in _measures(against)
        ]
        yield "\n" + table(("", "QUESTIONS", "BEFORE", "NOW", "DIFFERENCE", "95 %", "VERDICT"), rows)
        yield from _lost(against["lost"])
    yield f"\nside by side: {told['url']}"


def _lost(lost: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if lost:
        yield "\nwhat lost most"
    for one in lost[:_LOST_SHOWN]:
        by = ", ".join(f"{name} {before:.2f} -> {now:.2f}" for name, (before, now) in one["measures"].items())
        yield f"  {_short(one['question'])}\n    {by}"
    if len(lost) > _LOST_SHOWN:
        yield f"  and {len(lost) - _LOST_SHOWN} more: --json"


def _measures(told: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    return told["measures"].items()


def _cells(mean: float, limits: Sequence[float], sign: bool = False) -> tuple[str, str]:
    style = "+.3f" if sign else ".3f"
    return f"{mean:{style}}", f"{limits[0]:{style}} to {limits[1]:{style}}"


def _reasons(head: str, reasons: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from (f"{head}: {one['count']}, {one['reason']}" for one in reasons)


def _many(count: int, of: str) -> str:
    return f"{count} {of}{'s' * (count != 1)}"


def _short(question: str) -> str:
    line = on_one_line(question)
    return line if len(line) <= _QUESTION_CHARS else line[: _QUESTION_CHARS - 1] + "…"
