"""Made-up prose with the word frequencies of real text (Zipf), the same on every run."""

import random
from collections.abc import Iterator
from pathlib import Path

_SYLLABLES = (
    "ba be bi bo bu da de di do du fa fe fi ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu".split()
)


def words(count: int, rng: random.Random) -> list[str]:
    return ["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4))) for _ in range(count)]


def sentences(vocabulary: list[str], rng: random.Random) -> Iterator[str]:
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    while True:
        some = rng.choices(vocabulary, weights, k=rng.randint(8, 20))
        yield " ".join(some).capitalize() + "."


def write(folder: Path, files: int, sentences_each: int, seed: int = 0) -> list[Path]:
    rng = random.Random(seed)
    stream = sentences(words(20_000, rng), rng)
    paths = [folder / f"{n // 100:02}" / f"note-{n:05}.txt" for n in range(files)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(next(stream) for _ in range(sentences_each)) + "\n")
    return paths
