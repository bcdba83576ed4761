"""How a model's texts become vectors, as its folder says: prefix, number of tokens, pooling.

modules.json, <n>_Pooling/config.json     pooling: mean, cls, last; what else it holds is refused
sentence_bert_config.json                 tokens at most; without it MAX_TOKENS
config_sentence_transformers.json         the prompts named query and document; without them those of its family
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from indexer.embed import EmbedderUnusable
from indexer.embed.prefixes import NOTHING, NOTHING_ASKED, Asked, Prefixes, of

MAX_TOKENS = 256
_MOST_TOKENS = 512  # a chunk has 240; what a long query costs grows with its square
_QUERY_PROMPTS = ("query", "search_query", "s2p_query", "web_search_query")
_DOCUMENT_PROMPTS = ("document", "passage", "search_document")

Pooling = Literal["mean", "cls", "last", "graph"]
"""`graph`: the model's own graph gives one vector a text."""

_POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean",  # the same direction
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True, slots=True)
class Way:
    """Vectors are always made of length 1. The default is that of all-MiniLM-L6-v2."""

    pooling: Pooling = "mean"
    max_tokens: int = MAX_TOKENS
    prefixes: Prefixes = NOTHING

    @property
    def tag(self) -> str:
        """The end of a signature; empty for the default."""
        if self == Way():
            return ""
        return f":{self.pooling}-{self.max_tokens}" + (f"-{self.prefixes.digest}" if self.prefixes != NOTHING else "")


def read(folder: Path, name: str, asked: Asked = NOTHING_ASKED, pooled: bool = False) -> Way:
    """`pooled`: the model's graph does that itself. Raises EmbedderUnusable where the folder asks for what is not done
    here."""
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length") or MAX_TOKENS
    prefixes = asked.over(_prompts(folder) or of(name))
    pooling, with_prefix = ("graph", True) if pooled else _pooling(folder)
    if prefixes != NOTHING and not with_prefix:
        raise EmbedderUnusable(
            f"{folder}: pooling was expected to take the prefix's tokens too, its config says include_prompt: false; "
            "use another model, or set TANDEM_EMBED_QUERY_PREFIX and TANDEM_EMBED_DOCUMENT_PREFIX to none"
        )
    return Way(pooling, min(int(limit), positions(folder), _MOST_TOKENS), prefixes)


def positions(folder: Path) -> int:
    """How many tokens the model has places for."""
    config = _json(folder / "config.json")
    most = int(config.get("max_position_embeddings") or _MOST_TOKENS)
    return most - first_place(config)


def first_place(config: Mapping[str, Any]) -> int:
    """RoBERTa and its relatives count from behind the padding token's number."""
    behind = str(config.get("model_type")) in ("roberta", "xlm-roberta", "camembert", "mpnet")
    return int(config.get("pad_token_id") or 0) + 1 if behind else 0


def _pooling(folder: Path) -> tuple[Pooling, bool]:
    """And whether it takes the prefix's tokens too."""
    for module in _list(folder / "modules.json"):
        kind, place = str(module.get("type", "")).rpartition(".")[2], folder / str(module.get("path", ""))
        if kind in ("Transformer", "Normalize"):
            continue
        if kind != "Pooling":
            raise EmbedderUnusable(
                f"{folder / 'modules.json'}: expected Transformer, Pooling and Normalize, found {kind or module}; "
                "use a folder whose model.onnx holds the whole model and gives sentence_embedding"
            )
        return _mode(place / "config.json")
    return "mean", True


def _mode(file: Path) -> tuple[Pooling, bool]:
    config = _json(file)
    asked = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    if isinstance(mode := config.get("pooling_mode"), str):  # as newer versions write it
        asked = {"mean": ["pooling_mode_mean_tokens"], "cls": ["pooling_mode_cls_token"]}.get(mode, [mode])
    if len(asked) == 1 and (pooling := _POOLINGS.get(asked[0])):
        return pooling, config.get("include_prompt") is not False
    raise EmbedderUnusable(
        f"{file}: expected one pooling of mean, cls and last token, found {', '.join(asked) or 'none'}; "
        "use a folder whose model.onnx holds the whole model and gives sentence_embedding"
    )


def _prompts(folder: Path) -> Prefixes | None:
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts")
    if not isinstance(prompts, dict):
        return None
    words = cast(dict[str, Any], prompts)

    def first(names: tuple[str, ...]) -> str:
        return next((str(words[name]) for name in names if words.get(name)), "")

    # Empty ones are written where nobody thought of any.
    return Prefixes(first(_DOCUMENT_PROMPTS), first(_QUERY_PROMPTS)) if any(words.values()) else None


def _list(file: Path) -> list[dict[str, Any]]:
    return cast(list[dict[str, Any]], _read(file, []))


def _json(file: Path) -> dict[str, Any]:
    return cast(dict[str, Any], _read(file, {}))


def _read(file: Path, without: Any) -> Any:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return without
    except (OSError, ValueError) as error:
        raise EmbedderUnusable(f"{file} was expected to be readable JSON: {error}; get it again") from error
    if not isinstance(found, type(without)):
        raise EmbedderUnusable(f"{file} was expected to hold a JSON {type(without).__name__}; get it again")
    return found
