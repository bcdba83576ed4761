"""Embedders for the seam: vectors of words, and what has been asked of them."""

import zlib
from collections.abc import Sequence

import numpy as np

from indexer.embed import Done, EmbedderAway, Vectors
from indexer.embed.prefixes import NOTHING


class WordEmbedder:
    """A text's vector counts its words in 64 buckets. `embedded` holds every document text, in order."""

    def __init__(self, signature: str = "words:64", dimensions: int = 64) -> None:
        self.signature, self.dimensions, self.prefixes = signature, dimensions, NOTHING
        self.embedded: list[str] = []
        self.away = False

    async def documents(self, texts: Sequence[str], done: Done | None = None) -> Vectors:
        if self.away:
            raise EmbedderAway("the embedder was expected to answer; start it")
        self.embedded += texts
        vectors = np.stack([self._vector(text) for text in texts])
        if done:
            done(0, vectors)
        return vectors

    async def query(self, text: str) -> Vectors:
        if self.away:
            raise EmbedderAway("the embedder was expected to answer; start it")
        return self._vector(text)

    def _vector(self, text: str) -> Vectors:
        vector = np.full(self.dimensions, 1e-3, np.float32)
        for word in text.lower().split():
            vector[zlib.crc32(word.encode()) % self.dimensions] += 1
        return vector / np.linalg.norm(vector)
