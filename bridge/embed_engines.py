# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
"""`tandem worker --task embed`: what embeds there, and with which weights."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from bridge.settings import Settings, WrongSetting, worded
from indexer.embed import EmbedderUnusable, packaged
from indexer.embed.prefixes import Asked
from inference_server.engines import EngineUnusable, Generate
from inference_server.engines.embed import NoWeights, embedding

_FILES = [f"{folder}{kind}" for folder in ("", "*/") for kind in ("*.json", "*.txt", "*.model", "*.safetensors")]


@asynccontextmanager
async def embed_engine(engine: str, settings: Settings, config: str | None = None) -> AsyncGenerator[Generate]:
    """In full precision, whatever runs it: what goes over the wire serves any laptop with the same weights. `config`
    is vLLM's file; its model wins over EMBEDDING_MODEL.

    Raises WrongSetting for an engine that does not embed, EmbedderUnusable where its model cannot be opened.
    """
    name = settings.embedding_model
    try:
        if engine == "onnx":
            yield await anyio.to_thread.run_sync(_onnx, name, settings)
        elif engine == "sentence-transformers":
            from inference_server.engines.sbert import sentence_transformers_engine

            folder = await anyio.to_thread.run_sync(_folder, name, settings)
            yield await anyio.to_thread.run_sync(sentence_transformers_engine, name, folder)
        elif engine == "vllm":
            async with _vllm(settings, config) as generate:
                yield generate
        else:
            engines = "vllm, sentence-transformers or onnx"
            raise WrongSetting(f"--task embed was expected with --engine {engines}, not {engine}")
    except NoWeights as error:
        raise EmbedderUnusable(str(error)) from error


@asynccontextmanager
async def _vllm(settings: Settings, config: str | None) -> AsyncGenerator[Generate]:
    from inference_server.config import read

    with worded():
        found = read(Path(config)) if config else None
    try:
        from inference_server.engines.vllm_embed import vllm_embed_engine
        from inference_server.engines.vllm_fields import check
    except ModuleNotFoundError as error:
        raise WrongSetting(f"the vllm engine needs vLLM ({error}): pip install 'tandem-rag[server]'") from error
    if found:
        with worded():
            check(found)
    options = dict(found.engine) if found else {}
    name = str(options.pop("model", settings.embedding_model))
    folder = await anyio.to_thread.run_sync(_folder, name, settings)
    try:
        async with vllm_embed_engine(name, folder, options) as generate:
            yield generate
    except* EngineUnusable as group:
        raise EmbedderUnusable(str(group.exceptions[0])) from None


def _onnx(name: str, settings: Settings) -> Generate:
    from bridge.opening import models_folder
    from indexer.embed import onnx

    # Who sends a text has put before it what the model wants there.
    asked = Asked("", "")
    loaded = onnx.load(name, settings.embed_model, models_folder(), settings.threads, precision="fp32", asked=asked)
    return embedding(loaded.documents, loaded.weights, "onnx")


def _folder(name: str, settings: Settings) -> Path:
    """A local copy of the whole model: its pooling and its limits too, not the weights alone."""
    if Path(name).is_dir():
        return Path(name)
    if place := settings.embed_model or packaged.package(name):
        return place
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return Path(snapshot_download(repository, allow_patterns=_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EmbedderUnusable(
            f"the hub gave no model {repository} ({type(error).__name__}): set EMBEDDING_MODEL to a name that it has, "
            "or TANDEM_EMBED_MODEL to a folder with the model"
        ) from error
