"""vLLM's pooling runner in this process: all texts in flight share one engine, which batches them as they come.

EngineDeadError     -> EngineLost, the batch goes back to the queue; then EngineUnusable, and this process ends
vLLM's validation   -> that text is refused, the others get their vectors
"""

# vLLM is on the GPU box only: where we are checked it has no types.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import os
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import anyio
import numpy as np
from anyio import to_thread

from inference_server.engines import EngineLost, EngineUnusable, Generate
from inference_server.engines.embed import digest, embedding
from wire.embedding import Rows
from wire.tasks import background

os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.pooling_params import PoolingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

STEP = 64
_LOOK_S = 1.0


@asynccontextmanager
async def vllm_embed_engine(name: str, folder: Path, options: Mapping[str, Any]) -> AsyncGenerator[Generate]:
    """The model in `folder`. `options` are fields of vLLM's AsyncEngineArgs.

    Raises NoWeights, and EngineUnusable for an engine that does not start or has died.
    """
    found = await to_thread.run_sync(digest, folder)
    try:
        # In a thread, for the queue must hear from us meanwhile.
        llm = await to_thread.run_sync(_started, folder, options)
    except Exception as error:
        raise EngineUnusable(f"vLLM does not start with {folder}: {_words(error)}") from error
    engine = _Engine(llm)
    try:
        (probe,) = await engine.embed(["dimensions"])
        if isinstance(probe, str):
            raise EngineUnusable(f"vLLM does not embed with {folder}: {probe}")
        async with background() as tasks:
            tasks.start_soon(engine.watch)
            yield embedding(engine.embed, f"{name}@{found}:{len(probe)}", "vllm", STEP)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(llm.shutdown)


class _Engine:
    def __init__(self, llm: Any) -> None:
        self._llm, self._tokenizer = llm, llm.get_tokenizer()
        self._tokenizing = anyio.CapacityLimiter(1)  # tokenizers do not bear two threads
        self._back = anyio.Event()  # never: whoever started us starts us again

    async def watch(self) -> NoReturn:
        while not self._llm.errored:  # noqa: ASYNC110 (it tells nobody)
            await anyio.sleep(_LOOK_S)
        raise EngineUnusable("the engine died: start the worker again; vLLM's log says why")

    async def embed(self, texts: Sequence[str]) -> list[Rows | str]:
        prompts = await to_thread.run_sync(self._tokens, texts, limiter=self._tokenizing)
        rows: list[Rows | str] = [""] * len(texts)
        dead: list[EngineDeadError] = []

        async def one(number: int) -> None:
            try:
                rows[number] = await self._row(prompts[number])
            except VLLMClientError as error:
                rows[number] = f"vLLM refuses it: {_words(error)}"
            except EngineDeadError as error:
                dead.append(error)

        async with anyio.create_task_group() as tasks:
            for number in range(len(texts)):
                tasks.start_soon(one, number)
        if dead:
            raise EngineLost("the engine died", self._back) from dead[0]
        return rows

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """As long as the model takes: what is too long is cut, as it is on a laptop."""
        longest: int = self._llm.model_config.max_model_len
        return self._tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]

    async def _row(self, tokens: Sequence[int]) -> Rows:
        params = PoolingParams(task="embed")
        requests = self._llm.encode({"prompt_token_ids": list(tokens)}, params, request_id=uuid.uuid4().hex)
        async with aclosing(requests) as outputs:
            async for output in outputs:
                if output.finished:
                    return np.asarray(output.outputs.data.float().cpu(), np.float32)
        raise EngineDeadError


def _started(folder: Path, options: Mapping[str, Any]) -> Any:
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**{**options, "model": str(folder), "runner": "pooling"}))


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
