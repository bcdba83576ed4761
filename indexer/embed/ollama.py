"""Ollama's /api/embed: a model of any size on this machine's GPU, or on another's."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
import httpx
import numpy as np
import ollama

from indexer.embed import EmbedderAway, EmbedderUnusable, Vectors

# (document, query): what the model was trained with; Ollama does not add them.
_PREFIXES = {
    "nomic-embed-text": ("search_document: ", "search_query: "),
    "mxbai-embed-large": ("", "Represent this sentence for searching relevant passages: "),
}
_BATCH = 32
_TIMEOUT = httpx.Timeout(120, connect=3)  # the client itself waits for ever; a cold model loads for a while
_QUERY_LIMIT_S = 10
_BUSY_PAUSES_S = (0.5, 1, 2, 4)


@asynccontextmanager
async def open_ollama(
    host: str, model: str, recorded: tuple[str, int] | None = None
) -> AsyncGenerator["OllamaEmbedder"]:
    """`recorded` is the index's (signature, dimensions): with it, an Ollama that is away now is no error yet.

    Raises EmbedderAway (nothing recorded and no answer) or EmbedderUnusable (the model is not pulled).
    """
    client = ollama.AsyncClient(host, timeout=_TIMEOUT)
    embedder = OllamaEmbedder(client, host, model)
    try:
        try:
            await embedder.meet()
        except EmbedderAway:
            if recorded is None:
                raise
            embedder.signature, embedder.dimensions = recorded
        yield embedder
    finally:
        await client.close()


class OllamaEmbedder:
    def __init__(self, client: ollama.AsyncClient, host: str, model: str) -> None:
        self._client, self._host, self._model = client, host, model
        self._met = False
        self._document_prefix, self._query_prefix = _PREFIXES.get(model.split(":")[0].split("/")[-1], ("", ""))
        self.signature = ""
        self.dimensions = 0

    async def meet(self) -> None:
        """Learns the model's digest and dimensions; later, checks that they are still the index's."""
        digest = await self._digest()
        dimensions = len((await self._embed([f"{self._document_prefix}dimensions"]))[0])
        signature = f"ollama:{self._model}@{digest[:12]}:{dimensions}"
        if self.signature and signature != self.signature:
            raise EmbedderUnusable(
                f"this index was made with {self.signature}, but Ollama at {self._host} now has {signature}; "
                "nothing was changed. Pull the former model again, or index into another --data folder"
            )
        self.signature, self.dimensions, self._met = signature, dimensions, True

    async def documents(self, texts: Sequence[str]) -> Vectors:
        if not self._met:
            await self.meet()
        made: list[Vectors] = []
        for start in range(0, len(texts), _BATCH):
            batch = [self._document_prefix + text for text in texts[start : start + _BATCH]]
            made.append(await self._embed(batch))
        vectors = np.concatenate(made)
        if vectors.shape != (len(texts), self.dimensions):
            raise EmbedderUnusable(
                f"{self._model} was expected to give {len(texts)} vectors of {self.dimensions} dimensions, "
                f"it gave {vectors.shape}; was the model replaced while Tandem ran? Restart Tandem"
            )
        return vectors

    async def query(self, text: str) -> Vectors:
        if not self._met:
            await self.meet()
        try:
            with anyio.fail_after(_QUERY_LIMIT_S):
                return (await self._embed([self._query_prefix + text]))[0]
        except TimeoutError as error:
            raise EmbedderAway(f"Ollama at {self._host} gave no vector within {_QUERY_LIMIT_S} s") from error

    async def _digest(self) -> str:
        wanted = {self._model, f"{self._model}:latest"}
        async with _translated(self._host, self._model):
            held = (await self._client.list()).models
        digest = next((one.digest for one in held if one.model in wanted), None)
        if not digest:
            raise _not_pulled(self._host, self._model)
        return digest

    async def _embed(self, texts: list[str]) -> Vectors:
        for pause_s in (*_BUSY_PAUSES_S, None):
            async with _translated(self._host, self._model):
                try:
                    # truncate=True would cut a long text in silence.
                    reply = await self._client.embed(self._model, texts, truncate=False)
                except ollama.ResponseError as error:
                    if error.status_code != 503 or pause_s is None:
                        raise
                    await anyio.sleep(pause_s)  # its queue is full
                    continue
            return _unit(np.array(reply.embeddings, np.float32))
        raise AssertionError("the last try returns or raises")


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _not_pulled(host: str, model: str) -> EmbedderUnusable:
    return EmbedderUnusable(f"Ollama at {host} has no model {model}; run `ollama pull {model}` there")


@asynccontextmanager
async def _translated(host: str, model: str) -> AsyncGenerator[None]:
    try:
        yield
    except ollama.ResponseError as error:
        if error.status_code == 404:
            raise _not_pulled(host, model) from error
        if error.status_code in (429, 503):
            raise EmbedderAway(f"Ollama at {host} is busy: {error.error}") from error
        raise EmbedderUnusable(f"Ollama at {host} refused to embed with {model}: {error.error}") from error
    except (ConnectionError, httpx.HTTPError) as error:
        raise EmbedderAway(
            f"Ollama at {host} cannot be reached ({type(error).__name__}); start it with `ollama serve`, set "
            "OLLAMA_HOST, or unset TANDEM_EMBED to embed in this process"
        ) from error
