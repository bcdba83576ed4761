# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""sentence-transformers, for models that vLLM does not run: on the GPU where torch sees one."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio.to_thread
from anyio import CapacityLimiter

from inference_server.engines import Generate
from inference_server.engines.embed import NoWeights, digest, embedding
from wire.embedding import Rows


def sentence_transformers_engine(name: str, folder: Path) -> Generate:
    """Opens the model in `folder`, which takes seconds. Raises NoWeights."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise NoWeights(
            f"the sentence-transformers engine needs that package ({error}): pip install sentence-transformers"
        ) from error
    found = digest(folder)
    model = SentenceTransformer(str(folder))
    # The hidden size of a pipeline's last module is not told in one place.
    dimensions = len(model.encode(["dimensions"])[0])
    one_by_one = CapacityLimiter(1)  # the device is one, and a batch fills it

    async def embed(texts: Sequence[str]) -> Sequence[Rows]:
        encode = partial(model.encode, list(texts), show_progress_bar=False)
        return await anyio.to_thread.run_sync(encode, limiter=one_by_one)

    return embedding(embed, f"{name}@{found}:{dimensions}", "sentence-transformers", step=32)
