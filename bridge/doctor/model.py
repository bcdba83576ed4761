"""What embeds: the weights on this machine, or Ollama's; and whether the index was made with the same."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from bridge.doctor.check import Check, NoAnswer, asked, existing, in_thread, json_of
from bridge.doctor.recorded import Recorded
from bridge.settings import Settings
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.records import Generation

_VOCABULARY = "all-MiniLM-L6-v2"  # by which chunks are measured, whatever embeds them


async def weights(settings: Settings, recorded: Recorded) -> list[Check]:
    own = settings.embed != "ollama"
    name = settings.embedding_model if own else _VOCABULARY
    try:
        sha256, place = await in_thread(partial(_weights, name, settings.embed_model))
    except (EmbedderAway, EmbedderUnusable) as error:
        return [
            Check("model", "failed", str(error), "until then nothing new is indexed, and a search finds words only")
        ]
    if sha256 is None and settings.embed == "remote":
        return [Check("model", "ok", f"workers embed with {name}, queries too: its weights are not on this machine")]
    if sha256 is None:
        found = f"{name} is neither installed nor in a folder that TANDEM_EMBED_MODEL names"
        remedy = (
            "the next start looks in the cache of huggingface.co and may download it (90 MB, once); or `make install`"
        )
        return [Check("model", "ok" if recorded.answers else "warning", found, remedy)]
    if not own:
        return [Check("model", "ok", f"Ollama embeds; the vocabulary of {name} is in {place}")]
    precision = "fp32" if settings.embed == "remote" else settings.embed_precision
    checks = [await in_thread(partial(_graph, f"{name} in {place}", sha256, precision))]
    if recorded.answers:
        checks += _same("model", recorded.answers, f"onnx-{precision}:{name}@{sha256[:12]}", recorded.chunks)
    return checks


def _weights(name: str, folder: Path | None) -> tuple[str | None, Path | None]:
    """(sha256, where they are) without a download. Raises EmbedderUnusable or EmbedderAway where they are not right."""
    from indexer.embed import weights

    if folder is None and weights.package(name) is None:
        return None, None
    found = weights.find(name, folder)
    return found.sha256, found.folder


def _graph(what: str, sha256: str, precision: str) -> Check:
    from bridge.opening import models_folder

    cache = models_folder()
    if any(cache.glob(f"{sha256[:16]}-{precision}-*.onnx")):
        return Check("model", "ok", f"{what}, {precision}, ready in {cache}")
    if not os.access(existing(cache), os.W_OK | os.X_OK):
        found = f"{what}; it was expected that {cache} can be written, where it is made ready once"
        return Check("model", "failed", found, "let this user write there, or set XDG_CACHE_HOME to another folder")
    return Check("model", "ok", f"{what}, {precision}; the first start makes it ready (about 5 s)")


def _same(part: str, answers: Generation, wanted: str, chunks: int) -> list[Check]:
    """`wanted`: a signature without its dimensions."""
    if answers.signature.startswith(f"{wanted}:"):
        return []
    found = f"the index was made with {answers.signature}, the settings ask for {wanted}"
    remedy = (
        f"the next start embeds up to {chunks} chunks anew, while the index as it is answers; "
        "to keep that one, set TANDEM_EMBED, TANDEM_EMBED_PRECISION or EMBEDDING_MODEL back, or pull the former model"
    )
    return [Check(part, "warning", found, remedy)]


async def ollama(settings: Settings, recorded: Recorded) -> list[Check]:
    kept = recorded.answers.signature if recorded.answers else ""
    if settings.embed == "ollama":
        name = settings.embedding_model
    elif kept.startswith("ollama:"):
        name = kept.removeprefix("ollama:").rpartition("@")[0]  # embeds queries until the new index is whole
    else:
        return [Check("ollama", "off", "does not embed here (TANDEM_EMBED=ollama)")]
    base = _base(settings.ollama_host)
    try:
        tags = await asked(f"{base}/api/tags")
        models: list[dict[str, Any]] = json_of(tags)["models"] if tags.is_success else []
        digests = {str(one["model"]): str(one["digest"]) for one in models}
    except (NoAnswer, KeyError, TypeError) as error:
        found = f"Ollama was expected at {base}: {error}"
        return [Check("ollama", "failed", found, "start it (`ollama serve`), or set OLLAMA_HOST to where it runs")]
    if not tags.is_success:
        remedy = "see that OLLAMA_HOST is an Ollama, and that what stands before it lets you in"
        return [Check("ollama", "failed", f"{base} was expected to list its models: status {tags.status_code}", remedy)]
    digest = digests.get(name) or digests.get(f"{name}:latest")
    if digest is None:
        some = ", ".join(sorted(digests)[:5]) or "none"
        found = f"{base} was expected to have {name}, it has {some}"
        return [Check("ollama", "failed", found, f"run `ollama pull {name}` there")]
    has = Check("ollama", "ok", f"{await _version(base)} at {base} has {name} ({digest[:12]})")
    signature = f"ollama:{name}@{digest[:12]}"
    if settings.embed == "ollama":
        return [has, *(_same("ollama", recorded.answers, signature, recorded.chunks) if recorded.answers else [])]
    if kept.startswith(f"{signature}:"):
        return [has]
    found = f"the index was made with {kept}, which {base} has no more: a search finds words only"
    return [Check("ollama", "warning", found, "nothing need be done: that ends with the new index being whole")]


async def _version(base: str) -> str:
    try:
        return f"Ollama {json_of(await asked(f'{base}/api/version'))['version']}"
    except (NoAnswer, KeyError, TypeError):
        return "an Ollama that does not tell its version"


def _base(host: str) -> str:
    """As Ollama's own client reads it."""
    if "://" in host:
        return host.rstrip("/")
    host = host.rstrip("/") or "127.0.0.1"
    has_port = host.rpartition(":")[2].isdigit() and not host.endswith("]")
    return f"http://{host}" if has_port else f"http://{host}:11434"
