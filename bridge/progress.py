"""How indexing goes, for people: a bar with rate and time left on a terminal, plain lines elsewhere. On stderr."""

import logging
import sys
import time

import anyio
import msgspec

from bridge.service import RunProgress, Service
from indexer.hits import Summary
from indexer.pipeline import Indexer, Progress

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
        how = run_in_words(status.progress) if status.progress else f"{status.pending} files wait"
        logger.info("the daemon indexes: %s", how)


def in_words(summary: Summary) -> str:
    """What a run did: 2 added, 10 unchanged; 7 chunks embedded in 0.8 s."""
    counts = msgspec.to_builtins(summary)
    seconds, embedded = counts.pop("seconds"), counts.pop("embedded_chunks")
    done = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no documents"
    return f"{done}; {embedded} chunk{'s' * (embedded != 1)} embedded in {seconds:.1f} s"


def run_in_words(run: RunProgress) -> str:
    """How far a run is: 120 of 2000 files, 74 chunks/s, about 12 s left."""
    left = "" if run.seconds_left is None else f", about {run.seconds_left:.0f} s left"
    at = f", at {run.reading}" if run.reading and run.files_done < run.files else ""
    return f"{run.files_done} of {run.files} files, {run.chunks_per_s:.0f} chunks/s{left}{at}"


def now(run: Progress) -> RunProgress:
    """Where a run stands, with its rate and the time that is left."""
    seconds = max(time.monotonic() - run.started, 0.001)
    left_s = (run.files - run.files_done) * seconds / run.files_done if run.files_done else None
    return RunProgress(run.files, run.files_done, run.chunks, run.chunks / seconds, left_s, run.reading)


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
        logger.info("indexing: %s", run_in_words(now(run)))
