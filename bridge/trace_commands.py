"""`tandem trace eval`, `export` and `experiment`: they talk to Phoenix itself, so only the last one needs the index.

What comes from there was written by others: it is shown and searched for, never obeyed.
"""

import argparse
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from anyio import to_thread

from bridge.comparing import compared, is_worse
from bridge.experimenting import MADE_BY, Asking, asked_again, fit, settings_that_matter
from bridge.hindsight import Hindsight, in_hindsight
from bridge.joining import untraced
from bridge.reached import reached
from bridge.real_questions import examples, once
from bridge.service import BadInput, Unavailable
from bridge.settings import Settings, worded
from bridge.terminal import printable, say, say_json
from bridge.trace_report import (
    Against,
    Outcome,
    counted,
    eval_in_words,
    experiment_in_words,
    export_in_words,
    report,
    scores_of,
)
from indexer.filters import BadFilter, moment
from observability.collector import address
from observability.datasets import Dataset, Example, Experiment, Run
from observability.phoenix import PhoenixUnavailable, running
from observability.phoenix_api import Phoenix, PhoenixFailed, phoenix_at
from observability.spans_back import Span

WORSE = 3
_ABOUT = "Questions that were asked of Tandem, and what their answers rest on: made by `tandem trace export`"

logger = logging.getLogger("tandem")


async def trace(arguments: argparse.Namespace, settings: Settings) -> int:
    """Returns the exit status. Raises BadInput and Unavailable."""
    if arguments.action == "experiment":
        return await _experiment(arguments, settings)
    since, until = _range(arguments)
    async with _phoenix(settings) as phoenix:
        done = await (_eval if arguments.action == "eval" else _export)(arguments, settings, phoenix, since, until)
    if arguments.json:
        say_json(done)
    else:
        say(printable((eval_in_words if arguments.action == "eval" else export_in_words)(done)))
    return 0


async def _eval(
    arguments: argparse.Namespace, settings: Settings, phoenix: Phoenix, since: datetime, until: datetime
) -> dict[str, Any]:
    traces = spans = annotations = 0
    unjudged: list[str] = []
    async with aclosing(phoenix.traces(since, until)) as pages:
        async for page in pages:
            of_page = await to_thread.run_sync(_in_hindsight, page, settings.rag_score_threshold)
            said = [one for each in of_page for one in each.annotations]
            await phoenix.annotate(said)
            traces, annotations = traces + len(page), annotations + len(said)
            spans += len({one.of for one in said})
            unjudged += [reason for each in of_page for reason in each.unjudged]
    return {
        "since": since.isoformat(),
        "until": until.isoformat(),
        "traces": traces,
        "spans": spans,
        "annotations": annotations,
        "unjudged": counted(unjudged),
    }


def _in_hindsight(page: Sequence[Sequence[Span]], evidence: float) -> list[Hindsight]:
    return [in_hindsight(spans, evidence) for spans in page]


async def _export(
    arguments: argparse.Namespace, settings: Settings, phoenix: Phoenix, since: datetime, until: datetime
) -> dict[str, Any]:
    if told := {"questions", "passages"} & settings.hidden:
        raise BadInput(
            f"TANDEM_TRACE_HIDE hides {' and '.join(sorted(told))}, and a dataset would tell them: nothing was "
            "exported. Unset it where questions and passages may stand in Phoenix"
        )
    found: list[Example | str] = []
    async with aclosing(phoenix.traces(since, until)) as pages:
        async for page in pages:
            ratings = await phoenix.ratings([spans[0].trace for spans in page])
            wanted = [one for one in page if not arguments.rated_down or ratings.get(one[0].trace, 1.0) < 0.5]
            found += await to_thread.run_sync(examples, wanted, settings.rag_score_threshold, ratings)
    before = await phoenix.dataset(arguments.name)
    known = (await phoenix.examples(before))[1] if before else []
    gathered = once(found, known)
    if not gathered.examples and not gathered.repeated:
        raise Unavailable(_nothing(arguments, since, until, gathered.unfit))
    there = {one.key for one in known}
    new = [one for one in gathered.examples if one.key not in there]
    if new:
        await phoenix.add_examples(arguments.name, _ABOUT, new)
    return {
        "dataset": arguments.name,
        "added": len(new),
        "known": len(gathered.examples) - len(new),
        "repeated": gathered.repeated,
        "examples": len(known) + len(new),
        "unfit": counted(gathered.unfit),
    }


def _nothing(arguments: argparse.Namespace, since: datetime, until: datetime, unfit: Sequence[str]) -> str:
    what = "question that was rated down" if arguments.rated_down else "question"
    why = "; ".join(f"{one['count']} left out, for {one['reason']}" for one in counted(unfit))
    return (
        f"no {what} with its evidence was found between {since.isoformat()} and {until.isoformat()}: "
        + (why or "Phoenix has no traces of that time")
        + ". --since names an earlier time; ask something, or let TANDEM_TRACE_HIDE hide less from now on"
    )


async def _experiment(arguments: argparse.Namespace, settings: Settings) -> int:
    how = Asking(arguments.k or settings.rag_top_k, arguments.ask, settings.hidden)
    async with _phoenix(settings) as phoenix:
        dataset = await _dataset(phoenix, arguments.dataset)
        version, held = await phoenix.examples(dataset)
        asked = fit(held)
        if not asked:
            raise BadInput(
                f"the dataset {dataset.name!r} was expected to hold questions and the evidence for their answers, "
                f"but none of its {len(held)} examples has both: `tandem trace export` makes such examples"
            )
        former = _former(await phoenix.experiments(dataset), arguments.against)
        before = await phoenix.scores(former) if former else {}
    runs, metadata = await _runs(settings, asked, how)
    async with _phoenix(settings) as phoenix:
        name = arguments.name or f"{dataset.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        made = await phoenix.add_experiment(dataset, version, name, metadata, runs)
        url = phoenix.compared_at(dataset, [made.id, former.id] if former else [made.id])
    measures = compared(scores_of(runs), before)
    told = report(
        Outcome(dataset.name, made, runs, asked, len(held) - len(asked), url),
        Against(former, before, measures) if former else None,
    )
    if arguments.json:
        say_json(told)
    else:
        say(printable(experiment_in_words(told)))
    if former and not measures:
        raise Unavailable(
            f"nothing was compared: {former.name!r} has no score for any of these questions; name another experiment "
            "with --against, or compare the next one with this"
        )
    return WORSE if is_worse(measures) else 0


async def _runs(settings: Settings, asked: Sequence[Example], how: Asking) -> tuple[list[Run], dict[str, Any]]:
    # Questions that are asked again are none that somebody asked.
    async with reached(replace(settings, phoenix_collector_endpoint=None)) as service:
        status = await service.status()
        if status.pending:
            logger.info("the index is not in step: %d files are pending", status.pending)
        with untraced():  # else the next export took these for what somebody asked
            runs = [await asked_again(service, one, how) for one in asked]
    if all(run.error for run in runs):
        raise Unavailable(f"none of the {len(runs)} questions could be asked: {runs[0].error}")
    return runs, settings_that_matter(settings, status, how) | {"runs": sum(run.error is None for run in runs)}


async def _dataset(phoenix: Phoenix, name: str) -> Dataset:
    if found := await phoenix.dataset(name):
        return found
    there = ", ".join(map(repr, await phoenix.datasets())) or "none"
    raise BadInput(f"Phoenix has no dataset {name!r} ({there}): `tandem trace export {name}` makes one")


def _former(experiments: Sequence[Experiment], against: str | None) -> Experiment | None:
    """The one that is named, else the latest that this command made to its end."""
    begun = [one for one in experiments if one.runs]
    if against is None:
        ours = (one for one in begun if one.metadata.get("made_by") == MADE_BY)
        return next((one for one in ours if one.runs >= one.metadata.get("runs", 0)), None)
    if found := next((one for one in begun if against in (one.id, one.name)), None):
        return found
    there = ", ".join(repr(one.name) for one in begun[:20]) or "none yet"
    raise BadInput(f"--against was expected to name an experiment of this dataset ({there}), it names {against!r}")


@asynccontextmanager
async def _phoenix(settings: Settings) -> AsyncGenerator[Phoenix]:
    """Where the daemon's traces go: the private one that runs in the data folder, else the one of the settings."""
    try:
        endpoint, key = running(settings.data) or (settings.phoenix_collector_endpoint, settings.phoenix_api_key)
        if endpoint is None:
            raise Unavailable(
                "no Phoenix keeps traces here: start one with `tandem up --phoenix`, or set "
                "PHOENIX_COLLECTOR_ENDPOINT to one that runs"
            )
        with worded():
            where = address(endpoint, key).url
        where = where.copy_with(path=where.path.removesuffix("/v1/traces"))
        async with phoenix_at(where, key) as phoenix:
            yield phoenix
    except (PhoenixFailed, PhoenixUnavailable) as error:
        raise Unavailable(str(error)) from error


def _range(arguments: argparse.Namespace) -> tuple[datetime, datetime]:
    now = time.time()
    try:
        since = moment(arguments.since, now)
        until = moment(arguments.until, now) if arguments.until else now + 1
    except BadFilter as error:
        raise BadInput(str(error).replace("`since` was", "--since and --until were", 1)) from error
    if since >= until:
        raise BadInput("--since was expected to be earlier than --until, or than now")
    return datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC)
