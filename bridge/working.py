"""`tandem worker`: one engine behind Redis, until it is told to stop; then what is in flight is finished."""

import argparse
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace

import anyio

from bridge.settings import Settings, WrongSetting, openai_settings, worded
from bridge.traced import traced
from inference_server.engines import Generate
from inference_server.worker import work
from wire import embedding
from wire.redis import RedisWire

logger = logging.getLogger("tandem")


async def serve(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raises WrongSetting."""
    settings = replace(settings, redis_url=settings.redis_url or "redis://localhost:6379")
    assert settings.redis_url is not None
    embeds = arguments.task == "embed"
    key = embedding.queue(settings.redis_stream_key) if embeds else settings.redis_stream_key
    with worded():
        wire = RedisWire(settings.redis_url, key, settings.redis_key, lease_s=settings.lease_s)
    stopped = anyio.Event()
    # A batch of texts is no part of anybody's question.
    with nullcontext() if embeds else traced(settings, "tandem-worker"):
        async with _engine(arguments, settings) as generate, wire, anyio.create_task_group() as tasks:
            tasks.start_soon(_until_signal, stopped)
            logger.info("the %s engine takes jobs from %s", arguments.engine, key)
            model = None if embeds else settings.model
            await work(wire, generate, slots=arguments.slots, stopped=stopped, engine=arguments.engine, model=model)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _engine(arguments: argparse.Namespace, settings: Settings) -> AsyncGenerator[Generate]:
    if arguments.task == "embed":
        from bridge.embed_engines import embed_engine

        async with embed_engine(arguments.engine, settings) as generate:
            yield generate
    elif arguments.engine in ("onnx", "sentence-transformers"):
        raise WrongSetting(f"the {arguments.engine} engine only embeds: add --task embed")
    elif arguments.engine == "echo":
        from inference_server.engines.echo import echo

        yield echo(arguments.tokens_per_second)
    elif arguments.engine == "extractive":
        from inference_server.engines.extractive import extractive

        yield extractive
    else:
        from inference_server.engines.openai import openai_engine

        async with AsyncExitStack() as stack:
            with worded():
                generate = await stack.enter_async_context(openai_engine(*openai_settings(settings)))
            yield generate


async def _until_signal(stopped: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            logger.info("finishing what is in flight; once more to drop it")
            if stopped.is_set():
                raise KeyboardInterrupt
            stopped.set()
