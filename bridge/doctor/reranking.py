"""What orders the best hits anew: nothing, a model here, or a server."""

from functools import partial
from pathlib import Path

import anyio

from bridge.doctor.check import ANSWER_S, Check, in_thread
from bridge.doctor.recorded import Recorded
from bridge.settings import Settings
from indexer.rerank import RerankerAway

_UNTIL_THEN = "until then a search keeps its own order, and says so"


async def reranker(settings: Settings, _: Recorded) -> list[Check]:
    if settings.rerank == "off":
        return [Check("reranker", "off", "orders no hits anew (TANDEM_RERANK)")]
    try:
        found = await (_here(settings) if settings.rerank == "onnx" else _there(settings))
    except (RerankerAway, ValueError) as error:
        return [Check("reranker", "failed", str(error), _UNTIL_THEN)]
    return [Check("reranker", "ok", found)]


async def _here(settings: Settings) -> str:
    from indexer.rerank.onnx import whole

    folder = Path(settings.rerank_model or "").expanduser().absolute()
    return f"a cross-encoder in {await in_thread(partial(whole, folder))}, {settings.rerank_limit_s:g} s for a search"


async def _there(settings: Settings) -> str:
    from indexer.rerank.endpoint import open_endpoint

    url = settings.rerank_url or ""
    async with open_endpoint(url, settings.rerank_model, settings.rerank_key) as rerank:
        try:
            with anyio.fail_after(ANSWER_S):
                await rerank("kiln", ["kiln", "yard"])
        except TimeoutError as error:
            raise RerankerAway(f"{url} was expected to answer within {ANSWER_S:g} s; see its log") from error
    return f"{settings.rerank_model or 'its model'} at {url}, {settings.rerank_limit_s:g} s for a search"
