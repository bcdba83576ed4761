"""How indexing goes, for people: a bar with rate and time left on a terminal, plain lines elsewhere. On stderr."""

import logging
import sys
import time

import anyio
import msgspec

from bridge.service import Service
from indexer.hits import Summary
from indexer.pipeline import Indexer

logger = logging.getLogger("tandem")

_LOOK_EVERY_S = 0.2
_LINE_EVERY_S = 5.0
_SMALL = 3  # files: a save or two are not worth a bar


async def shown(indexer: Indexer) -> None:
    """Until cancelled."""
    if sys.stderr.isatty():
        await _bar(indexer)
    else:
        await _lines(indexer)


async def told(service: Service) -> None:
    """How the daemon's indexing goes, for who waits for it; until cancelled."""
    while True:
        await anyio.sleep(_LINE_EVERY_S)
        status = await service.status()
        logger.info("the daemon indexes: %d documents are in, %d files wait", status.documents, status.pending)


def in_words(summary: Summary) -> str:
    """What a run did: 2 added, 10 unchanged; 7 chunks embedded in 0.8 s."""
    counts = msgspec.to_builtins(summary)
    seconds, embedded = counts.pop("seconds"), counts.pop("embedded_chunks")
    done = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no documents"
    return f"{done}; {embedded} chunk{'s' * (embedded != 1)} embedded in {seconds:.1f} s"


async def _bar(indexer: Indexer) -> None:
    # Only here, for it costs every start some 40 ms.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files, {task.fields[rate]:.0f} chunks/s,"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    while True:
        await anyio.sleep(_LOOK_EVERY_S)
        if not (run := indexer.progress) or run.files <= _SMALL:
            continue
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("indexing", total=run.files, rate=0.0)
            while indexer.progress is run:
                rate = run.chunks / max(time.monotonic() - run.started, 0.1)
                bar.update(task, completed=run.files_done, total=run.files, rate=rate)
                await anyio.sleep(_LOOK_EVERY_S)


async def _lines(indexer: Indexer) -> None:
    told = time.monotonic()
    while True:
        await anyio.sleep(_LOOK_EVERY_S)
        run = indexer.progress
        if not run or run.files <= _SMALL or time.monotonic() - told < _LINE_EVERY_S:
            continue
        told = time.monotonic()
        seconds = told - run.started
        rate = run.files_done / seconds
        left = f", about {(run.files - run.files_done) / rate:.0f} s left" if rate else ""
        logger.info("indexing: %d of %d files, %.0f chunks/s%s", run.files_done, run.files, run.chunks / seconds, left)
