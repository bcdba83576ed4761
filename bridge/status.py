"""How an index fares: what it holds, what is pending, what is wrong with it."""

from collections.abc import Iterable, Iterator

from bridge.answer import Route
from bridge.keeping import Keeping
from bridge.progress import now
from bridge.service import FailedFile, Growing, Status
from indexer.catalog import Catalog
from indexer.pipeline import Indexer
from wire import QueueDown


async def status_of(
    catalog: Catalog, indexer: Indexer, keeping: Keeping, route: Route, warnings: Iterable[str], traces_at: str | None
) -> Status:
    """`traces_at`: the Phoenix that shows traces."""
    index = indexer.index
    documents, chunks = catalog.counts()
    try:
        workers, problem = await route.wire.workers(), None
    except QueueDown as error:
        workers, problem = 0, str(error)
    return Status(
        documents=documents,
        chunks=chunks,
        pending=keeping.pending,
        failed=tuple(FailedFile(path, reason) for path, reason in catalog.failed()),
        as_of=catalog.meta("as_of"),
        embedding=index.embedder.signature,
        store=index.store.label,
        engine=route.label,
        workers=workers,
        roots=tuple(catalog.roots()),
        state="paused" if keeping.paused else "indexing" if indexer.progress else "idle",
        warnings=(*warnings, *([problem] if problem else [])),
        left_out=tuple(FailedFile(path, reason) for path, reason in catalog.left_out()),
        forgotten=tuple(catalog.forgotten()),
        progress=now(run) if (run := indexer.progress) and run.files else None,
        growing=_growing(indexer),
        traces_url=f"{traces_at}/redirects/traces/{{trace_id}}" if traces_at else None,
    )


def _growing(indexer: Indexer) -> Growing | None:
    growth = indexer.growth
    if not growth:
        return None
    return Growing(growth.index.embedder.signature, growth.index.store.label, growth.left)


def warnings_of(catalog: Catalog, indexer: Indexer, keeping: Keeping) -> Iterator[str]:
    if keeping.problem:
        yield keeping.problem
    if reason := catalog.meta("held"):
        yield (
            f"deletions are held back: {reason}. If the files are gone for good: tandem index --accept-deletions; "
            "if a disk is away, connect it"
        )
    if keeping.watch:
        for folder, reason in keeping.watch.polled.items():
            yield f"{folder} is looked at every few seconds instead of watched: {reason}"
    for folder in indexer.unlisted:
        yield f"{folder} cannot be listed now: its documents are kept as they were"
    for path in sorted(indexer.restless):
        yield f"{path} kept changing while it was read: it is read again when it is quiet"
    for path, reason in catalog.partly():
        yield f"{path}: {reason}"
