"""`config.yaml` of the GPU box becomes a `Config`: which model, how much of the machine, how it samples.

    model: Qwen/Qwen2.5-7B-Instruct     any field of vLLM's AsyncEngineArgs, as it is named there
    gpu_memory_utilization: 0.9
    sampling:                           any field of vLLM's SamplingParams
      temperature: 0.2

A key may be written with dashes, as on vLLM's own command line. EXAMPLE is used where there is no other.
"""

# pyright: reportMissingModuleSource=false

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

EXAMPLE = Path(__file__).parent / "config.yaml"
SAMPLING = "sampling"
# The chat template's, which vLLM's own server takes and its engine does not.
TEMPLATE = ("chat_template", "chat_template_kwargs")


class WrongConfig(ValueError):
    """A file that cannot be read, a key that nobody knows, or a value that it cannot have; the message says which and
    what to write."""


@dataclass(frozen=True, slots=True)
class Config:
    """Keys as Python writes them. `chat_template` is text: that of the file, where one is named."""

    engine: Mapping[str, Any]
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    path: str = "config.yaml"

    def check(self, engine: Collection[str], sampling: Collection[str]) -> None:
        """Raises WrongConfig for a key that is none of these fields, with the nearest one."""
        for name in self.engine:
            if name not in engine:
                ours = {*engine, *TEMPLATE, SAMPLING}
                raise WrongConfig(f"{self.path}: {_hint(name, ours, f'put it below `{SAMPLING}:`', sampling)}")
        for name in self.sampling:
            if name not in sampling:
                hint = _hint(name, sampling, f"put it at the left margin, not below `{SAMPLING}:`", engine)
                raise WrongConfig(f"{self.path}, below `{SAMPLING}:`: {hint}")

    def check_values(self, engine: Mapping[str, object], sampling: Mapping[str, object]) -> None:
        """Raises WrongConfig for a value whose type its field's annotation rules out. Annotations that YAML has no
        values for, and what is beyond types, are left to vLLM."""
        below = f"{self.path}, below `{SAMPLING}:`"
        for where, values, fields in ((self.path, self.engine, engine), (below, self.sampling, sampling)):
            for name, value in values.items():
                kinds = _kinds(fields.get(name))
                if kinds and type(value) not in kinds:
                    raise WrongConfig(f"{where}: {name} was expected to be {_expected(kinds)}, found {_found(value)}")


def chosen(named: str | None) -> Path:
    """--config's file, else config.yaml in the working folder, else EXAMPLE."""
    here = Path(named or "config.yaml")
    return here if named or here.exists() else EXAMPLE


def read(path: Path) -> Config:
    """Raises WrongConfig. What the keys mean is `Config.check`'s to say, with vLLM's own lists."""
    found = _mapping(_yaml(path), str(path))
    engine = {name: value for name, value in found.items() if name not in (SAMPLING, *TEMPLATE)}
    if not isinstance(engine.get("model"), str):
        raise WrongConfig(f"{path}: expected `model: NAME`, a model's name on Hugging Face or its folder")
    template = found.get("chat_template")
    return Config(
        engine,
        _mapping(found.get(SAMPLING) or {}, f"{path}, `{SAMPLING}:`"),
        _text(template, path) if template is not None else None,
        _mapping(found.get("chat_template_kwargs") or {}, f"{path}, `chat_template_kwargs:`"),
        str(path),
    )


def _yaml(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        hint = "`tandem worker --print-config > config.yaml` writes one to begin with"
        raise WrongConfig(f"no {path} here: name another with --config; {hint}") from error
    except OSError as error:
        raise WrongConfig(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongConfig(f"{path} was expected to be YAML, `key: value` on each line: {error}") from error


def _mapping(found: object, where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise WrongConfig(f"{where}: expected `key: value` on each line, found {type(found).__name__}")
    return {str(name).replace("-", "_"): value for name, value in cast("dict[object, Any]", found).items()}


def _text(template: object, path: Path) -> str:
    """Of a file beside the configuration, or as it stands there."""
    if not isinstance(template, str):
        raise WrongConfig(f"{path}: expected `chat_template: FILE` or the template itself")
    if "{" in template:
        return template
    file = path.parent / template
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongConfig(f"{path}: the chat_template {file} cannot be read: {error}") from error


def _hint(name: str, known: Collection[str], elsewhere: str, others: Collection[str]) -> str:
    if name in others:
        return f"{name} stands in the wrong place: {elsewhere}"
    begun = [right for right in sorted(known) if right.startswith(name)]  # a name that is cut short
    near = get_close_matches(name, begun or sorted(known), 1, 0 if begun else 0.5)
    return f"{name} is no key that vLLM knows" + (f"; did you mean {near[0]}?" if near else "")


_IN_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "`key: value` pairs",
}


def _kinds(annotation: object) -> set[type] | None:
    """What YAML may have read for it; None where that cannot be said."""
    origin = get_origin(annotation) or annotation
    if origin is Literal:
        return {type(choice) for choice in get_args(annotation)}
    if origin in (Union, UnionType):
        found = [_kinds(one) for one in get_args(annotation)]
        return None if None in found else {kind for kinds in found for kind in kinds or ()}
    if origin is float:
        return {float, int}
    if origin in (set, tuple):
        return {list}
    if is_dataclass(origin):
        return {dict}
    return {cast("type", origin)} if origin in (*_IN_WORDS, NoneType) else None


def _expected(kinds: set[type]) -> str:
    told = kinds - {int} if float in kinds else kinds
    return " or ".join(words for kind, words in _IN_WORDS.items() if kind in told)


def _found(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return _IN_WORDS[dict if isinstance(value, dict) else list]
    return "nothing" if value is None else str(value)
