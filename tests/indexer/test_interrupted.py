"""A run that ends in the middle says why, and the next one goes on from there."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest

from indexer.embed import Done, EmbedderAway, Vectors
from indexer.pipeline import Indexer
from indexer.sandbox import Reader
from tests.indexer.conftest import Library
from tests.indexer.embedders import WordEmbedder

FILES = 600  # more than wait in line while one group is embedded


class GoingAway(WordEmbedder):
    """A model that takes its time over the second call, while files queue up behind it, and goes away in it."""

    calls = 0

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        self.calls += 1
        if self.calls == 2:
            await anyio.sleep(1)
            raise EmbedderAway("the model went away: start it")
        return await super().documents(texts, done)


async def test_a_model_that_goes_away_while_many_files_wait_ends_the_run_with_its_words(
    library: Library, reader: Reader
) -> None:
    for n in range(FILES):
        library.write(f"{n:03}.md", f"text number {n}")
    embedder = GoingAway()
    indexer = Indexer(replace(library.index, embedder=embedder), reader.read)
    with pytest.raises(EmbedderAway, match="the model went away: start it"):
        await indexer.sync()
    assert 0 < len(embedder.embedded) < FILES
    assert (await indexer.sync()).failed == 0
    assert len(embedder.embedded) == len(set(embedder.embedded)) == FILES
    assert library.index.catalog.counts() == (FILES, FILES)
