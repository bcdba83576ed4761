"""`tandem worker`: one engine behind Redis, until it is told to stop; then what is in flight is finished."""

import argparse
import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from inference_server.worker import work

from bridge.settings import Settings, WrongSetting
from inference_server.engines import Generate
from observability.traces import tracing
from wire.redis import RedisWire

logger = logging.getLogger("tandem")


async def serve(arguments: argparse.Namespace, settings: Settings) -> None:
    """Raises WrongSetting."""
    settings = replace(settings, redis_url=settings.redis_url or "redis://localhost:6379")
    assert settings.redis_url is not None
    endpoint, key = settings.phoenix_collector_endpoint, settings.phoenix_api_key
    wire = RedisWire(settings.redis_url, settings.redis_stream_key, settings.redis_key)
    stopped = anyio.Event()
    with tracing(endpoint=endpoint, api_key=key, service="tandem-worker"):
        async with _engine(arguments, settings) as generate, wire, anyio.create_task_group() as tasks:
            tasks.start_soon(_until_signal, stopped)
            logger.info("the %s engine takes jobs from %s", arguments.engine, settings.redis_stream_key)
            await work(wire, generate, slots=arguments.slots, stopped=stopped)
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _engine(arguments: argparse.Namespace, settings: Settings) -> AsyncGenerator[Generate]:
    if arguments.engine == "echo":
        from inference_server.engines.echo import echo_engine

        yield echo_engine(arguments.tokens_per_second)
    elif arguments.engine == "extractive":
        from inference_server.engines.extractive import generate

        yield generate
    else:
        from inference_server.engines.openai import openai_engine

        if not settings.openai_base_url:
            raise WrongSetting("--engine openai needs OPENAI_BASE_URL, e.g. http://127.0.0.1:11434/v1 for Ollama")
        async with openai_engine(settings.openai_base_url, settings.openai_api_key, settings.model) as generate:
            yield generate


async def _until_signal(stopped: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            logger.info("finishing what is in flight; once more to drop it")
            if stopped.is_set():
                raise KeyboardInterrupt
            stopped.set()
