"""`tandem worker`: one engine behind Redis, until it is told to stop; then what is in flight is finished."""

import argparse
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
from opentelemetry.trace import Tracer

from bridge import paired
from bridge.notifying import notify, status
from bridge.service import Unavailable
from bridge.settings import Settings, WrongSetting, openai_settings, worded
from bridge.traced import traced_work
from inference_server.engines import EngineUnusable, Generate
from inference_server.worker import work
from wire import embedding
from wire.redis import RedisWire

SLOTS = 8
ALIVE_S = 5.0  # compose/server.yaml takes a file that is a minute old for a worker that hangs

logger = logging.getLogger("tandem")


@dataclass(frozen=True, slots=True)
class _Open:
    """`model`: it also takes the jobs that name this one."""

    generate: Generate
    model: str | None = None
    slots: int = SLOTS


async def serve(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raises WrongSetting, and Unavailable for an engine that does not start, or not again."""
    if settings.redis_url is None and (known := paired.read(settings.data, "bridge")):
        raise WrongSetting(
            f"this machine is paired as {known.user}, which takes no jobs: a worker needs a code of its own, by "
            "`tandem pair --role worker` on the queue's machine"
        )
    settings = replace(settings, redis_url=settings.redis_url or "redis://localhost:6379")
    assert settings.redis_url is not None
    embeds = arguments.task == "embed"
    key = embedding.queue(settings.redis_stream_key) if embeds else settings.redis_stream_key
    with worded():
        wire = RedisWire(settings.redis_url, key, settings.redis_key, lease_s=settings.lease_s)
    stopped = anyio.Event()
    # A batch of texts has a span of its own kind, not an answer's.
    with traced_work(settings, "tandem-worker", alone=embeds) as (tracer, keep):
        async with _engine(arguments, settings, tracer) as engine, wire, anyio.create_task_group() as tasks:
            tasks.start_soon(_until_signal, stopped)
            if arguments.alive:
                tasks.start_soon(_alive, Path(arguments.alive))
            slots = arguments.slots or engine.slots
            name, model = arguments.engine, engine.model
            logger.info("the %s engine takes jobs from %s, %d at once", name, key, slots)
            await work(
                wire,
                engine.generate,
                slots=slots,
                stopped=stopped,
                engine=name,
                model=model,
                keep=keep,
                standing=partial(_stands, f"the {name} engine takes jobs from {key}, {slots} at once"),
                log_level=logging.INFO,
            )
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _engine(arguments: argparse.Namespace, settings: Settings, tracer: Tracer) -> AsyncGenerator[_Open]:
    if arguments.config and arguments.engine != "vllm":
        raise WrongSetting(f"--config is for the vllm engine; the {arguments.engine} engine has its settings in .env")
    if arguments.task == "embed":
        from bridge.embed_engines import embed_engine
        from inference_server.embed_spans import spanned

        async with embed_engine(arguments.engine, settings, arguments.config) as generate:
            yield _Open(spanned(generate, tracer))
    elif arguments.engine in ("onnx", "sentence-transformers"):
        raise WrongSetting(f"the {arguments.engine} engine only embeds: add --task embed")
    elif arguments.engine == "echo":
        from inference_server.engines.echo import echo

        yield _Open(echo(arguments.tokens_per_second), settings.model)
    elif arguments.engine == "extractive":
        from inference_server.engines.extractive import extractive

        yield _Open(extractive, settings.model)
    elif arguments.engine == "vllm":
        async with _vllm(arguments.config) as engine:
            yield engine
    else:
        from inference_server.engines.openai import openai_engine

        async with AsyncExitStack() as stack:
            with worded():
                generate = await stack.enter_async_context(openai_engine(*openai_settings(settings)))
            yield _Open(generate, settings.model)


@asynccontextmanager
async def _vllm(config: str | None) -> AsyncGenerator[_Open]:
    from inference_server.config import chosen, read

    path = chosen(config)
    with worded():
        found = read(path)
    try:
        from inference_server.engines.vllm import vllm_engine
        from inference_server.engines.vllm_fields import check
    except ModuleNotFoundError as error:
        raise WrongSetting(f"the vllm engine needs vLLM ({error}): pip install 'tandem-rag[server]'") from error
    logger.info("vLLM loads %s, as %s says", found.engine["model"], path)
    with worded():
        check(found)
        try:
            async with vllm_engine(found) as engine:
                yield _Open(engine.generate, engine.model, engine.slots)
        except* EngineUnusable as group:
            raise Unavailable(str(group.exceptions[0])) from None


async def _alive(file: Path) -> None:
    """Touched while the loop turns, whether or not the queue can be reached: a restart would not bring it back."""
    try:
        while True:
            file.touch()
            await anyio.sleep(ALIVE_S)
    except OSError as error:
        raise WrongSetting(f"--alive was expected to name a file that can be written, not {file}: {error}") from error
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _stands(works: str, problem: str | None) -> None:
    """A queue that is away keeps nobody from being ready: a service manager could not bring it back."""
    notify("READY=1", status(f"waits for the queue: {problem}" if problem else works))


async def _until_signal(stopped: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            logger.info("finishing what is in flight; once more to drop it")
            if stopped.is_set():
                raise KeyboardInterrupt
            stopped.set()
            notify("STOPPING=1", status("finishes what is in flight"))
