"""Texts become vectors of unit length; a query and a document may be prefixed differently.

EmbedderAway       trying again later may work
EmbedderUnusable   somebody must act first
TextsRefused       some of the texts can never be embedded; the others are done
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

# Given (start, rows): the vectors of texts[start : start + len(rows)] are final. Called on the event loop, once for
# each text that is embedded, as soon as it is and in any order; what it raises comes out of `documents`.
Done = Callable[[int, Vectors], None]


class EmbedderAway(Exception):
    """The embedder cannot be reached now; trying again later may work. Search goes on with its lexical side."""


class EmbedderUnusable(Exception):
    """The embedder will not work until somebody acts: no weights, model not pulled, wrong dimensions."""


class TextsRefused(Exception):
    """Some texts cannot be embedded at all; the others are done.

    `refused`: index in the texts -> reason in words. `vectors`: (texts, dimensions); rows of refused texts are zero.
    """

    def __init__(self, refused: Mapping[int, str], vectors: Vectors) -> None:
        first = min(refused)
        super().__init__(f"{len(refused)} of {len(vectors)} texts cannot be embedded; number {first}: {refused[first]}")
        self.refused, self.vectors = dict(refused), vectors


class Embedder(Protocol):
    """`signature` names model, digest and dimensions: vectors of another signature are never compared with these."""

    @property
    def signature(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        """float32, (texts, dimensions). Raises EmbedderAway or EmbedderUnusable, after which only what `done` was
        given is embedded; or, at its end, TextsRefused."""
        ...

    async def query(self, text: str) -> Vectors:
        """float32, (dimensions,). Raises EmbedderAway or EmbedderUnusable."""
        ...


@runtime_checkable
class Resting(Protocol):
    """An embedder that holds in this process what only documents need."""

    async def rest(self) -> None:
        """Gives that back; the next `documents` takes it again. Queries go on."""
        ...
