"""`tandem eval`: a judged collection, or the user's own files, through the index and the search that users have,
before neighbours merge."""

import argparse
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from platformdirs import user_cache_path

from bridge.folder import Folder, holding
from bridge.own_files import asked_of
from bridge.own_report import judged_in_words, judgements, own_in_words, questions, report
from bridge.progress import shown
from bridge.service import BadInput
from bridge.settings import Settings
from bridge.tandem import Tandem, opened
from bridge.terminal import printable, say, say_json
from indexer.evaluate import (
    BadJudgements,
    answer_all,
    differences,
    intervals,
    load,
    load_run,
    metrics,
    passage_lines,
    rankings,
    run_lines,
    scores,
)
from indexer.hits import Hit
from observability.traces import Off


async def evaluate(arguments: argparse.Namespace, settings: Settings) -> None:
    """Indexes (only what is new since the last time), searches every question and says the measures."""
    measured = await (_own if arguments.own else _judged)(arguments, settings)
    if arguments.json:
        say_json(measured)
    else:
        say(printable(own_in_words(measured) if arguments.own else judged_in_words(measured)))


async def _judged(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    corpus = Path(arguments.corpus).resolve()
    for file in filter(None, (arguments.run, arguments.passages)):
        if not Path(file).parent.is_dir():
            raise BadInput(f"{file} cannot be written: its folder does not exist; make it, or name another file")
    try:
        judged = load(Path(arguments.queries), Path(arguments.qrels))
        before = load_run(Path(arguments.against)) if arguments.against else None
    except BadJudgements as error:
        raise BadInput(str(error)) from error
    if before is not None and before.keys().isdisjoint(judged.grades):
        raise BadInput(f"{arguments.against} ranks none of the questions that {arguments.qrels} judges")
    async with _indexed(arguments.data, settings, corpus) as tandem:
        results = await answer_all(judged, corpus, partial(_hits, tandem))
    if arguments.run:
        _write(Path(arguments.run), run_lines(results))
    if arguments.passages:
        _write(Path(arguments.passages), passage_lines(results))
    now = rankings(results)
    measured = {**metrics(judged, results), "intervals": intervals(scores(judged, now))}
    if before is not None:
        measured["against"] = msgspec.to_builtins(differences(judged, now, before))
    return measured


async def _own(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    corpus = Path(arguments.own).expanduser().resolve()
    kept = Path(arguments.out).expanduser().resolve() if arguments.out else None
    if kept and (kept == corpus or corpus in kept.parents):
        raise BadInput(f"{kept} lies in {corpus}, and its questions would be found there: name a folder elsewhere")
    if kept and not kept.parent.is_dir():
        raise BadInput(f"{kept} cannot be made: {kept.parent} does not exist; make it, or name another folder")
    async with _indexed(arguments.data, settings, corpus) as tandem:
        own = await asked_of(
            tandem, settings, corpus, most=arguments.questions, each=arguments.each, seed=arguments.seed
        )
    if not own.documents and not own.cannot:
        raise BadInput(f"{corpus} was expected to hold files to ask about, but it has none that Tandem reads")
    if kept:
        kept.mkdir(exist_ok=True)
        _write(kept / "queries.jsonl", questions(own))
        _write(kept / "qrels.tsv", judgements(own))
    return report(own)


@asynccontextmanager
async def _indexed(data: str | None, settings: Settings, corpus: Path) -> AsyncGenerator[Tandem]:
    """An index of the corpus alone, in step."""
    # The embedded store and no model: the user's own Qdrant and worker have nothing to do with it.
    settings = replace(settings, data=_folder(data, corpus), qdrant_url=None, qdrant_host=None)
    settings = replace(settings, engine="extractive")
    with holding(Folder(settings.data)):
        async with opened(settings, Off()) as tandem:
            others = [root for root in (await tandem.status()).roots if root != str(corpus)]
            if others:
                raise BadInput(
                    f"{settings.data} holds {others[0]} too, and what lies there would be found as well; "
                    "give each corpus a --data folder of its own"
                )
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(shown, tandem.indexer)
                await tandem.index([str(corpus)])
                tasks.cancel_scope.cancel()
            yield tandem


async def _hits(tandem: Tandem, question: str, limit: int) -> Sequence[Hit]:
    return (await tandem.search(question, limit, merge=False)).hits


def _write(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _folder(data: str | None, corpus: Path) -> Path:
    if data:
        return Path(data).absolute()
    name = hashlib.blake2b(str(corpus).encode(), digest_size=8).hexdigest()
    return user_cache_path("tandem", appauthor=False) / "eval" / name
