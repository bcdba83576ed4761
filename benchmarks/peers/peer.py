"""What the peers' scripts share: `SCRIPT index …` makes an index on disk, `SCRIPT ask …` opens it and is asked.

Each is a process of its own, so that its time and memory are its own. Standard library only: the scripts run in the
peers' environments, and Tandem itself is asked by the same `ask`.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL_TOKENS = 256  # what MiniLM reads of a text, its two marks included
LATENCY_HITS, QUALITY_HITS = 10, 100  # chunks asked for
LATENCY_QUESTIONS, WARM_UP = 400, 20
PATHS, PASSAGES, PASSAGE_CHARS = 100, 10, 1_200
RUN, PASSAGE_FILE, ASKED = "run.tsv", "passages.jsonl", "asked.json"


class Found(NamedTuple):
    """A chunk: its file and its text. Where it stands in the list says how good it is."""

    path: Path
    text: str


class Made(NamedTuple):
    """`texts`: each chunk as the model got it."""

    documents: int
    texts: Sequence[str]


Search = Callable[[str, int], Sequence[Found]]
Index = Callable[[argparse.Namespace], Made]
Opened = Callable[[argparse.Namespace], AbstractContextManager[Search]]


def _since_start_s() -> float:
    """Of the process: its imports count."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


@dataclass
class Clock:
    """Seconds by stage, and processor seconds."""

    stages_s: dict[str, float] = field(default_factory=dict)
    stages_cpu_s: dict[str, float] = field(default_factory=dict)
    _last: tuple[float, float] = field(default_factory=lambda: (time.perf_counter() - _since_start_s(), 0.0))

    def stage(self, name: str) -> None:
        wall, cpu = now = time.perf_counter(), time.process_time()
        self.stages_s[name] = round(wall - self._last[0], 3)
        self.stages_cpu_s[name] = round(cpu - self._last[1], 3)
        self._last = now


clock = Clock()


def main(index: Index, opened: Opened, packages: Iterable[str]) -> None:
    """Prints one JSON line."""
    given = _arguments()
    if given.do == "ask":
        with opened(given) as search:
            ask(search, given.folder, given.questions, given.results)
        return
    made = index(given)
    result = {
        "documents": made.documents,
        "chunks": len(made.texts),
        "stages_s": clock.stages_s,
        "stages_cpu_s": clock.stages_cpu_s,
        "versions": {package: version(package) for package in packages},
    }
    print(json.dumps(result | (_counted(made.texts, given.weights) if given.count else {})))


def ask(search: Search, folder: Path, questions: Path, results: Path) -> None:
    """First the time, while no question was heard before; then what is scored, written into `results`.

    The warm-up asks other words: those of some questions, turned round.
    """
    rows: list[dict[str, str]] = [json.loads(line) for line in questions.read_text("utf-8").splitlines()]
    for row in rows[:WARM_UP]:
        search(" ".join(reversed(row["text"].split())), LATENCY_HITS)
    times_ms = list[float]()
    for row in rows[:: max(1, len(rows) // LATENCY_QUESTIONS)]:
        start = time.perf_counter()
        search(row["text"], LATENCY_HITS)
        times_ms.append((time.perf_counter() - start) * 1e3)
    found = {row["id"]: search(row["text"], QUALITY_HITS) for row in rows}
    results.mkdir(parents=True, exist_ok=True)
    (results / ASKED).write_text(json.dumps({"times_ms": times_ms}))
    _write(found, folder, results)


def texts(folder: Path) -> list[tuple[Path, str]]:
    """Every file, for those that bring no reader of their own."""
    return [(path, path.read_text("utf-8", "replace")) for path in files(folder)]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def tokens(weights: Path) -> Callable[[str], list[int]]:
    """Of a text, without the two marks; nothing is cut off."""
    whole = tokenizer(weights)
    return lambda text: whole.encode(text, add_special_tokens=False).ids


def tokenizer(weights: Path) -> "Tokenizer":
    """The model's own cuts and fills a text to 128."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(weights / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


def _write(found: Mapping[str, Sequence[Found]], folder: Path, results: Path) -> None:
    """The score falls with the rank: equal scores would be put into an order of the scorer's own."""
    run, passages = list[str](), list[str]()
    for id_, chunks in found.items():
        placed = [(str(chunk.path.relative_to(folder)), chunk.text[:PASSAGE_CHARS]) for chunk in chunks]
        best = list(dict.fromkeys(path for path, _ in placed))[:PATHS]
        run += [f"{id_}\t{path}\t{rank}\t{1 / rank:.6f}" for rank, path in enumerate(best, 1)]
        rows = [{"path": path, "text": text} for path, text in placed[:PASSAGES]]
        passages.append(json.dumps({"id": id_, "passages": rows}))
    for name, lines in ((RUN, run), (PASSAGE_FILE, passages)):
        (results / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _counted(given: Sequence[str], weights: Path) -> dict[str, int]:
    """`tokens` counts what the model read, `truncated_chunks` what was cut."""
    counts = [len(ids) + 2 for ids in map(tokens(weights), given)]
    return {
        "tokens": sum(min(count, MODEL_TOKENS) for count in counts),
        "truncated_chunks": sum(count > MODEL_TOKENS for count in counts),
    }


def _arguments() -> argparse.Namespace:
    """Without `--size` the peer's own default sizes its chunks."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="do", required=True)
    index, asked = commands.add_parser("index"), commands.add_parser("ask")
    for command in (index, asked):
        for name in ("folder", "weights", "out"):
            command.add_argument(name, type=Path)
        command.add_argument("--threads", type=int, required=True)
    index.add_argument("--size", type=int)
    index.add_argument("--overlap", type=int)
    index.add_argument("--count", action="store_true", help="the tokens too, which costs time of its own")
    asked.add_argument("--way", required=True)
    asked.add_argument("--questions", type=Path, required=True)
    asked.add_argument("--results", type=Path, required=True)
    return parser.parse_args()
