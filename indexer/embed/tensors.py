"""Weights on disk (safetensors) become arrays."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.embed import EmbedderUnusable

_DTYPES: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The format: 8 bytes with the header's length, a JSON header, then the data. Raises EmbedderUnusable."""
    raw = path.read_bytes()
    try:
        (length,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + length])
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        return {name: _array(raw, 8 + length, entry) for name, entry in entries if entry["dtype"] in _DTYPES}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmbedderUnusable(
            f"{path} was expected to hold weights as safetensors: {error}; it is damaged or not yet whole: get it again"
        ) from error


def _array(raw: bytes, start: int, entry: dict[str, Any]) -> NDArray[Any]:
    begin, end = (start + offset for offset in entry["data_offsets"])
    found = np.frombuffer(raw[begin:end], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (found.astype(np.uint32) << 16).view(np.float32)
    return found
