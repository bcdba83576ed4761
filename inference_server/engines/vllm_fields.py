"""What vLLM says of its own settings: their names and their types."""

# vLLM is on the GPU box only: where we are checked it has no types.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import inspect
from typing import Optional

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import SamplingParams

from inference_server.config import Config


def check(config: Config) -> None:
    """Raises WrongConfig for a key of the engine's that vLLM does not know, and for a value of the wrong type."""
    engine = {field.name: _type(field.type, field.default) for field in dataclasses.fields(AsyncEngineArgs)}
    parameters = inspect.signature(SamplingParams).parameters.items()
    sampling = {name: _type(one.annotation, one.default) for name, one in parameters}
    config.check(engine, {*sampling, *config.sampling})
    config.check_values(engine, sampling)


def _type(annotation: object, default: object) -> object:
    """Some fields are None unless they are set, and do not say so."""
    return Optional[annotation] if default is None else annotation  # noqa: UP045 (it may be a name)
