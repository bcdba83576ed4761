"""A query that was embedded lately is not embedded again, and those who ask the same at once share one vector."""

from collections import OrderedDict
from dataclasses import dataclass, field

import anyio

from indexer.embed import Embedder, EmbedderAway, EmbedderUnusable, Vectors

_MOST = 512  # vectors of 384 numbers: 0.8 MB

_Key = tuple[str, str]


@dataclass(slots=True)
class _Asked:
    done: anyio.Event = field(default_factory=anyio.Event)
    failure: Exception | None = None


class Queries:
    """The `most` vectors used last, by the embedder's signature and the text."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: OrderedDict[_Key, Vectors] = OrderedDict()
        self._asked: dict[_Key, _Asked] = {}

    async def vector(self, embedder: Embedder, text: str) -> tuple[Vectors, bool]:
        """And whether it was there, or on its way. Raises EmbedderAway or EmbedderUnusable, which is not kept."""
        key = (embedder.signature, text)
        while asked := self._asked.get(key):
            await asked.done.wait()
            if asked.failure:
                raise asked.failure
            # There now; unless who asked has left.
        if (known := self._known.get(key)) is not None:
            self._known.move_to_end(key)
            return known, True
        return await self._embedded(embedder, key), False

    async def _embedded(self, embedder: Embedder, key: _Key) -> Vectors:
        asked = self._asked[key] = _Asked()
        try:
            vector = await embedder.query(key[1])
        except (EmbedderAway, EmbedderUnusable) as error:
            asked.failure = error
            raise
        finally:
            del self._asked[key]
            asked.done.set()
        vector.setflags(write=False)
        self._known[key] = vector
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return vector
