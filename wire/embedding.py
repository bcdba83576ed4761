"""A batch of texts goes out as a job and comes back as vectors, with the leases, takeover and admission of an answer.

    Job.prompt    {"texts": [...], "weights": "<digest>:<dimensions>" or null for any}
    Delta.chunk   whole lines, one a text in the order of the texts: its vector of length 1 as float16, little-endian,
                  in base64; or "!" and, in words, why this text has none
    Final.model   <name>@<digest>:<dimensions>

float16 is what an index keeps of a vector: nothing is lost on the way. A worker that takes over counts the lines.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from wire.messages import Malformed

QUEUE = "embedding_queue"
_OWN_QUEUE = "inference_queue"
_REFUSED = "!"

Rows = NDArray[np.float32]


class Batch(msgspec.Struct, frozen=True):
    """`weights`: what the vectors must be made with, `<digest>:<dimensions>`; none: whatever the worker has."""

    texts: tuple[str, ...]
    weights: str | None = None


def queue(stream_key: str) -> str:
    """The queue of embedding beside that of generation: two systems that share a Redis share neither."""
    return QUEUE if stream_key == _OWN_QUEUE else f"{stream_key}:{QUEUE}"


def encode_batch(batch: Batch) -> str:
    """Raises `Malformed` for text that is not Unicode."""
    try:
        return msgspec.json.encode(batch).decode()
    except UnicodeEncodeError as error:
        raise Malformed(f"expected Unicode text, found half a surrogate pair: {error}") from error


def decode_batch(prompt: str) -> Batch:
    """Raises `Malformed`."""
    try:
        return msgspec.json.decode(prompt, type=Batch)
    except (ValueError, RecursionError) as error:
        raise Malformed(f'expected a batch as {{"texts": [...]}}: {error}') from error


def request_id(prompt: str) -> str:
    """The same batch is the same request: whoever repeats it joins it."""
    return f"embed-{hashlib.blake2b(prompt.encode(), digest_size=16).hexdigest()}"


def weights_of(model: str) -> str:
    """`<digest>:<dimensions>` of `<name>@<digest>:<dimensions>`."""
    return model.rpartition("@")[2]


def line(vector: Rows | str) -> str:
    """A vector of any length but 0; or the words why there is none. Raises ValueError for one that has no direction."""
    if isinstance(vector, str):
        return f"{_REFUSED}{' '.join(vector.split())}\n"
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or not length:
        raise ValueError("a vector was expected to be of numbers and to have a direction")
    return f"{base64.b64encode((vector / length).astype('<f2').tobytes()).decode()}\n"


def lines_in(text: str) -> int:
    """How many whole lines are out. Raises `Malformed` where the last one is not whole."""
    if text and not text.endswith("\n"):
        raise Malformed("expected whole lines, the last one has no end")
    return text.count("\n")


def read(text: str, count: int, dimensions: int) -> tuple[Rows, dict[int, str]]:
    """(count, dimensions) float32, and by row why there is none: such a row is zero. Raises `Malformed`."""
    lines = text.split("\n")[:-1]
    if lines_in(text) != count:
        raise Malformed(f"expected {count} vectors, found {len(lines)}")
    rows = np.zeros((count, dimensions), np.float32)
    refused: dict[int, str] = {}
    for number, one in enumerate(lines):
        if one.startswith(_REFUSED):
            refused[number] = one.removeprefix(_REFUSED)
        else:
            rows[number] = _vector(one, dimensions)
    return rows, refused


def _vector(one: str, dimensions: int) -> Sequence[float] | Rows:
    try:
        vector = np.frombuffer(base64.b64decode(one, validate=True), "<f2").astype(np.float32)
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"expected a vector in base64: {error}") from error
    if len(vector) != dimensions or not np.isfinite(vector).all():
        raise Malformed(f"expected {dimensions} numbers, found {len(vector)}, or some that are none")
    return vector
