"""What the user has set: environment, then `.env` in the working folder, then `tandem.toml` in the data folder; last,
the queue that this machine is paired with (`bridge.paired`).

Stdlib and dotenv only: a `tandem mcp` that starts the daemon reads it. Each field's comment in `.env.example`.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from bridge import hiding, paired
from bridge.whereabouts import users_data


class WrongSetting(Exception):
    """A name or value that is not known; the message says what was expected and from where it came."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Field `redis_url` is the variable REDIS_URL; those with TANDEM_ in front are listed in OURS."""

    data: Path
    embedding_model: str = ""
    thread_pool_size: int = 0  # 0: the number of processors
    qdrant_url: str | None = None
    qdrant_api_key: str | None = None
    qdrant_host: str | None = None
    qdrant_port: int = 6333
    qdrant_collection: str = "my_docs"
    rag_top_k: int = 5
    rag_score_threshold: float = 0.6
    cache_collection: str = "semantic_cache"
    cache_similarity_threshold: float = 0.92
    cache_ttl_s: float = 7 * 86_400  # 0, as for cache_max: no answer is kept
    cache_max: int = 10_000
    redis_url: str | None = None
    redis_key: str | None = None
    redis_stream_key: str = "inference_queue"
    redis_stream_maxlen: int = 10_000
    result_timeout_sec: float = 60
    max_concurrent_per_process: int = 250
    host: str = "127.0.0.1"
    port: int = 8000
    uvicorn_workers: int = 1
    ollama_host: str = "http://127.0.0.1:11434"
    openai_base_url: str | None = None
    openai_api_key: str | None = None
    phoenix_collector_endpoint: str | None = None
    phoenix_api_key: str | None = None
    token: str | None = None
    oauth_issuer: str | None = None
    oauth_introspection_url: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = None
    oauth_resource: str | None = None
    lease_s: float = 15
    embed: str = "onnx"
    embed_model: Path | None = None
    embed_precision: str = "int8"
    embed_query_prefix: str | None = None  # none: as the model was trained; empty: no prefix
    embed_document_prefix: str | None = None
    rerank: str = "off"
    rerank_model: str | None = None  # a folder (onnx), or the model's name there (endpoint)
    rerank_url: str | None = None
    rerank_key: str | None = None
    rerank_limit_s: float = 2
    poll: str = "auto"
    quantization: Literal["none", "int8", "turbo8"] = "none"
    shard_number: int = 0  # 0, as for the next: what the Qdrant server is configured for
    replication_factor: int = 0
    max_file_mb: int = 64
    engine: str = ""
    model: str | None = None
    cors_origins: str = ""
    no_worker: str = "extract"
    phoenix_python: str | None = None
    trace_hide: str = ""
    judge: float = 0

    @property
    def qdrant(self) -> str | None:
        """The server's URL, or none for the embedded store."""
        if self.qdrant_url:
            return self.qdrant_url
        return f"http://{self.qdrant_host}:{self.qdrant_port}" if self.qdrant_host else None

    @property
    def hidden(self) -> frozenset[str]:
        """What traces may not tell, of `observability.redaction.HIDEABLE`."""
        words = frozenset(re.split(r"[\s,]+", self.trace_hide.strip().lower())) - {""}
        return frozenset(_HIDEABLE) if "all" in words else words

    @property
    def threads(self) -> int:
        return self.thread_pool_size or os.cpu_count() or 1


_MINILM = "all-MiniLM-L6-v2"
_HIDEABLE = ("questions", "passages", "answers", "parameters")
OURS = frozenset(
    {
        "data",
        "cache_ttl_s",
        "cache_max",
        "token",
        "oauth_issuer",
        "oauth_introspection_url",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_resource",
        "lease_s",
        "embed",
        "embed_model",
        "embed_precision",
        "embed_query_prefix",
        "embed_document_prefix",
        "rerank",
        "rerank_model",
        "rerank_url",
        "rerank_key",
        "rerank_limit_s",
        "poll",
        "quantization",
        "shard_number",
        "replication_factor",
        "max_file_mb",
        "engine",
        "model",
        "cors_origins",
        "no_worker",
        "phoenix_python",
        "trace_hide",
        "judge",
    }
)
_CHOICES = {
    "embed": ("onnx", "ollama", "remote"),
    "embed_precision": ("int8", "fp32"),
    "rerank": ("off", "onnx", "endpoint"),
    "poll": ("auto", "all"),
    "quantization": ("none", "int8", "turbo8"),
    "engine": ("extractive", "openai", "redis"),
    "no_worker": ("extract", "refuse"),
}
# (least, most); other numbers are 0 or more.
_RANGES = {
    "port": (0, 65535),
    "qdrant_port": (1, 65535),
    "rag_top_k": (1, 100),  # service.MAX_LIMIT
    "cache_similarity_threshold": (0, 1),
    "judge": (0, 1),
    "max_concurrent_per_process": (1, inf),
    "result_timeout_sec": (0.1, inf),
    "lease_s": (1, inf),
    "rerank_limit_s": (0.05, inf),
    "max_file_mb": (1, 2048),
}
# Taken with the blanks at their ends; the word `none` is the empty text, for an empty word means unset.
_PREFIXES = ("embed_query_prefix", "embed_document_prefix")
_READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (int, "a whole number"),
    float: (float, "a number"),
    Path: (lambda word: Path(word).expanduser().absolute(), "a path"),
}
# Field -> the types it takes, without None.
_KINDS = {name: get_args(kind) or (kind,) for name, kind in get_type_hints(Settings).items()}
_NAMES = {(f"TANDEM_{field.name}" if field.name in OURS else field.name).upper(): field for field in fields(Settings)}


def load(
    data: str | None = None,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
    *,
    dotenv: bool = True,
    roles: Sequence[str] = ("bridge",),
) -> Settings:
    """`data` is --data's word and wins over TANDEM_DATA; without `dotenv` no `.env` is read; of the ways in which this
    machine is paired the first of `roles` counts. Raises WrongSetting."""
    place, words = _set(data, environment, folder, dotenv)
    if roles and "redis_url" not in words:  # what is known of one queue is no other's, its password least of all
        known = dict(_named(*_paired(place, roles), strict=True))
        words = known | words | {name: known[name] for name in ("redis_key",) if name in known}
    words.pop("data", None)
    hides = {name: words.pop(name) for name in list(words) if name.startswith(hiding.PREFIX)}
    settings = Settings(place, **{name: _parsed(name, *word) for name, word in words.items()})
    hidden = [kind for name, word in hides.items() if _is_true(name, *word) for kind in hiding.hidden_by(name)]
    return _checked(replace(settings, trace_hide=" ".join([settings.trace_hide, *hidden]).strip()))


def origin(field: str, data: Path) -> tuple[str, str] | None:
    """What a field is set to and where: "the environment", or a file. None where its default counts, or a pairing.
    Raises WrongSetting."""
    return _set(str(data), os.environ, None, dotenv=True)[1].get(field)


def said(environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> dict[str, str]:
    """What the environment and `.env` say, by variable, as it is written there. Raises WrongSetting."""
    file = (folder or Path.cwd()) / ".env"
    dotenv = _dotenv(file)
    names = [*_named(dotenv, str(file)), *_named(environment, "the environment")]
    return {_variable(name) if name in _KINDS else name: word for name, (word, _) in names}


def _set(
    data: str | None, environment: Mapping[str, str], folder: Path | None, dotenv: bool
) -> tuple[Path, dict[str, tuple[str, str]]]:
    """The data folder, and (word, source) by field."""
    file = (folder or Path.cwd()) / ".env"
    words = dict(_named(_dotenv(file) if dotenv else {}, str(file))) | dict(_named(environment, "the environment"))
    place = Path(data or words.get("data", ("", ""))[0] or users_data()).expanduser().resolve()
    toml = place / "tandem.toml"
    return place, dict(_named(_toml(toml), str(toml), strict=True)) | words


def _named(values: Mapping[str, str], source: str, strict: bool = False) -> list[tuple[str, tuple[str, str]]]:
    """(field, (word, source)) of the names that are ours, and OpenInference's that hide, as they are written; an empty
    word means unset, as compose files write it."""
    found: list[tuple[str, tuple[str, str]]] = []
    for name, word in values.items():
        if (field := _NAMES.get(name.upper() if strict else name)) is not None:
            if word.strip():
                found.append((field.name, (word, source)))
        elif (upper := name.upper() if strict else name).startswith(hiding.PREFIX):
            if word.strip():
                found.append((upper, (word, source)))
        elif (strict or name.startswith("TANDEM_")) and not name.startswith("TANDEM_TEST_"):
            # What is wrong may be the prefix alone.
            stems = {known.removeprefix("TANDEM_"): known for known in _NAMES}
            near = get_close_matches(name.upper().removeprefix("TANDEM_"), stems, 1)
            hint = f"; did you mean {stems[near[0]]}?" if near else ""
            raise WrongSetting(f"{source} sets {name}, which is no setting of Tandem{hint}")
    return found


def _dotenv(file: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    try:
        return {name: value for name, value in dotenv_values(file).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetting(f"{file} was expected to be readable, NAME=value on each line: {error}") from error


def _toml(file: Path) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in tomllib.loads(file.read_text("utf-8")).items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise WrongSetting(f"{file} cannot be read ({error.strerror}): allow it, or remove the file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSetting(f"{file} was expected to be TOML, name = value on each line: {error}") from error


def _paired(place: Path, roles: Sequence[str]) -> tuple[dict[str, str], str]:
    file = paired.files(place, roles)
    words = _toml(file)
    if url := words.get("redis_url"):
        words["redis_url"] = paired.found(place, url)
    return words, str(file)


def _parsed(name: str, word: str, source: str) -> Any:
    def wrong(expected: str) -> WrongSetting:
        return WrongSetting(f"{_variable(name)} was expected to be {expected}, {source} says {word!r}")

    if name in _PREFIXES:
        return "" if word.strip() == "none" else word
    kind = _KINDS[name]
    read, expected = next((reader for type_, reader in _READERS.items() if type_ in kind), (str, "text"))
    try:
        value = read(word.strip())
    except ValueError as error:
        raise wrong(expected) from error
    if name in _CHOICES and value not in _CHOICES[name]:
        raise wrong(f"one of {', '.join(_CHOICES[name])}")
    least, most = _RANGES.get(name, (0, inf))
    if isinstance(value, int | float) and not least <= value <= most:
        raise wrong(f"{least} or more" if most == inf else f"{least} to {most}")
    return value


def _is_true(name: str, word: str, source: str) -> bool:
    """As OpenInference reads it; what it would only warn of is refused, for it would show what was to be hidden."""
    if (said := word.strip().lower()) in ("true", "false"):
        return said == "true"
    raise WrongSetting(f"{name} was expected to be true or false, {source} says {word!r}")


def _checked(settings: Settings) -> Settings:
    if not settings.engine:
        settings = replace(settings, engine="redis" if settings.redis_url else "extractive")
    if settings.engine == "redis" and not settings.redis_url:
        settings = replace(settings, redis_url="redis://localhost:6379")
    if settings.engine == "openai":
        openai_settings(settings)
    if not settings.embedding_model:
        own = settings.embed != "ollama"
        name = (settings.embed_model and _name_of(settings.embed_model)) or _MINILM
        settings = replace(settings, embedding_model=name if own else "nomic-embed-text")
    if settings.embed == "remote" and not settings.redis_url:
        raise WrongSetting(
            "TANDEM_EMBED=remote needs REDIS_URL, where workers (`tandem worker --task embed`) take batches of texts; "
            "set it, or unset TANDEM_EMBED to embed on this machine"
        )
    if settings.rerank == "onnx" and not settings.rerank_model:
        raise WrongSetting(
            "TANDEM_RERANK=onnx needs TANDEM_RERANK_MODEL, a folder with a cross-encoder: model.safetensors or "
            "model.onnx, tokenizer.json and config.json; set it, or unset TANDEM_RERANK"
        )
    if settings.rerank == "endpoint" and not settings.rerank_url:
        raise WrongSetting(
            "TANDEM_RERANK=endpoint needs TANDEM_RERANK_URL, e.g. http://gpu-box:8000/rerank for vLLM; "
            "set it, or unset TANDEM_RERANK"
        )
    if settings.oauth_issuer:
        _check_oauth(settings)
    if (url := settings.qdrant_url) and not url.startswith(("http://", "https://")):
        raise WrongSetting(f"QDRANT_URL was expected to be http://host:6333 or https://host, it is {url!r}")
    if unknown := settings.hidden.difference(_HIDEABLE):
        raise WrongSetting(
            f"TANDEM_TRACE_HIDE was expected to name {', '.join(_HIDEABLE)} or all, it names {min(unknown)}"
        )
    if settings.uvicorn_workers > 1:
        raise WrongSetting(
            f"UVICORN_WORKERS is {settings.uvicorn_workers}: one process owns the index, so 1 is the only value; "
            "unset it (more generation comes from more `tandem worker`s)"
        )
    return settings


def _check_oauth(settings: Settings) -> None:
    for field, example in (
        ("oauth_issuer", "https://login.example.com"),
        ("oauth_introspection_url", "https://login.example.com/introspect"),
        ("oauth_resource", "https://tandem.example.com/mcp, as clients reach this daemon"),
    ):
        url = getattr(settings, field)
        if not url or not re.match(r"https://[^/]|http://(localhost|127\.0\.0\.1|\[::1\])[:/]", url):
            came = f"it is {url!r}" if url else "it is not set"
            raise WrongSetting(
                f"with TANDEM_OAUTH_ISSUER set, {_variable(field)} was expected to be e.g. {example} (http:// only for "
                f"this machine); {came}"
            )


@contextmanager
def worded() -> Generator[None]:
    """Raises WrongSetting for the ValueError of a part that was given an address or a key which cannot be one."""
    try:
        yield
    except ValueError as error:
        raise WrongSetting(str(error)) from error


def openai_settings(settings: Settings) -> tuple[str, str | None, str]:
    """(base URL, API key, model). Raises WrongSetting where one of the first two is not set."""
    if not settings.openai_base_url or not settings.model:
        raise WrongSetting(
            "the openai engine needs OPENAI_BASE_URL, e.g. http://127.0.0.1:11434/v1 for Ollama, and TANDEM_MODEL, "
            "the model's name there; set both"
        )
    return settings.openai_base_url, settings.openai_api_key, settings.model


def _name_of(folder: Path) -> str | None:
    """Of a model that is clearly none like all-MiniLM-L6-v2: its folder's, or in the hub's cache its repository's."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        shape = (config.get("model_type"), config.get("hidden_size"), config.get("num_hidden_layers"))
    except (OSError, ValueError, AttributeError):
        return None
    if shape == ("bert", 384, 6):
        return None
    place = folder.parent.parent if folder.parent.name == "snapshots" else folder
    # A signature is parted at these.
    return re.sub(r"[@:\s]", "-", place.name.removeprefix("models--").replace("--", "/"))


def _variable(field: str) -> str:
    return (f"TANDEM_{field}" if field in OURS else field).upper()
