"""Search latency, warm, at 20 000 chunks or as many as are asked for: the whole daemon over HTTP against its two bare
parts, in one run, and where its time goes.

The chunks' vectors are random (their values do not matter to a scan); embedder, store, catalog and daemon are real.
Baseline: embedding the query and one raw store query (dense and BM25 in one batch), in this process, on a copy of
the daemon's store. The two are asked in turn; no query was heard by the daemon before. `stages_p50_ms` is
what `--explain` shows, of queries of its own. Then HTTP queries while the daemon indexes new files.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import anyio
import httpx
import numpy as np

from benchmarks import corpus
from benchmarks.daemons import daemon, percentile, settled
from bridge.folder import Folder
from bridge.settings import Settings
from bridge.tandem import opened
from indexer import bm25, lexical
from indexer.catalog import Catalog
from indexer.embed import onnx
from indexer.embed.onnx import OnnxEmbedder
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS
from indexer.read import read
from indexer.records import searched, vector_key
from indexer.sandbox import LIMITS
from indexer.store.edge import open_edge
from observability.traces import Off

CHUNKS, CHUNKS_A_FILE, QUERIES = 20_000, 20, 400
NEW_FILES = 60
QUERY_EVERY_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=CHUNKS, help=f"about so many (default: {CHUNKS})")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        anyio.run(partial(measure, Path(place), arguments.chunks // CHUNKS_A_FILE))


async def measure(home: Path, files: int) -> None:
    paths = corpus.write(home / "documents", files, 94)
    more = home / "more"
    corpus.write(more, NEW_FILES, 60, seed=1)
    settings = Settings(home / "data", embedding_model="all-MiniLM-L6-v2", engine="extractive")
    embedder = onnx.load("all-MiniLM-L6-v2", None, models(), 1)
    chunks = await fill(settings, embedder, home / "documents", paths)
    (store,) = Folder(settings.data).stores.iterdir()
    shutil.copytree(store, home / "copy")
    queries = _queries(paths)
    async with open_edge(home / "copy", embedder.dimensions) as copy:

        async def bare(query: str) -> None:
            vector = await embedder.query(query)
            await copy.search(vector, bm25.query_vector(lexical.asked(query)), 100)

        with daemon(settings.data) as (client, _):
            settled(client)
            for query in queries[:50]:
                await bare(f"{query} now")
                _ask(client, f"{query} now")
            parts, whole = [], []
            for query in queries:
                parts.append(await _timed_async(bare, query))
                whole.append(_timed(client, query))
            stages = [_stages(client, f"{query} so") for query in queries]
            busy, indexed = _while_indexing(client, more, queries)
    idle = percentile(whole, 50)
    result = {
        "chunks": chunks,
        "parts_p50_ms": round(percentile(parts, 50), 2),
        "http_p50_ms": round(idle, 2),
        "http_p99_ms": round(percentile(whole, 99), 2),
        "p50_ratio": round(idle / percentile(parts, 50), 2),
        "stages_p50_ms": {name: round(percentile([one[name] for one in stages], 50), 2) for name in stages[0]},
        "search_less_embedding_p50_ms": round(percentile([one["total"] - one["embed"] for one in stages], 50), 2),
        "indexing_p50_ms": round(percentile(busy, 50), 2),
        "indexing_p99_ms": round(percentile(busy, 99), 2),
        "p99_indexing_to_idle_p50": round(percentile(busy, 99) / idle, 2),
        "queries_while_indexing": len(busy),
        "chunks_embedded_meanwhile": indexed,
    }
    print(json.dumps(result))


async def fill(settings: Settings, embedder: OnnxEmbedder, folder: Path, paths: list[Path]) -> int:
    """An index of the folder whose vectors are random: they are in the catalog before the pipeline asks for them."""
    rng = np.random.default_rng(0)
    catalog = Catalog(Folder(settings.data).catalog)
    total = 0
    for path in paths:
        reading = read(str(path), str(embedder.tokenizer_file), CHUNK_TOKENS, OVERLAP_TOKENS, LIMITS.file_bytes)
        vectors = rng.standard_normal((len(reading.chunks), embedder.dimensions)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        keys = [vector_key(searched(chunk.context, chunk.text)) for chunk in reading.chunks]
        catalog.keep_vectors(embedder.signature, dict(zip(keys, vectors, strict=True)))
        total += len(keys)
    catalog.close()
    async with opened(settings, Off()) as tandem:
        summary = await tandem.index([str(folder)])
    assert summary.embedded_chunks == 0, summary
    return total


def _while_indexing(client: httpx.Client, more: Path, queries: list[str]) -> tuple[list[float], int]:
    before = client.get("/status").json()["chunks"]
    started = threading.Event()

    def index() -> None:
        started.set()
        data = Path(client.get("/status").json()["roots"][0]).parent / "data"
        transport = httpx.HTTPTransport(uds=str(Folder(data).http_socket))
        with httpx.Client(transport=transport, base_url="http://tandem", timeout=None) as socket:
            socket.post("/index", json={"folders": [str(more)]}).raise_for_status()

    thread = threading.Thread(target=index)
    thread.start()
    started.wait()
    times: list[float] = []
    while thread.is_alive():
        times.append(_timed(client, queries[len(times) % len(queries)]))
        time.sleep(QUERY_EVERY_S)
    thread.join()
    return times, client.get("/status").json()["chunks"] - before


def _queries(paths: list[Path]) -> list[str]:
    return [" ".join(paths[n % len(paths)].read_text().split()[n : n + 9]) for n in range(QUERIES)]


def _ask(client: httpx.Client, query: str) -> None:
    client.post("/search", json={"query": query, "limit": 10}).raise_for_status()


def _stages(client: httpx.Client, query: str) -> dict[str, float]:
    told = client.post("/search", json={"query": query, "limit": 10, "explain": True}).raise_for_status().json()
    return {**told["explained"]["stages"], "total": told["explained"]["total"]}


def _timed(client: httpx.Client, query: str) -> float:
    start = time.perf_counter()
    _ask(client, query)
    return (time.perf_counter() - start) * 1e3


async def _timed_async(function, query: str) -> float:
    start = time.perf_counter()
    await function(query)
    return (time.perf_counter() - start) * 1e3


def models() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("tandem", appauthor=False) / "models"


if __name__ == "__main__":
    main()
