"""2 000 chunks through Ollama's HTTP interface while it fails in every way it can; then what several batches in flight
are worth. The server is tests/fake_ollama.py: real HTTP, real 768-d vectors, no model. With OLLAMA_HOST set it stands
before that Ollama, spoils the same, and hands on the rest.
"""

import json
import os
import random
import time
from collections.abc import Sequence
from typing import get_args

import anyio

from benchmarks import corpus
from indexer.embed import TextsRefused
from indexer.embed.ollama import Patience, open_ollama
from tests.fake_ollama import FakeOllama, Fault, fake_ollama

TEXTS, GROUP, EACH_FAULT = 2_000, 256, 3
BAD = range(50, TEXTS, 190)
LATENCY_S = 0.25  # of a batch of 32, as a small GPU has it
MODEL = os.environ.get("EMBEDDING_MODEL", "nomic-embed-text")
PREFIX = "search_document: "


async def main() -> None:
    host = os.environ.get("OLLAMA_HOST")
    upstream = None if host is None else host if "://" in host else f"http://{host}"
    result = {"server": upstream or "fake", "storm": await _storm(upstream)}
    result |= {f"in_flight_{n}": await _in_flight(upstream, n) for n in (1, 3)}
    print(json.dumps(result))


async def _storm(upstream: str | None) -> dict[str, object]:
    texts = _texts()
    for n in BAD:
        texts[n] += " unembeddable"
    async with fake_ollama(upstream) as server:
        server.refuses = lambda text: "unembeddable" in text
        # What is hung up on is noticed after 2 s here, after 20 s or more otherwise.
        patience = Patience(cold_s=120 if upstream else 2, warm_s=2, longest_pause_s=0.5)
        async with open_ollama(server.url, MODEL, patience=patience) as embedder:
            server.fault = _faults(server)
            start, refused = time.monotonic(), 0
            for first in range(0, TEXTS, GROUP):
                try:
                    await embedder.documents(texts[first : first + GROUP])
                except TextsRefused as error:
                    refused += len(error.refused)
            seconds = time.monotonic() - start
    times = [server.embedded[_prefix(text)] for n, text in enumerate(texts) if n not in BAD]
    return {
        "texts": TEXTS,
        "embedded_once": times.count(1),
        "embedded_more_than_once": sum(count > 1 for count in times),
        "embedded_never": times.count(0),
        "bad_texts": len(BAD),
        "refused": refused,
        "truncating_requests": int(server.truncating),
        "faults": dict(server.faults),
        "seconds": round(seconds, 1),
    }


async def _in_flight(upstream: str | None, batches: int) -> dict[str, float]:
    texts = _texts()[:512]
    async with fake_ollama(upstream) as server, open_ollama(server.url, MODEL, in_flight=batches) as embedder:
        await embedder.documents(texts[:32])  # a model is loaded once
        server.latency_s = 0 if upstream else LATENCY_S
        start = time.monotonic()
        await embedder.documents(texts[32:])
        seconds = time.monotonic() - start
    return {"texts_per_second": round((len(texts) - 32) / seconds, 1), "latency_of_a_batch_s": server.latency_s}


def _faults(server: FakeOllama):
    rng = random.Random(7)
    kinds: list[Fault] = [kind for kind in get_args(Fault) if kind not in ("400", "501")] * EACH_FAULT
    rng.shuffle(kinds)

    def fault(_: Sequence[str]) -> Fault | None:
        return kinds.pop() if kinds and rng.random() < 0.5 else None

    return fault


def _texts() -> list[str]:
    rng = random.Random(1)
    stream = corpus.sentences(corpus.words(20_000, rng), rng)
    return [" ".join(next(stream) for _ in range(12)) for _ in range(TEXTS)]


def _prefix(text: str) -> str:
    return (PREFIX if MODEL.startswith("nomic-embed-text") else "") + text


if __name__ == "__main__":
    anyio.run(main)
