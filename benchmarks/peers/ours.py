"""Tandem, measured as the peers are: `tandem index`; then its daemon over HTTP, as a program asks it, and its search in
a process of its own, as the peers are asked.

`python -m benchmarks.peers.ours FOLDER DATA QUESTIONS RESULTS` is that process.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import httpx
from anyio import from_thread, to_thread

from benchmarks import processes
from benchmarks.daemons import daemon, settled
from benchmarks.peers.known import MODEL
from benchmarks.peers.peer import Found, ask
from bridge.folder import Folder, holding
from bridge.settings import Settings
from bridge.tandem import opened
from indexer.hits import Hit
from observability.traces import Off


def index(folder: Path, data: Path, threads: int) -> processes.Ran:
    words = [Path(sys.executable).with_name("tandem"), "index", folder, "--data", data, "--json"]
    return processes.run(words, data.parent, processes.environment(threads))


def over_http(folder: Path, data: Path, threads: int, questions: Path, results: Path) -> float:
    """The most memory that the daemon held, in MB."""
    with daemon(data, settings={"THREAD_POOL_SIZE": str(threads)}) as (client, pid):
        settled(client)
        with processes.watched(pid) as peak:
            ask(lambda question, limit: _posted(client, question, limit), folder, questions, results)
    return peak.mb


def in_process(folder: Path, data: Path, threads: int, questions: Path, results: Path) -> processes.Ran:
    words = [sys.executable, "-m", "benchmarks.peers.ours", folder, data, questions, results, threads]
    return processes.run(words, Path.cwd(), processes.environment(threads))


async def _here(folder: Path, data: Path, questions: Path, results: Path, threads: int) -> None:
    """Each question comes from another thread, which costs it a little."""
    settings = Settings(data, embedding_model=MODEL, thread_pool_size=threads, engine="extractive")
    with holding(Folder(data)):
        async with opened(settings, Off()) as tandem:

            async def found(question: str, limit: int) -> Sequence[Hit]:
                return (await tandem.search(question, limit, merge=False)).hits

            def search(question: str, limit: int) -> Sequence[Found]:
                return [Found(Path(hit.path), hit.text) for hit in from_thread.run(found, question, limit)]

            await to_thread.run_sync(ask, search, folder, questions, results)


def _posted(client: httpx.Client, question: str, limit: int) -> Sequence[Found]:
    said = client.post("/search", json={"query": question, "limit": limit}).raise_for_status().json()
    return [Found(Path(hit["path"]), hit["text"]) for hit in said["hits"]]


if __name__ == "__main__":
    anyio.run(_here, *map(Path, sys.argv[1:5]), int(sys.argv[5]))  # pyright: ignore[reportArgumentType]
