# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""A cross-encoder on onnxruntime, in this process: a folder with its weights or its graph, as a hub has it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio.to_thread
from anyio import CapacityLimiter

from indexer.embed import EmbedderAway, EmbedderUnusable, weights
from indexer.embed.graph import write
from indexer.embed.onnx import tokenizer
from indexer.embed.sessions import Session
from indexer.embed.way import first_place, positions
from indexer.rerank import Rerank, RerankerUnusable, graph

_MOST_TOKENS = 512  # of query and text together
_BATCH = 8
_PRECISION = "fp32"  # what int8 costs a reranker was measured with none


def load(folder: Path, cache: Path, threads: int) -> Rerank:
    """Opens the model; the first time it is built from its weights into `cache`.

    Raises RerankerUnusable with the remedy, OSError where `cache` cannot be written.
    """
    try:
        return _CrossEncoder(folder, cache, threads).scores
    except (EmbedderUnusable, EmbedderAway) as error:
        raise RerankerUnusable(str(error)) from error


class _CrossEncoder:
    def __init__(self, folder: Path, cache: Path, threads: int) -> None:
        found = weights.remembered(folder.name, whole(folder), cache)
        self._tokenizer = tokenizer(found.tokenizer, min(positions(folder), _MOST_TOKENS))
        file, pad = found.file, 0
        if found.is_graph:
            pad = int(found.config.get("pad_token_id") or 0)
        else:
            file = cache / f"{found.sha256[:16]}-{_PRECISION}-score-{graph.VERSION}.onnx"
            if not file.exists():
                write(graph.build(folder, _PRECISION), file)
        self._session = Session(file, threads, pad, first_place(found.config))
        if len(self._session.shape) != 2 or self._session.shape[1] not in (1, "1"):
            raise RerankerUnusable(
                f"{file} was expected to give one score for a query and a text, it gives {self._session.shape}; "
                "export a cross-encoder for text classification with one label"
            )
        self._one_by_one = CapacityLimiter(1)

    async def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Who waits no longer ends it with the batch under way."""
        work = partial(self._tokenizer.encode_batch, [(query, text) for text in texts])
        encoded = await anyio.to_thread.run_sync(work)
        order = sorted(range(len(encoded)), key=lambda n: len(encoded[n].ids))
        scores = [0.0] * len(encoded)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            ids, types = ([list(getattr(encoded[n], what)) for n in batch] for what in ("ids", "type_ids"))
            run = partial(self._session.run, ids, types)
            found, _ = await anyio.to_thread.run_sync(run, limiter=self._one_by_one, abandon_on_cancel=True)
            for n, score in zip(batch, found[:, 0].tolist(), strict=True):
                scores[n] = score
        return scores


def whole(folder: Path) -> Path:
    """The folder, if it has the files of a model. Raises RerankerUnusable."""
    there = {name for name in (*weights.FILES, *weights.GRAPHS) if (folder / name).is_file()}
    if {"tokenizer.json", "config.json"} <= there and len(there) > 2:
        return folder
    raise RerankerUnusable(
        f"{folder} was expected to hold a cross-encoder: model.safetensors or model.onnx, tokenizer.json "
        f"and config.json; found {', '.join(sorted(there)) or 'none of them'}; set TANDEM_RERANK_MODEL to such a folder"
    )
