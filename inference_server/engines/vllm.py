"""vLLM in this process: all jobs in flight share one `AsyncLLM`, which is started again when its core dies.

    job -> messages -> tokens, whole passages left out until they fit -> the model's tokens -> text
    a job taken over: the same tokens, then those that are out already; the text goes on where it stopped

EngineDeadError       -> EngineLost: the job goes back to the queue, nothing is taken until the engine is back
the third such death  -> EngineFailed, code `poison`
vLLM's validation     -> EngineFailed, code `invalid_job`
vLLM's own queue full -> EngineFailed, code `overloaded`
"""

# vLLM is on the GPU box only: where we are checked it has no types.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import dataclasses
import inspect
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, NoReturn

import anyio
from anyio import to_thread

from inference_server.config import Config
from inference_server.engines import EngineFailed, EngineLost, EngineUnusable, Generate
from inference_server.prompt import Message, fitted
from wire import Delta, Final, Job, Reply, Said, Usage
from wire.tasks import background

# Set before vLLM is imported. It tells its makers about each start unless it is told not to; and what is forked
# from a process with threads, as a worker is when it starts its engine again, may hang.
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMError
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.detokenizer import IncrementalDetokenizer
from vllm.v1.engine.exceptions import EngineDeadError

DEATHS = 3  # of the engine under one job, until the job is given up
STARTS = 5  # that fail in a row, until the worker is
LONGEST_PAUSE_S = 30.0
_LOOK_S = 1.0
# Of an answer whose length nobody limits, kept free of passages.
_ANSWER_TOKENS = 512
# Fields of SamplingParams that are not the configuration's to say.
_OURS = frozenset({"n", "output_kind", "detokenize", "logprobs", "prompt_logprobs", "flat_logprobs", "skip_clone"})

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Vllm:
    """A running engine. `model`: the name that jobs know it by; `slots`: how many it has in flight at once."""

    generate: Generate
    model: str
    slots: int


@asynccontextmanager
async def vllm_engine(config: Config) -> AsyncGenerator[Vllm]:
    """Entering loads the model, which takes as long as it takes.

    Raises WrongConfig for a key that vLLM does not know, and EngineUnusable where the model does not start.
    """
    config.check(
        [field.name for field in dataclasses.fields(AsyncEngineArgs)],
        [name for name in inspect.signature(SamplingParams).parameters if name not in _OURS and name[0] != "_"],
    )
    engine = _Engine(config)
    try:
        await engine.start()
        async with background() as tasks:
            tasks.start_soon(engine.keep)
            yield Vllm(engine.generate, engine.model, engine.slots)
    finally:
        with anyio.CancelScope(shield=True):
            await engine.stop()


class _Engine:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._llm: Any = None
        self._fell, self._back = anyio.Event(), anyio.Event()
        self._falls = 0  # since an answer came to its end
        # Jobs under which the engine died. One of them at a time, so that at last it is known which it was.
        self._deaths: Counter[str] = Counter()
        self._suspect = anyio.Lock()
        self._tokenizing = anyio.CapacityLimiter(1)  # tokenizers do not bear two threads

    async def start(self) -> None:
        try:
            # In a thread, for the queue must hear from us meanwhile.
            self._llm = await to_thread.run_sync(_started, self._config)
            self._tokenizer = self._llm.get_tokenizer()
            self._sampling = self._llm.model_config.get_diff_sampling_param() | dict(self._config.sampling)
            self._params(None)
            await self._tokens(Job("", "?"))
        except Exception as error:
            raise EngineUnusable(f"{self._config.path}: vLLM does not start: {_words(error)}") from error
        self._back.set()

    async def stop(self) -> None:
        if self._llm:
            await to_thread.run_sync(self._llm.shutdown)

    @property
    def model(self) -> str:
        names = self._config.engine.get("served_model_name") or self._config.engine["model"]
        return str(names if isinstance(names, str) else names[0])

    @property
    def slots(self) -> int:
        return self._llm.vllm_config.scheduler_config.max_num_seqs

    async def keep(self) -> NoReturn:
        """Starts the engine again whenever it has died. Raises EngineUnusable when that fails time after time."""
        while True:
            with anyio.move_on_after(_LOOK_S):  # it may die while it has nothing to do
                await self._fell.wait()
            if self._llm.errored or self._fell.is_set():
                self._down()
                await self._restart()
                self._fell = anyio.Event()

    def _down(self) -> EngineLost:
        if self._back.is_set():
            self._back = anyio.Event()
            self._falls += 1
            self._fell.set()
        return EngineLost("the engine died and is being started again", self._back)

    async def _restart(self) -> None:
        for failed in range(STARTS):
            pause_s = min(LONGEST_PAUSE_S, 2.0 ** (self._falls + failed - 2))
            logger.warning("the engine died; it is started again in %g s", pause_s)
            await anyio.sleep(pause_s)
            await self.stop()
            try:
                return await self.start()
            except EngineUnusable as error:
                logger.warning("%s", error)
        raise EngineUnusable(f"the engine died and {STARTS} times did not start again; the log says why")

    @asynccontextmanager
    async def generate(self, job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
        if (deaths := self._deaths[job.request_id]) >= DEATHS:
            raise EngineFailed(f"given up: the engine died {deaths} times under this question", "poison")
        if job.metadata.model not in (None, "", self.model):
            raise EngineFailed(f"this worker has {self.model}, not {job.metadata.model}", "invalid_job")
        async with self._suspect if deaths else nullcontext(), aclosing(self._replies(job, said)) as replies:
            yield replies

    async def _replies(self, job: Job, said: Said) -> AsyncGenerator[Reply]:
        prompt = await self._tokens(job)
        params = self._params(job, len(prompt))
        text = _Text(self._tokenizer, prompt, params)
        if not text.resume(said):
            raise EngineFailed("another model began this answer and was lost: ask again", "restarted")
        ended, cached = text.ended or ("length" if text.tokens >= params.max_tokens else None), 0
        if not ended:
            async with aclosing(self._outputs(job, [*prompt, *said.tokens], _rest(params, text.tokens))) as outputs:
                async for output in outputs:
                    (completion,) = output.outputs
                    if delta := text.add(completion.token_ids, completion.finish_reason):
                        yield delta
                    cached = max(cached, output.num_cached_tokens or 0)
                    if text.ended:
                        break
            ended = text.ended
        elif delta := text.add((), ended):
            yield delta
        if ended not in ("stop", "length", "repetition"):
            raise EngineFailed(f"vLLM broke the answer off ({ended}): ask again")
        self._falls = 0
        self._deaths.pop(job.request_id, None)
        usage = Usage(len(prompt), text.tokens, len(prompt) + text.tokens, cached_tokens=min(cached, len(prompt)))
        yield Final(engine="vllm", model=self.model, finish_reason=ended, usage=usage)

    async def _outputs(self, job: Job, tokens: list[int], params: Any) -> AsyncGenerator[Any]:
        """Leaving early aborts the request."""
        if not self._back.is_set() or self._llm.errored:
            raise self._down()
        try:
            requests = self._llm.generate({"prompt_token_ids": tokens}, params, request_id=job.request_id)
            async with aclosing(requests) as outputs:
                async for output in outputs:
                    yield output
        except EngineDeadError as error:
            self._deaths[job.request_id] += 1
            raise self._down() from error
        except VLLMClientError as error:
            raise EngineFailed(f"vLLM refuses the job: {_words(error)}", "invalid_job") from error
        except GracefulHTTPError as error:
            raise EngineFailed(f"vLLM takes no more: {_words(error)}", "overloaded") from error
        except VLLMError as error:
            raise EngineFailed(f"vLLM failed: {_words(error)}") from error

    async def _tokens(self, job: Job) -> list[int]:
        """The prompt's. Raises EngineFailed where not even the best passage fits."""
        window: int = self._llm.model_config.max_model_len
        wanted: int = job.metadata.max_tokens or self._sampling.get("max_tokens") or _ANSWER_TOKENS
        room = window - min(wanted, window // 2)
        lengths: list[int] = []

        def rendered(messages: list[Message]) -> list[int] | None:
            tokens = self._tokenizer.apply_chat_template(
                messages,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                chat_template=self._config.chat_template,
                **self._config.chat_template_kwargs,
            )
            lengths.append(len(tokens))
            return list(tokens) if len(tokens) <= room else None

        tokens = await to_thread.run_sync(fitted, job, rendered, limiter=self._tokenizing)
        if tokens is None:
            raise EngineFailed(
                f"the question and its best passage have {min(lengths)} tokens, the model takes {room} beside an "
                "answer: ask a shorter question, or raise max_model_len",
                "invalid_job",
            )
        if len(lengths) > 1:
            logger.info("job %s: %d tokens of prompt cut to %d", job.request_id, lengths[0], len(tokens))
        return tokens

    def _params(self, job: Job | None, prompt_tokens: int = 0) -> Any:
        """Of the whole answer, whoever has begun it."""
        left: int = self._llm.model_config.max_model_len - prompt_tokens
        wanted: int | None = self._sampling.get("max_tokens")
        if job and job.metadata.max_tokens is not None:
            wanted = job.metadata.max_tokens
        limit = left if wanted is None else min(wanted, left)
        try:
            return SamplingParams(**self._sampling | {"max_tokens": limit, "output_kind": RequestOutputKind.DELTA})
        except (VLLMError, ValueError, TypeError) as error:
            raise EngineFailed(f"vLLM refuses the job: {_words(error)}", "invalid_job") from error


class _Text:
    """An answer's tokens become text, the same however they are parted between workers."""

    def __init__(self, tokenizer: Any, prompt: list[int], params: Any) -> None:
        request = SimpleNamespace(request_id="", prompt_token_ids=prompt, prompt_embeds=None, sampling_params=params)
        # vLLM's own, so that a text is what its server would make of the tokens, stop strings included.
        self._detokenizer = IncrementalDetokenizer.from_new_request(tokenizer, request)
        self._unsaid: list[int] = []
        self._out = 0
        self.tokens = 0
        self.ended: str | None = None

    def resume(self, said: Said) -> bool:
        """Whether what is out is what its tokens say here: not where another kind of engine or another model began."""
        for token in said.tokens:
            self._take((token,), None)
        self._unsaid, self._out = [], len(said.text)
        return self._detokenizer.get_next_output_text(True, False).startswith(said.text)

    def add(self, tokens: Sequence[int], ended: str | None) -> Delta | None:
        """The text that they complete: half a character, or what may become a stop string, waits for its rest."""
        self._take(tokens, ended)
        chunk = self._detokenizer.get_next_output_text(self.ended is not None, False)[self._out :]
        if not chunk:
            return None
        delta = Delta(chunk, tokens=tuple(self._unsaid))
        self._unsaid, self._out = [], self._out + len(chunk)
        return delta

    def _take(self, tokens: Sequence[int], ended: str | None) -> None:
        stop = self._detokenizer.update(list(tokens), ended == "stop")
        self.tokens += len(tokens)
        self._unsaid += tokens[:-1] if ended == "stop" else tokens  # who goes on goes on before the end's own token
        self.ended = self.ended or ("stop" if stop else ended)


def _started(config: Config) -> Any:
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**{"enable_prefix_caching": True} | dict(config.engine)))


def _rest(params: Any, out: int) -> Any:
    """What the engine is asked for when `out` tokens are there already. Text is our own affair."""
    rest = params.clone()
    rest.detokenize, rest.stop, rest.output_text_buffer_length = False, [], 0
    rest.max_tokens -= out
    rest.min_tokens = max(0, rest.min_tokens - out)
    if rest.seed is not None:
        rest.seed += out  # the same draws again would follow the same path
    return rest


def _words(error: BaseException) -> str:
    """An error that only wraps another has no words of its own."""
    return " ".join(str(error).split())[:500] or (_words(error.__cause__) if error.__cause__ else type(error).__name__)
