"""What `tandem eval` measured becomes JSON, tables for people, and questions that are kept (pure)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.own_files import NEAR, Asked, Own, never_found
from bridge.terminal import table
from indexer.evaluate import intervals, means
from indexer.salient import Unasked

_WORST = 10
_SHOWN = 20
_SNIPPET_CHARS = 200


def report(own: Own) -> dict[str, Any]:
    """`recall@k`: of the questions whose file (or passage) is among the first k; `MRR@10`: one by its rank, 0 beyond
    the tenth."""
    files = _scores([one.file_rank for one in own.asked])
    passages = _scores([one.passage_rank for one in own.asked])
    by_engine = sum(one.by_engine for one in own.asked)
    return {
        "questions": len(own.asked),
        "by_engine": by_engine,
        "by_masking": len(own.asked) - by_engine,
        "fell_back": own.fell_back,
        "files": means(files),
        "passages": means(passages),
        "intervals": {"files": intervals(files), "passages": intervals(passages)},
        "documents": own.documents,
        "asked": len({one.item.path for one in own.asked}),
        "never_found": [_named(own, one) for one in never_found(own)],
        "not_asked": [_named(own, one) for one in own.unasked],
        "worst": [_told(own, one) for one in _worst(own.asked)],
    }


def questions(own: Own) -> list[str]:
    """As `tandem eval --queries` takes them; the sentence is for who reads them."""
    return [
        json.dumps({"id": one.item.id, "text": one.item.question, "sentence": one.item.sentence}, ensure_ascii=False)
        for one in own.asked
    ]


def judgements(own: Own) -> list[str]:
    """As `tandem eval --qrels` takes them: the file that a question was made from is the right one."""
    return ["query-id\tpath\tgrade", *(f"{one.item.id}\t{one.item.path}\t1" for one in own.asked)]


def judged_in_words(measured: Mapping[str, Any]) -> str:
    """The measures with their intervals; beside an earlier run's, with the difference."""
    named = measured["intervals"]
    rows = [[name, f"{measured[name]:.4f}", _between(*limits)] for name, limits in named.items()]
    heads = ["", "mean", "95 %"]
    if against := measured.get("against"):
        heads += ["difference", "95 %", "better", "worse", "same"]
        for row in rows:
            one = against[row[0]]
            counts = [str(one[count]) for count in ("wins", "losses", "ties")]
            row += [f"{one['mean']:+.4f}", f"{one['low']:+.4f} to {one['high']:+.4f}", *counts]
    return f"queries  {measured['queries']}\n{table(heads, rows)}"


def own_in_words(measured: Mapping[str, Any]) -> str:
    return "\n".join(_lines(measured))


def _lines(measured: Mapping[str, Any]) -> Iterator[str]:
    wording = f"{measured['by_engine']} in the engine's words, {measured['by_masking']} masked sentences"
    yield f"{measured['questions']} questions about {measured['asked']} of {measured['documents']} files: {wording}"
    if measured["by_masking"]:
        yield "a masked sentence is easier than what people ask: it shows what is never found, and compares settings"
    if measured["fell_back"]:
        yield f"for {measured['fell_back']} the engine said no question: they are masked sentences instead"
    named = measured["intervals"]
    rows = [
        [name, *(cell for side in ("files", "passages") for cell in _cells(measured[side][name], named[side][name]))]
        for name in measured["files"]
    ]
    yield "\n" + table(["", "file", "95 %", "passage", "95 %"], rows)
    lost, unasked, worst = measured["never_found"], measured["not_asked"], measured["worst"]
    yield f"\nnever found among the first {NEAR}: {len(lost)}"
    yield from _listed(lost)
    if unasked:
        yield f"\nnothing could be asked of {len(unasked)}"
        yield from _listed(unasked)
    if worst:
        yield "\nthe worst questions"
    for one in worst:
        yield f"  {one['question']}\n    wanted  {one['path']}, which came {_ordinal(one['file_rank'])}"
        yield from (f"    found   {hit['path']}" for hit in one["found"])


def _listed(files: Sequence[Mapping[str, str]]) -> Iterator[str]:
    yield from (f"  {one['path']}: {one['reason']}" for one in files[:_SHOWN])
    if len(files) > _SHOWN:
        yield f"  and {len(files) - _SHOWN} more: --json"


def _scores(ranks: Sequence[int | None]) -> dict[str, list[float]]:
    def within(k: int) -> list[float]:
        return [float(rank is not None and rank <= k) for rank in ranks]

    reciprocal = [1 / rank if rank and rank <= NEAR else 0.0 for rank in ranks]
    return {"recall@1": within(1), "recall@5": within(5), "recall@10": within(10), "MRR@10": reciprocal}


def _worst(asked: Sequence[Asked]) -> list[Asked]:
    missed = [one for one in asked if one.file_rank != 1]
    return sorted(missed, key=lambda one: -(one.file_rank or 10**9))[:_WORST]


def _told(own: Own, one: Asked) -> dict[str, Any]:
    return {
        "id": one.item.id,
        "question": one.item.question,
        "path": str(own.corpus / one.item.path),
        "sentence": one.item.sentence,
        "file_rank": one.file_rank,
        "passage_rank": one.passage_rank,
        "found": [
            {"path": hit.path, "heading": hit.heading, "score": hit.score, "text": hit.text[:_SNIPPET_CHARS]}
            for hit in one.hits
        ],
    }


def _named(own: Own, one: Unasked) -> dict[str, str]:
    return {"path": str(own.corpus / one.path), "reason": one.reason}


def _cells(mean: float, limits: tuple[float, float]) -> tuple[str, str]:
    return f"{mean:.3f}", _between(*limits, digits=3)


def _between(low: float, high: float, digits: int = 4) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _ordinal(rank: int | None) -> str:
    return f"at {rank}" if rank else "nowhere"
