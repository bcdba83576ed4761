"""`tandem eval`: a judged collection through the index and the search that users have, before neighbours merge."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
from platformdirs import user_cache_path

from bridge.folder import Folder, holding
from bridge.progress import shown
from bridge.service import BadInput
from bridge.settings import Settings
from bridge.tandem import Tandem, opened
from indexer.evaluate import BadJudgements, answer_all, load, metrics, passage_lines, run_lines
from indexer.hits import Hit
from observability.traces import Off


async def evaluate(arguments: argparse.Namespace, settings: Settings) -> dict[str, float]:
    """Indexes (only what is new since the last time), searches every question and returns the metrics."""
    corpus = Path(arguments.corpus).resolve()
    for file in filter(None, (arguments.run, arguments.passages)):
        if not Path(file).parent.is_dir():
            raise BadInput(f"{file} cannot be written: its folder does not exist; make it, or name another file")
    try:
        judged = load(Path(arguments.queries), Path(arguments.qrels))
    except BadJudgements as error:
        raise BadInput(str(error)) from error
    # The embedded store and no model: the user's own Qdrant and worker have nothing to do with it.
    settings = replace(settings, data=_folder(arguments.data, corpus), qdrant_url=None, qdrant_host=None)
    settings = replace(settings, engine="extractive")
    with holding(Folder(settings.data)):
        async with opened(settings, Off()) as tandem:
            others = [root for root in (await tandem.status()).roots if root != str(corpus)]
            if others:
                raise BadInput(
                    f"{settings.data} holds {others[0]} too, and what lies there would be found as well; "
                    "give each corpus a --data folder of its own"
                )
            await _indexed(tandem, corpus)
            results = await answer_all(judged, corpus, partial(_hits, tandem))
    if arguments.run:
        Path(arguments.run).write_text("".join(f"{line}\n" for line in run_lines(results)), "utf-8")
    if arguments.passages:
        Path(arguments.passages).write_text("".join(f"{line}\n" for line in passage_lines(results)), "utf-8")
    return metrics(judged, results)


async def _indexed(tandem: Tandem, corpus: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shown, tandem.indexer)
        await tandem.index([str(corpus)])
        tasks.cancel_scope.cancel()


async def _hits(tandem: Tandem, question: str, limit: int) -> Sequence[Hit]:
    return (await tandem.search(question, limit, merge=False)).hits


def _folder(data: str | None, corpus: Path) -> Path:
    if data:
        return Path(data).absolute()
    name = hashlib.blake2b(str(corpus).encode(), digest_size=8).hexdigest()
    return user_cache_path("tandem", appauthor=False) / "eval" / name
