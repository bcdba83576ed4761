"""A generation grows: every chunk of the catalog gets its point in another store or with another model's vectors,
while the present one answers. No file is read, and no text embedded that the model has seen before.
"""

from dataclasses import dataclass
from functools import partial

import anyio.to_thread

from indexer.points import GROUP, upsert
from indexer.records import Generation
from indexer.run_spans import RunSpans
from indexer.search import Index


@dataclass(slots=True)
class Growth:
    """`index` is what grows; `filled` the id up to which it has every chunk. A kill costs the step under way."""

    index: Index
    generation: Generation
    filled: int

    @property
    def left(self) -> int:
        """Chunks without their point."""
        return self.index.catalog.count_after(self.filled)

    async def step(self, spans: RunSpans) -> int | None:
        """Returns how many texts were embedded; none when nothing is left: from then on this one answers.

        Raises EmbedderAway, EmbedderUnusable, StoreAway: the next step goes on from where this one began.
        """
        catalog = self.index.catalog
        chunks = await anyio.to_thread.run_sync(catalog.unfilled, self.filled, GROUP)
        if not chunks:
            await self.index.store.publish()
            await anyio.to_thread.run_sync(catalog.let_answer, self.generation.id)
            return None
        embedded, refused = await upsert(self.index, chunks, spans)
        await self.index.store.flush()
        spans.stored(len(chunks))
        for document, chunk in chunks:
            if chunk.key in refused:
                catalog.remark(document, f"a chunk of it can be found by its words only: {refused[chunk.key]}")
        self.filled = chunks[-1][1].id
        await anyio.to_thread.run_sync(partial(catalog.set_filled, self.generation.id, self.filled))
        return embedded
