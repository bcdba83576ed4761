"""From what is asked of it to machines: the sums of docs/SCALING.md, and how many workers by simulation."""

import random
from collections.abc import Mapping, Sequence
from math import ceil

from benchmarks.model import Constants, Life, share, simulate

# Measured on a processor of 2026's middle class, with their commands in docs/SCALING.md.
QUESTION_S = 0.020  # of the daemon's processor: embed, search, weave, check
FRAME_S = 0.000205  # of the daemon's processor, for what a worker sends in one go
TOKEN_S = 0.000007  # the same, for each token in it
FRAMES = 640  # a second, of one worker at most: 40 for each of 16 answers, and no more with more of them
CHUNK_BYTES = 3_000  # on disk: texts, words and vectors of 384 dimensions
SCAN_S = 95e-9  # of the embedded store, for each chunk
CHUNKS_PER_S = 26.0  # embedded by one processor
DEFAULTS: Mapping[str, float] = {
    "chunks": 100_000,
    "qps": 1.0,
    "tokens": 300,
    "slots": 32,
    "speed": 40.0,
    "half_at": 64.0,
    "first_s": 2.0,
    "hour": 0.0,
}
FOR_S = 300.0
MOST = 200


def wanted(words: Sequence[str]) -> dict[str, float]:
    """Ends the program for a name or number that is none."""
    found = dict(DEFAULTS)
    for word in words:
        name, _, number = word.partition("=")
        if name not in DEFAULTS or not number.replace(".", "", 1).isdigit():
            raise SystemExit(f"--plan was expected as NAME=NUMBER, of {', '.join(DEFAULTS)}; not {word!r}")
        found[name] = float(number)
        if name in ("tokens", "slots", "speed", "qps") and not found[name]:
            raise SystemExit(f"--plan's {name} was expected to be more than 0, not {number}")
    return found


def plan(asked: Mapping[str, float]) -> dict[str, float]:
    """`workers`: as few as hold the first word of 95 of 100 questions within `first_s`. Ends the program where no
    number does."""
    tokens_per_s = asked["qps"] * asked["tokens"]
    workers, first_s = fewest(asked)
    saying = min(tokens_per_s, FRAMES * workers) * FRAME_S + tokens_per_s * TOKEN_S
    bridge = asked["qps"] * (QUESTION_S + SCAN_S * asked["chunks"]) + saying
    return {
        "tokens_per_s": round(tokens_per_s),
        "workers": workers,
        "first_word_p95_s": round(first_s, 2),
        "bridges": max(1, ceil(bridge / 0.7)),
        "bridge_processors_busy": round(bridge, 2),
        "disk_gb": round(asked["chunks"] * CHUNK_BYTES / 1e9, 1),
        "indexing_processor_hours": round(asked["chunks"] / CHUNKS_PER_S / 3600, 1),
        "month": round(workers * asked["hour"] * 730),
    }


def fewest(asked: Mapping[str, float]) -> tuple[int, float]:
    slots = int(asked["slots"])
    crowd = 1 / (asked["half_at"] - 1) if asked["half_at"] > 1 else 0.0
    told = Constants(ask_s=QUESTION_S, begin_s=0.01, word_s=1 / asked["speed"], crowd=crowd, away_s=0.01)
    alone_s = simulate([(5.0, 1)], [Life(1)], told).asked[0].first_s
    if alone_s > asked["first_s"]:
        raise SystemExit(
            f"no number of workers brings a first word within {asked['first_s']} s: one alone has it in {alone_s:.3f} s"
        )
    arrivals = coming(asked["qps"], asked["tokens"])
    holds = slots * asked["speed"] / told.slowed(slots)
    for workers in range(max(1, ceil(asked["qps"] * asked["tokens"] / holds)), MOST):
        first_s = share([one.first_s for one in simulate(arrivals, [Life(slots)] * workers, told).asked], 0.95)
        if first_s <= asked["first_s"]:
            return workers, first_s
    raise SystemExit(f"{MOST} workers would not be enough: ask for less at once")


def coming(rate: float, tokens: float) -> list[tuple[float, float]]:
    chance, at = random.Random(1), 0.0
    found: list[tuple[float, float]] = []
    while at < max(FOR_S, 200 / rate):
        at += chance.expovariate(rate)
        found.append((at, tokens * chance.uniform(0.5, 1.5)))
    return found
