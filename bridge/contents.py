"""What the index holds: folders come in, are read again, are forgotten; their documents are listed."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bridge.checks import check_words
from bridge.keeping import INDEX_FAILS, Keeping
from bridge.service import BadInput, DocumentRow, Unavailable
from indexer import scan
from indexer.catalog import Catalog
from indexer.filters import BadFilter, Filters
from indexer.hits import Summary
from indexer.pipeline import Indexer, Interrupted


class Contents:
    """As `bridge.service.Service` says it."""

    def __init__(self, catalog: Catalog, indexer: Indexer, keeping: Keeping) -> None:
        self._catalog, self._indexer, self._keeping = catalog, indexer, keeping

    async def documents(self, within: str | None = None) -> Sequence[DocumentRow]:
        check_words("any", within)
        try:
            choices = self._indexer.index.choices
            chosen = None if within is None else set(await choices.documents(self._catalog, Filters(within)))
        except BadFilter as error:
            raise BadInput(str(error)) from error
        waiting = set(self._indexer.waiting)
        rows: list[DocumentRow] = []
        for row in self._catalog.documents():
            state = "pending" if row.path in waiting else row.state
            waiting.discard(row.path)
            if chosen is None or row.id in chosen:
                rows.append(DocumentRow(row.path, row.sha256, row.chunks, _iso(row.indexed_at), state))
        if chosen is None:
            rows += [DocumentRow(path, "", 0, None, "pending") for path in sorted(waiting)]
        return rows

    async def index(self, folders: Sequence[str], accept_deletions: bool = False) -> Summary:
        self._require_unpaused()
        await self.add(folders)
        return await self._synced(accept_deletions)

    async def add(self, folders: Sequence[str]) -> None:
        """Takes in again what was forgotten. Raises BadInput, before anything is changed, where one is not a folder."""
        forgotten = self._catalog.forgotten()
        again = {place for folder in folders for place in _places(folder) if place in forgotten}
        roots = [_folder(folder) for folder in folders if again.isdisjoint(_places(folder))]
        for root in roots:
            if above := next((one for one in forgotten if scan.beneath(root, one)), None):
                raise BadInput(f"{root} lies in {above}, which was forgotten: `tandem index {above}` takes it in again")
        for place in again:
            self._catalog.take_in(place)
        self._catalog.add_roots(roots)
        await self._keeping.look_again()

    async def reindex(self, path: str | None = None) -> Summary:
        self._require_unpaused()
        if path is None:
            self._catalog.make_stale()
        elif not any(self._catalog.make_stale(place) for place in _places(path)):
            raise BadInput(f"{path} holds no document of this index; `tandem ls` lists them")
        return await self._synced()

    async def forget(self, path: str) -> int:
        roots = self._catalog.roots()
        place = next((one for one in _places(path) if _meets(one, roots)), None)
        if place is None:
            raise BadInput(f"{path} lies in none of the index's folders ({', '.join(roots) or 'there are none'})")
        self._keeping.interrupt()  # it may have listed what is forgotten now
        gone = await self._indexer.forget(place)
        await self._keeping.look_again()
        return gone

    async def pause(self) -> None:
        self._keeping.pause(_iso(time.time()))

    async def resume(self) -> None:
        self._keeping.resume()

    def _require_unpaused(self) -> None:
        if since := self._keeping.paused:
            raise BadInput(f"indexing is paused since {since}; nothing was changed. `tandem resume` lets it go on")

    async def _synced(self, accept_deletions: bool = False) -> Summary:
        try:
            done = await self._indexer.sync(accept_deletions=accept_deletions)
        except (*INDEX_FAILS, Interrupted) as error:
            raise Unavailable(str(error)) from error
        if self._keeping.watch:  # the daemon lets it grow, and tidies, when nothing else is to be done
            return done
        began = time.monotonic()
        grown = await self._keeping.grown()
        seconds = round(done.seconds + time.monotonic() - began, 3)
        return replace(done, embedded_chunks=done.embedded_chunks + grown, seconds=seconds)


def _places(path: str) -> list[str]:
    """As it was named, and as folders are resolved when they are added. Raises BadInput."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the name of {path!r} was expected to be UTF-8; rename it") from error
    return list(dict.fromkeys((path, str(Path(path).resolve()))))


def _folder(folder: str) -> str:
    path = Path(folder).resolve()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the name of {path!r} was expected to be UTF-8; rename the folder") from error
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BadInput(f"{folder} was expected to be a folder, but it {what}; nothing was changed")
    return str(path)


def _meets(path: str, roots: Sequence[str]) -> bool:
    return any(scan.beneath(path, root) or scan.beneath(root, path) for root in roots)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
