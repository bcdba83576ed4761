"""What embeds: the weights on this machine, or Ollama's; and whether the index was made with the same."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.doctor.check import Check, NoAnswer, asked, existing, in_thread, json_of
from bridge.doctor.recorded import Recorded
from bridge.settings import Settings
from indexer.embed import EmbedderAway, EmbedderUnusable
from indexer.embed.prefixes import Asked
from indexer.embed.way import Way, read
from indexer.records import Generation

if TYPE_CHECKING:
    from indexer.embed.weights import Weights

_VOCABULARY = "all-MiniLM-L6-v2"  # by which chunks are measured, whatever embeds them


async def weights(settings: Settings, recorded: Recorded) -> list[Check]:
    own = settings.embed != "ollama"
    name = settings.embedding_model if own else _VOCABULARY
    try:
        asked = Asked(settings.embed_document_prefix, settings.embed_query_prefix)
        found = await in_thread(partial(_weights, name, settings.embed_model))
        way = found and await in_thread(partial(read, found.folder, name, asked, pooled=found.is_graph))
    except (EmbedderAway, EmbedderUnusable) as error:
        return [
            Check("model", "failed", str(error), "until then nothing new is indexed, and a search finds words only")
        ]
    if found is None and settings.embed == "remote":
        return [Check("model", "ok", f"workers embed with {name}, queries too: its weights are not on this machine")]
    if found is None or way is None:
        told = f"{name} is neither installed nor in a folder that TANDEM_EMBED_MODEL names"
        remedy = (
            "the next start looks in the cache of huggingface.co and may download it (90 MB, once); or `make install`"
        )
        return [Check("model", "ok" if recorded.answers else "warning", told, remedy)]
    if not own:
        return [Check("model", "ok", f"Ollama embeds; the vocabulary of {name} is in {found.folder}")]
    precision = "fp32" if settings.embed == "remote" else settings.embed_precision
    what = f"{name} in {found.folder}{_told(way)}"
    if found.is_graph:
        checks, kind = [Check("model", "ok", f"{what}, as {found.file.name} has it")], "onnx-file"
    else:
        checks, kind = [await in_thread(partial(_graph, what, found.sha256, precision))], f"onnx-{precision}"
    if recorded.answers:
        tag = None if found.is_graph else way.tag
        checks += _same("model", recorded.answers, f"{kind}:{name}@{found.sha256[:12]}", recorded.chunks, tag)
    return checks


def _weights(name: str, folder: Path | None) -> "Weights | None":
    """Without a download. Raises EmbedderUnusable or EmbedderAway where they are not right."""
    from indexer.embed import packaged, weights

    if folder is None and packaged.package(name) is None:
        return None
    return weights.find(name, folder)


def _told(way: Way) -> str:
    """What differs from model to model, and can be set."""
    if way == Way():
        return ""
    words = [f"{way.max_tokens} tokens", "" if way.pooling == "graph" else f"pooled by {way.pooling}"]
    words += [f"before a query {way.prefixes.query!r}" if way.prefixes.query else ""]
    words += [f"before a document {way.prefixes.document!r}" if way.prefixes.document else ""]
    return f" ({', '.join(filter(None, words))})"


def _graph(what: str, sha256: str, precision: str) -> Check:
    from bridge.opening import models_folder

    cache = models_folder()
    if any(cache.glob(f"{sha256[:16]}-{precision}-*.onnx")):
        return Check("model", "ok", f"{what}, {precision}, ready in {cache}")
    if not os.access(existing(cache), os.W_OK | os.X_OK):
        found = f"{what}; it was expected that {cache} can be written, where it is made ready once"
        return Check("model", "failed", found, "let this user write there, or set XDG_CACHE_HOME to another folder")
    return Check("model", "ok", f"{what}, {precision}; the first start makes it ready (about 5 s)")


def _same(part: str, answers: Generation, wanted: str, chunks: int, tag: str | None = None) -> list[Check]:
    """`wanted`: a signature without its dimensions; `tag`: its end, where that is known."""
    has = answers.signature.removeprefix(f"{wanted}:").partition(":")
    if answers.signature.startswith(f"{wanted}:") and tag in (None, "".join(has[1:])):
        return []
    found = f"the index was made with {answers.signature}, the settings ask for {wanted}{tag or ''}"
    remedy = (
        f"the next start embeds up to {chunks} chunks anew, while the index as it is answers; "
        "to keep that one, set what you changed of TANDEM_EMBED… and EMBEDDING_MODEL back, or pull the former model"
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
