"""The settings become the reranker of searches: none, a model in this process, or a server's endpoint."""

from contextlib import AsyncExitStack
from pathlib import Path

import anyio.to_thread

from bridge.opening import models_folder
from bridge.settings import Settings, worded
from indexer.rerank import Rerank, RerankerUnusable
from indexer.rerank.reranker import Reranker


async def opened_reranker(settings: Settings, stack: AsyncExitStack) -> Reranker | None:
    """It closes with `stack`. What cannot be opened keeps nobody from searching: each search says so.

    Raises WrongSetting for an address that cannot be one.
    """
    if settings.rerank == "off":
        return None
    name, limit_s = settings.rerank_model or settings.rerank_url or "", settings.rerank_limit_s
    if settings.rerank == "onnx":
        folder = Path(name).expanduser().absolute()
        return Reranker(await _onnx(folder, settings.threads), folder.name, limit_s)
    from indexer.rerank.endpoint import open_endpoint

    with worded():
        opening = open_endpoint(settings.rerank_url or "", settings.rerank_model, settings.rerank_key)
        rerank = await stack.enter_async_context(opening)
    return Reranker(rerank, name, limit_s)


async def _onnx(folder: Path, threads: int) -> Rerank:
    from indexer.rerank.onnx import load

    try:
        return await anyio.to_thread.run_sync(load, folder, models_folder(), threads)
    except (RerankerUnusable, OSError) as error:
        reason = str(error)

    async def refuse(*_: object) -> list[float]:
        raise RerankerUnusable(reason)

    return refuse
