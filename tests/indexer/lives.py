"""What one life of the indexer does: the program's own code from the opening on, with another embedder.

At the two seams, reading a file and embedding, it says on a socket what it is about to do or has done, and waits for a
byte. So its user can change a file just before and just after its reading, and the kill comes where it hurts.
"""

import json
import os
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio

from bridge.folder import Folder
from bridge.settings import Settings
from bridge.tandem import Tandem
from indexer.catalog import Catalog
from indexer.embed import Done, Vectors
from indexer.embed.weights import tokenizer
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS, Indexer
from indexer.read import Reading
from indexer.records import COMPLETE
from indexer.sandbox import reading
from indexer.search import Index
from indexer.store.edge import open_edge
from observability.traces import Off
from tests.indexer.embedders import WordEmbedder
from tests.indexer.holdings import compare, holdings, leftovers, lies

Mode = Literal["once", "watching"]
MODES: tuple[Mode, ...] = ("once", "watching")
LIMIT_S = 45  # until a daemon is quiet
_CALM = 5  # looks in a row


class Voice:
    def __init__(self, to: socket.socket | None) -> None:
        self._to, self._one = to, anyio.Lock()
        if to:
            to.setblocking(False)

    async def say(self, word: str) -> None:
        if self._to:
            async with self._one:
                self._to.send(os.fsencode(word))
                await anyio.wait_readable(self._to)
                self._to.recv(1)


class TellingEmbedder(WordEmbedder):
    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        await self._voice.say("embeds")
        vectors = await super().documents(texts, done)
        await self._voice.say("has-embedded")
        return vectors


async def life(data: Path, root: Path, mode: Mode, to: socket.socket, mark: Path | None) -> None:
    """`once`: `tandem index`. `watching`: the daemon's indexing, until killed, or until it is quiet after `mark`."""
    voice = Voice(to)
    async with _opened(data, voice) as tandem:
        if mode == "once":
            await tandem.index([str(root)])
            return
        await tandem.add([str(root)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tandem.keeping.run)
            if mark:
                await _quiet(tandem, str(mark))
                await voice.say("quiet")
                tasks.cancel_scope.cancel()


@asynccontextmanager
async def _opened(data: Path, voice: Voice) -> AsyncGenerator[Tandem]:
    """As `bridge.tandem.opened` does, but for the embedder and for what answers. A store that has lost points is not
    filled again: that would hide the loss."""
    catalog = Catalog(Folder(data).catalog)
    embedder = TellingEmbedder(voice)
    if not catalog.generations():
        catalog.begin_generation(embedder.signature, embedder.dimensions, "embedded", "answers", COMPLETE)
    async with (
        open_edge(Folder(data).stores / "words", embedder.dimensions) as store,
        reading(tokenizer(None), size=CHUNK_TOKENS, overlap=OVERLAP_TOKENS) as reader,
        anyio.create_task_group() as tasks,
    ):

        async def read(path: str) -> Reading:
            await voice.say(f"reads {path}")
            try:
                return await reader.read(path)
            finally:
                await voice.say(f"has-read {path}")

        indexer = Indexer(Index(catalog, store, embedder), read, data)
        await indexer.recover()
        yield Tandem(Settings(data=data), catalog, indexer, [], Off(), tasks)
    catalog.close()


async def _quiet(tandem: Tandem, mark: str) -> None:
    """The last thing done is indexed, and then nothing is under way for a moment."""
    calm, until = 0, anyio.current_time() + LIMIT_S
    while calm < _CALM:
        if anyio.current_time() > until:
            raise TimeoutError(_state(tandem, mark))
        await anyio.sleep(0.02)
        watch, indexer = tandem.keeping.watch, tandem.indexer
        at_work = indexer.progress or indexer.pending or not watch or watch.pending
        known = None if at_work else indexer.index.catalog.known().get(mark)
        calm = calm + 1 if known and known.state == "indexed" else 0


def _state(tandem: Tandem, mark: str) -> str:
    indexer, watch, problem = tandem.indexer, tandem.keeping.watch, tandem.keeping.problem
    known = indexer.index.catalog.known().get(mark)
    return (
        f"{problem}, {known}, {indexer.progress}, waiting {indexer.waiting}, restless {indexer.restless}, "
        f"unlisted {indexer.unlisted}, {watch and watch.pending} events"
    )


async def look_at_the_dead(data: Path, report: Path) -> None:
    """What is recorded has its points at any moment."""
    _report(report, [f"after a kill: {lie}" for lie in lies(holdings(data))])


async def compare_with_fresh(data: Path, root: Path, mode: Mode, fresh: Path, report: Path) -> None:
    own = holdings(data)
    if mode == "watching":  # which drops what no file uses once it has been quiet for a while
        async with _opened(data, Voice(None)) as tandem:
            await tandem.indexer.purge()
        own = replace(own, vectors=holdings(data).vectors)
    async with _opened(fresh, Voice(None)) as tandem:
        await tandem.index([str(root)])
    anew = holdings(fresh)
    documents = own.documents.values()
    _report(
        report,
        [*lies(own), *leftovers(own), *lies(anew), *leftovers(anew), *compare(own, anew)],
        documents=len(documents),
        chunks=sum(len(one.chunks) for one in documents),
        failed=sum(one.state == "failed" for one in documents),
    )


def _report(to: Path, differences: Sequence[str], **counts: int) -> None:
    """Over a file: there is no other way out of a process that may be killed."""
    told = [one.encode(errors="backslashreplace").decode() for one in differences]
    to.write_text(json.dumps({"differences": told, **counts}))
