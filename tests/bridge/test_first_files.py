"""Who asks a daemon that has only just begun means the files it was given, not those it has read so far."""

import tempfile
from pathlib import Path

import anyio

from bridge.settings import load
from bridge.tandem import opened
from observability.traces import Off


async def test_a_search_waits_for_the_rest_of_the_first_run() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        notes = Path(place, "notes")
        notes.mkdir()
        (notes / "barn.md").write_text("The lantern hangs in the barn.")
        async with opened(load(str(Path(place, "data")), {}, notes), Off()) as tandem:
            await tandem.index([str(notes)])
            catalog = tandem.indexer.index.catalog
            as_of = catalog.meta("as_of")
            # As in the midst of a first run: one file can be found, others are still to come.
            catalog.set_meta("as_of", None)
            tandem.keeping.begins = True
            with anyio.move_on_after(0.3) as waiting:
                await tandem.search("lantern")
            assert waiting.cancelled_caught
            catalog.set_meta("as_of", as_of)
            assert (await tandem.search("lantern")).hits
