"""Another model under constant search, and another store: what is embedded, what fails, what is found.

Real texts of this machine (benchmarks/real_files.py) and the real embedder; the other model is the same one at full
precision. The server's store runs in the client's in-memory mode, or in a real Qdrant where QDRANT_URL answers.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks import real_files
from benchmarks.daemons import daemon, log, settled, tandem
from bridge.settings import load
from bridge.tandem import Tandem, opened
from indexer.grow import Growth
from indexer.pipeline import Indexer
from indexer.search import Index, search
from indexer.store.server import open_server
from observability.traces import Off

QUERIES = 200
FP32 = {"TANDEM_EMBED_PRECISION": "fp32"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300)
    files: int = parser.parse_args().files
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        real_files.copy(real_files.find(files), home / "documents")
        data = home / "data"
        first = json.loads(tandem(data, "index", str(home / "documents"), "--json"))
        result: dict[str, Any] = {"chunks": first["embedded_chunks"]}
        shutil.copytree(data, home / "copy")
        result["stores"] = anyio.run(partial(stores, home / "copy"))
        result["model"] = model(data)
        print(json.dumps(result))


async def stores(data: Path) -> dict[str, Any]:
    """To a server's store and back, by the vectors there are."""
    async with opened(load(str(data), {}, data), Off()) as here:
        index, catalog = here.indexer.index, here.indexer.index.catalog
        queries = _queries([chunk.text for _, chunk in catalog.unfilled(-1, 10**9)])
        before = [await _top(index, query) for query in queries]
        url = os.environ.get("QDRANT_URL", ":memory:")
        async with open_server(url, os.environ.get("QDRANT_API_KEY"), "tandem-benchmark", 384) as server:
            there = Index(catalog, server, index.embedder)
            embedded = await _fill(here, there)
            on_server = [await _top(there, query) for query in queries]
            back = Index(catalog, index.store, index.embedder)
            embedded += await _fill(here, back)
            again = [await _top(back, query) for query in queries]
            await server.destroy()
    same = sum(one == other for one, other in zip(before, on_server, strict=True))
    return {
        "server": "in-memory mode of the client" if url == ":memory:" else "real",
        "queries": len(queries),
        "same_top_10": same,
        "same_after_coming_back": sum(one == other for one, other in zip(before, again, strict=True)),
        "embedded": embedded,
    }


async def _fill(here: Tandem, index: Index) -> int:
    catalog = index.catalog
    made = catalog.begin_generation(index.embedder.signature, index.embedder.dimensions, index.store.label, "grows")
    indexer = Indexer(here.indexer.index, here.indexer.read_file, growth=Growth(index, made, -1))
    embedded = 0
    while (step := await indexer.grow()) is not None:
        embedded += step
    return embedded


async def _top(index: Index, query: str) -> list[tuple[str, int | None, int | None]]:
    return [(hit.path, hit.start_line, hit.page) for hit in (await search(index, query, 10)).hits]


def _queries(texts: list[str]) -> list[str]:
    """A few neighbouring words of chunks here and there."""
    rng = random.Random(1)
    found: list[str] = []
    for text in rng.sample(sorted(texts), len(texts)):
        words = [word for word in text.split() if word.isalpha()]
        if len(words) > 12:
            start = rng.randrange(len(words) - 6)
            found.append(" ".join(words[start : start + rng.randint(1, 6)]))
    return found[:QUERIES]


def model(data: Path) -> dict[str, Any]:
    """The daemon is started with another model, searched all the time, killed half-way and started again."""
    searches, failed = Counter[str](), 0
    chunks = json.loads(tandem(data, "status", "--json"))["chunks"]
    with daemon(data, settings=FP32) as (client, pid):
        half = chunks // 2
        while (growing := client.get("/status").json()["growing"]) and growing["chunks_left"] > half:
            failed += not _searched(client, searches)
        os.kill(pid, signal.SIGKILL)
    kept = _vectors(data)
    with daemon(data, settings=FP32) as (client, _):
        start = time.monotonic()
        while client.get("/status").json()["growing"]:
            failed += not _searched(client, searches)
        settled(client)
        for _ in range(20):
            failed += not _searched(client, searches)
        status = client.get("/status").json()
    (embedded,) = re.findall(r"now answers; (\d+) chunks embedded", log(data).read_text())
    return {
        "searches": sum(searches.values()),
        "failed": failed,
        "by": dict(searches),
        "answers_now": status["embedding"].split("@")[0],
        "embedded_before_the_kill": kept["onnx-fp32:all-MiniLM-L6-v2"],
        "embedded_after_the_kill": int(embedded),
        "vectors_in_the_end": _vectors(data)["onnx-fp32:all-MiniLM-L6-v2"],
        "seconds_after_the_kill": round(time.monotonic() - start, 1),
    }


def _searched(client: Any, searches: Counter[str]) -> bool:
    """Counts by the model that answered. False: it failed, found nothing, or searched by words only."""
    before = client.get("/status").json()["embedding"]
    reply = client.post("/search", json={"query": "how is a file opened and read", "limit": 5})
    after = client.get("/status").json()["embedding"]
    if reply.status_code != 200 or reply.json()["degraded"]:
        return False
    searches["while it changed" if before != after else before.split("@")[0]] += 1
    return bool(reply.json()["hits"])


def _vectors(data: Path) -> dict[str, int]:
    """How many vectors of each model are kept: each is made once, for they are kept by text."""
    code = (
        "import sqlite3, sys, json; db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True); "
        "print(json.dumps(dict(db.execute('SELECT signature, count(*) FROM vectors JOIN models ON models.id = model "
        "GROUP BY 1'))))"
    )
    file = data / "catalog.sqlite3"
    done = subprocess.run([sys.executable, "-c", code, file], check=True, capture_output=True, text=True)
    return {name.split("@")[0]: count for name, count in json.loads(done.stdout).items()}


if __name__ == "__main__":
    main()
