"""What both rivals' scripts share: their arguments, their clock, and the count of what they embedded."""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

MODEL_TOKENS = 256  # what MiniLM reads of a text, its two marks included


@dataclass
class Clock:
    """Seconds by stage."""

    stages: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def stage(self, name: str) -> None:
        now = time.perf_counter()
        self.stages[name], self._last = round(now - self._last, 3), now


def arguments(**sizes: type) -> argparse.Namespace:
    """`sizes`: the options by which chunks are measured; none given means the rival's own default."""
    parser = argparse.ArgumentParser()
    for name in ("folder", "weights", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--threads", type=int, required=True)
    for name, kind in sizes.items():
        parser.add_argument(f"--{name}", type=kind)
    return parser.parse_args()


def tokenizer(weights: Path) -> Callable[[str], list[int]]:
    """A text's tokens without the two marks; nothing is cut off."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(weights / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return lambda text: found.encode(text, add_special_tokens=False).ids


def report(clock: Clock, weights: Path, documents: int, texts: Iterable[str], packages: Iterable[str]) -> None:
    """`texts`: each as the model got it. `tokens` counts what the model read, `truncated_chunks` what was cut."""
    counts = [len(tokens) + 2 for tokens in map(tokenizer(weights), texts)]
    result = {
        "documents": documents,
        "chunks": len(counts),
        "tokens": sum(min(count, MODEL_TOKENS) for count in counts),
        "truncated_chunks": sum(count > MODEL_TOKENS for count in counts),
        "stages_s": clock.stages,
        "versions": {package: version(package) for package in packages},
    }
    print(json.dumps(result))
