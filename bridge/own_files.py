"""`tandem eval --own`: are the user's own files found, when they are asked for?

files -> index -> questions (`indexer.salient`; in the engine's words where one is configured) -> search -> ranks
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from bridge.answer import Route
from bridge.questioning import Said, said_of
from bridge.routes import open_routes
from bridge.settings import Settings
from bridge.tandem import Tandem
from indexer import lexical
from indexer.catalog import Catalog
from indexer.hits import Hit
from indexer.salient import Item, Text, Unasked, in_turn, questions
from indexer.sentences import holds
from wire import QueueDown

logger = logging.getLogger("tandem")

NEAR = 10  # files and passages: what stands further down is not found
_DEPTH = 100
_MOST_PASSAGES, _OF_A_FILE = 20_000, 200  # that questions are made from
_SAME = 0.8
_TELL_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what search found. Ranks count from 1, files and passages each by themselves; none: not among
    the first hundred."""

    item: Item
    by_engine: bool
    file_rank: int | None
    passage_rank: int | None
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Own:
    """Files are named by their paths within the corpus. `cannot`: files that no question can find, and why;
    `fell_back`: questions that the engine was asked for in vain."""

    corpus: Path
    documents: int
    asked: tuple[Asked, ...]
    unasked: tuple[Unasked, ...]
    cannot: tuple[Unasked, ...]
    fell_back: int


async def asked_of(tandem: Tandem, settings: Settings, corpus: Path, *, most: int, each: int, seed: int) -> Own:
    """At most `most` questions, at most `each` of a file, the same for each `seed` while the files stay as they are
    and no engine words them."""
    catalog = tandem.indexer.index.catalog
    made = await anyio.to_thread.run_sync(_made, catalog, corpus, most, each, seed)
    items = [one for one in made if isinstance(one, Item)]
    unasked = [one for one in made if isinstance(one, Unasked)]
    said = await _worded(settings, items)
    found: list[Asked] = []
    tell = _teller("searched for", len(items))
    for item in items:
        question = said.questions.get(item.id)
        found.append(await _searched(tandem, corpus, replace(item, question=question or item.question), bool(question)))
        tell()
    fell_back = len(items) - len(said.questions) if settings.engine != "extractive" else 0
    cannot = tuple(_unfindable(catalog, corpus))
    return Own(corpus, len(catalog.documents()), tuple(found), tuple(unasked), cannot, fell_back)


def never_found(own: Own) -> list[Unasked]:
    """The files that none of their questions found among the first ten, and those that cannot be found."""
    of_file: dict[str, list[Asked]] = {}
    for one in own.asked:
        of_file.setdefault(one.item.path, []).append(one)
    lost = [
        Unasked(path, _why(some[0], own.corpus))
        for path, some in of_file.items()
        if not any(one.file_rank and one.file_rank <= NEAR for one in some)
    ]
    return sorted((*lost, *own.cannot), key=lambda one: one.path)


def _made(catalog: Catalog, corpus: Path, most: int, each: int, seed: int) -> list[Item | Unasked]:
    rows = {_relative(row.path, corpus): row for row in catalog.documents() if row.chunks}
    unnamed = [path for path in rows if len(path.splitlines()) > 1 or "\t" in path]
    files: dict[str, list[Text]] = {}
    for path in in_turn(rows.keys() - set(unnamed), seed):
        files[path] = _texts(catalog, rows[path].id, rows[path].chunks)
        if sum(map(len, files.values())) >= _MOST_PASSAGES:
            break
    logger.info("making questions from %d files", len(files))
    made = questions(files, most, each, seed)
    return [*made, *(Unasked(path, "no line can have its name, which holds a tab or a line end") for path in unnamed)]


def _texts(catalog: Catalog, document: int, chunks: int) -> list[Text]:
    """Of a long file so many, evenly spread."""
    step = max(1, -(-chunks // _OF_A_FILE))
    spans = [(0, chunks)] if step == 1 else [(at, at) for at in range(0, chunks, step)]
    return [Text(one.chunk.text, one.chunk.heading) for span in spans for one in catalog.neighbours(document, *span)]


async def _worded(settings: Settings, items: Sequence[Item]) -> Said:
    """In the configured engine's words. Where it is away the masked sentences do, and stderr says so."""
    if settings.engine == "extractive" or not items:
        return Said()
    async with _route(settings) as route:
        away = await _away(route) if settings.engine == "redis" else None
        said = Said(silent=[away]) if away else await said_of(route.wire, items, _teller("worded", len(items)))
    for reason in dict.fromkeys(said.silent):
        logger.warning("%s made no question: %s", route.label, reason)
    return said


async def _away(route: Route) -> str | None:
    try:
        return None if await route.wire.workers() else "no worker listens there; start one with `tandem worker`"
    except QueueDown as error:
        return str(error)


@asynccontextmanager
async def _route(settings: Settings) -> AsyncGenerator[Route]:
    stopped = anyio.Event()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        first, *_ = await open_routes(settings, stack, tasks, stopped)
        try:
            yield first
        finally:
            tasks.cancel_scope.cancel()


async def _searched(tandem: Tandem, corpus: Path, item: Item, by_engine: bool) -> Asked:
    hits = (await tandem.search(item.question, _DEPTH, merge=False)).hits
    paths = list(dict.fromkeys(_relative(hit.path, corpus) for hit in hits))
    places = (
        n
        for n, hit in enumerate(hits, 1)
        if _relative(hit.path, corpus) == item.path and holds(hit.text, item.sentence)
    )
    rank = paths.index(item.path) + 1 if item.path in paths else None
    firsts = {_relative(hit.path, corpus): hit for hit in reversed(hits)}
    return Asked(item, by_engine, rank, next(places, None), tuple(firsts[path] for path in paths[:3]))


def _unfindable(catalog: Catalog, corpus: Path) -> Iterator[Unasked]:
    failed = dict(catalog.failed())
    for row in catalog.documents():
        if not row.chunks:
            yield Unasked(
                _relative(row.path, corpus), f"failed: {failed[row.path]}" if row.path in failed else "no text"
            )


def _why(lost: Asked, corpus: Path) -> str:
    if not lost.hits:
        return "nothing at all was found"
    first = lost.hits[0]  # another file: this one is not among the first ten
    name = _relative(first.path, corpus)
    if _alike(first.text, lost.item.passage.text) >= _SAME:
        return f"near-duplicate: much the same stands in {name}"
    place = f"comes at {lost.file_rank}" if lost.file_rank else f"not among the first {_DEPTH} passages"
    return f"{place}; {name} comes first"


def _alike(one: str, other: str) -> float:
    a, b = (set(lexical.terms(text).tolist()) for text in (one, other))
    return len(a & b) / max(1, min(len(a), len(b)))


def _relative(path: str, corpus: Path) -> str:
    return str(Path(path).relative_to(corpus))


def _teller(what: str, count: int) -> Callable[[], None]:
    """Called after each question; says on stderr now and then how many are done."""
    done, told = 0, time.monotonic()

    def tell() -> None:
        nonlocal done, told
        done += 1
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            logger.info("%d of %d questions %s", done, count, what)

    return tell
