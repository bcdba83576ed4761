"""Texts become vectors of unit length; a query and a document may be prefixed differently."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class EmbedderAway(Exception):
    """The embedder cannot be reached now; trying again later may work. Search goes on with its lexical side."""


class EmbedderUnusable(Exception):
    """The embedder will not work until somebody acts: no weights, model not pulled, wrong dimensions."""


class Embedder(Protocol):
    """`signature` names model, digest and dimensions: vectors of another signature are never compared with these."""

    @property
    def signature(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def documents(self, texts: Sequence[str]) -> Vectors:
        """float32, (texts, dimensions). Raises EmbedderAway or EmbedderUnusable."""
        ...

    async def query(self, text: str) -> Vectors:
        """float32, (dimensions,)."""
        ...
