"""Whether answers can be trusted, on a judged folder with answers' places: support, extracts, refusals.

One JSON object. The index is the one that `tandem eval` makes (`--data`: keep it for the next time). Every figure is of
the half of the questions that nothing was chosen on; `--half 0` is the other one.

`support`: AUROC of bridge/support.py between supported answers (as they stand in the text; paraphrased by rule) and
unsupported ones: another question's answer (of another file; of another place in the same file), and one number,
negation or name changed in a supported one. `extract`: share of questions whose extractive answer holds 80 % of the
words of a right answer, from a judged file, beside what the same number of characters of the ranked passages holds.
`refused`: of unanswerable.txt, questions of other fields, and, wrongly, of the judged ones.
"""

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from platformdirs import user_cache_path

from benchmarks.cover import words
from benchmarks.edits import EDITS, PARAPHRASES
from bridge.folder import Folder, holding
from bridge.grounding import THRESHOLD, checked
from bridge.support import support
from indexer.catalog import Catalog
from indexer.embed import onnx
from indexer.hits import Hit
from indexer.search import Index, search
from indexer.store.edge import open_edge
from inference_server import quotes as extracts
from inference_server.quotes import quotes, sentences
from wire import Passage

PASSAGE_CHARS = 1_200
TOP_K = 5  # RAG_TOP_K
POINTS = (1.0, 1.1, 1.2, 1.25, 1.3, 1.4, 1.5)
Pair = tuple[str, str]


@dataclass(frozen=True)
class Asked:
    id: str
    text: str
    answers: list[str]
    spans: list[dict[str, Any]]
    judged: frozenset[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="corpus/, queries.jsonl, qrels.tsv, answers.jsonl with spans")
    parser.add_argument("--data", type=Path, help="the index; default: a temporary one")
    parser.add_argument("--half", type=int, choices=(0, 1), default=1)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    asked = read(folder)[arguments.half :: 2]
    others = (Path(__file__).parent / "unanswerable.txt").read_text().splitlines()[arguments.half :: 2]
    figures: dict[str, Any] = {"questions": len(asked), "unanswerable": len(others)}
    figures["support"] = told_apart(folder, asked, random.Random(arguments.half))
    with tempfile.TemporaryDirectory() as place:
        texts = [*(one.text for one in asked), *others]
        found = anyio.run(hits_of, folder, (arguments.data or Path(place)).absolute(), texts)
    figures["extract"] = extract(folder, asked, found)
    figures["refused"] = refusals(asked, others, found)
    print(json.dumps(figures))


def read(folder: Path) -> list[Asked]:
    questions = {row["id"]: row["text"] for row in map(json.loads, _lines(folder / "queries.jsonl"))}
    judged: dict[str, set[str]] = collections.defaultdict(set)
    for line in _lines(folder / "qrels.tsv")[1:]:
        id_, path, grade = line.split("\t")
        if int(grade) > 0:
            judged[id_].add(path)
    rows = map(json.loads, _lines(folder / "answers.jsonl"))
    return [Asked(r["id"], questions[r["id"]], r["answers"], r["spans"], frozenset(judged[r["id"]])) for r in rows]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


# Support


def told_apart(folder: Path, asked: Sequence[Asked], chance: random.Random) -> dict[str, Any]:
    texts = {file.name: file.read_text() for file in (folder / "corpus").iterdir()}
    supported, paraphrased, spoilt = pairs(texts, asked, chance)
    start = time.process_time()
    good = [support(*pair) for pair in supported]
    reworded = [support(*pair) for pair in paraphrased]
    bad = {kind: [support(*pair) for pair in found] for kind, found in spoilt.items()}
    count = len(good) + len(reworded) + sum(map(len, bad.values()))
    return {
        "pairs": count,
        "cpu_ms_a_pair_with_reading": round(1000 * (time.process_time() - start) / count, 2),
        "auroc": {kind: round(auroc(good + reworded, found), 3) for kind, found in bad.items()},
        "auroc_against_verbatim": {kind: round(auroc(good, found), 3) for kind, found in bad.items()},
        "auroc_against_paraphrases": {kind: round(auroc(reworded, found), 3) for kind, found in bad.items()},
        "threshold": THRESHOLD,
        "over_it": {
            "verbatim": _over(good),
            "paraphrased": _over(reworded),
            **{kind: _over(found) for kind, found in bad.items()},
        },
    }


def pairs(
    texts: dict[str, str], asked: Sequence[Asked], chance: random.Random
) -> tuple[list[Pair], list[Pair], dict[str, list[Pair]]]:
    """(sentence, passage): as it stands, in other words, and spoilt by kind."""
    supported: list[Pair] = []
    paraphrased: list[Pair] = []
    spoilt: dict[str, list[Pair]] = collections.defaultdict(list)
    for one in asked:
        passage = around(texts, one.spans[0])
        long = [sentence for sentence in sentences(passage) if len(sentence) > 60]
        said = [" ".join(one.answers[0].split()), *([" ".join(chance.choice(long).split())] if long else [])]
        for sentence in said:
            supported.append((sentence, passage))
            reworded = [new for change in PARAPHRASES.values() if (new := change(sentence, chance)) and new != sentence]
            paraphrased += [(new, passage) for new in reworded]
            for kind, edit in EDITS.items():
                for source in (sentence, *chance.sample(reworded, min(1, len(reworded)))):
                    if (new := edit(source, passage, chance)) and new != source:
                        spoilt[kind].append((new, passage))
        file, start = one.spans[0]["path"], one.spans[0]["start"]
        elsewhere = [o for o in asked if o.spans[0]["path"] != file]
        apart = [
            o for o in asked if o.spans[0]["path"] == file and abs(o.spans[0]["start"] - start) > 2 * PASSAGE_CHARS
        ]
        for kind, pool in (("swapped", elsewhere), ("swapped within the file", apart)):
            if pool:
                spoilt[kind].append((" ".join(chance.choice(pool).answers[0].split()), passage))
    return supported, paraphrased, spoilt


def around(texts: dict[str, str], span: dict[str, Any]) -> str:
    text = texts[span["path"]]
    start = max(0, min(span["start"], (span["start"] + span["end"] - PASSAGE_CHARS) // 2))
    blank = text.find(" ", start, span["start"])
    start = 0 if start == 0 else blank + 1 if blank >= 0 else span["start"]
    return text[start : max(span["end"], start + PASSAGE_CHARS)]


def auroc(good: Sequence[float], bad: Sequence[float]) -> float:
    """How often a supported one has more than an unsupported one; a tie counts half."""
    ranked = sorted(good)
    wins = sum(len(ranked) - (bisect_left(ranked, score) + bisect_right(ranked, score)) / 2 for score in bad)
    return wins / max(1, len(ranked) * len(bad))


def _over(scores: Sequence[float]) -> float:
    return round(sum(score >= THRESHOLD for score in scores) / max(1, len(scores)), 3)


# Extracts


async def hits_of(folder: Path, data: Path, texts: Sequence[str]) -> dict[str, tuple[Hit, ...]]:
    files = ["--queries", str(folder / "queries.jsonl"), "--qrels", str(folder / "qrels.tsv")]
    if not Folder(data).stores.exists():
        subprocess.run(  # noqa: ASYNC221
            [sys.executable, "-m", "bridge.cli", "eval", str(folder / "corpus"), *files, "--data", str(data)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    embedder = onnx.load("all-MiniLM-L6-v2", None, user_cache_path("tandem", appauthor=False) / "models", 1)
    (store_folder,) = Folder(data).stores.iterdir()
    with holding(Folder(data)), closing(Catalog(Folder(data).catalog)) as catalog:
        async with open_edge(store_folder, embedder.dimensions) as store:
            index = Index(catalog, store, embedder)
            return {text: (await search(index, text, TOP_K)).hits for text in texts}


def extract(folder: Path, asked: Sequence[Asked], found: dict[str, tuple[Hit, ...]]) -> dict[str, Any]:
    held = same_characters = characters = verdicts = 0
    for one in asked:
        hits = found[one.text]
        quoted = quotes(one.text, [_passage(hit) for hit in hits])
        size = sum(len(quote.text) for quote in quoted)
        characters += size
        held += covered(one, folder, [(hits[quote.n - 1].path, quote.text) for quote in quoted])
        same_characters += covered(one, folder, _cut(hits, size))
        answer = "\n\n".join(f"{quote.text} [{quote.n}]" for quote in quoted) or "The documents do not say."
        verdicts += checked(answer, hits).grounded is not False
    every = [(hit.path, hit.text) for one in asked for hit in found[one.text]]
    return {
        "cover": round(held / len(asked), 4),
        "cover_of_the_same_characters": round(same_characters / len(asked), 4),
        "cover_of_all_passages": _share(asked, lambda one: covered(one, folder, _cut(found[one.text], 10**9))),
        "characters": round(characters / len(asked)),
        "characters_of_all_passages": round(sum(len(text) for _, text in every) / len(asked)),
        "not_called_ungrounded": round(verdicts / len(asked), 4),
    }


def covered(one: Asked, folder: Path, pieces: Sequence[tuple[str, str]]) -> bool:
    """As score.py's cover: the pieces of judged files hold at least 80 % of an answer's words."""
    right = (text for path, text in pieces if str(Path(path).relative_to(folder / "corpus")) in one.judged)
    have = collections.Counter(words("\n".join(right)))
    wanted = [collections.Counter(words(text)) for text in one.answers if words(text)]
    return any((want & have).total() >= 0.8 * want.total() for want in wanted)


def _cut(hits: Sequence[Hit], size: int) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    for hit in hits:
        pieces.append((hit.path, hit.text[: max(0, size)]))
        size -= len(hit.text)
    return pieces


def _passage(hit: Hit) -> Passage:
    return Passage(text=hit.text, path=hit.path, score=hit.score, heading=hit.heading)


# Refusals


def refusals(asked: Sequence[Asked], others: Sequence[str], found: dict[str, tuple[Hit, ...]]) -> dict[str, Any]:
    def refused(text: str, point: float) -> bool:
        extracts.EVIDENT = point
        return not quotes(text, [_passage(hit) for hit in found[text]])

    chosen = extracts.EVIDENT
    curve = {
        point: {
            "unanswerable": _share(others, lambda text, point=point: refused(text, point)),
            "answerable": _share(asked, lambda one, point=point: refused(one.text, point)),
        }
        for point in sorted({0.0, chosen, *POINTS})
    }
    extracts.EVIDENT = chosen
    return {"at": chosen, **curve[chosen], "curve": curve}


def _share(these: Sequence[Any], holds: Callable[[Any], bool]) -> float:
    return round(sum(map(holds, these)) / max(1, len(these)), 4)


if __name__ == "__main__":
    main()
