"""What is asked for to the letter, among many."""

import time
from pathlib import Path

from indexer.catalog import Catalog
from indexer.exactly import to_the_letter
from indexer.records import Record, Stat, document_id
from indexer.store import Store
from tests.indexer.conftest import Library


async def test_those_that_hold_a_phrase_come_best_first(library: Library) -> None:
    for n in range(8):
        library.write(f"{n}.txt", f"The lantern yard. {'Whoever came was let in. ' * (n + 2)}")
    await library.sync()
    index = library.index
    found = await to_the_letter(index.catalog, index.store, 'the "lantern yard"', None, [])
    assert [Path(one.candidate.path).name for one in found] == [f"{n}.txt" for n in range(8)]


async def test_a_name_that_thousands_have_is_looked_up_at_once(catalog: Catalog, store: Store) -> None:
    paths = [f"/srv/{n}/index.md" for n in range(8_000)]
    stat = Stat(1, 1, 1, 1)
    catalog.record([Record(path, stat, "", None, (), 0.0) for path in paths], 0.0)
    documents = [document_id(path) for path in paths]
    began = time.process_time()
    assert await to_the_letter(catalog, store, "open index.md", documents, []) == []
    assert time.process_time() - began < 0.3
