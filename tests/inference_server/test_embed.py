"""An engine that embeds: batches in, lines of vectors out, and nothing but what it was asked for."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from anyio import fail_after

from inference_server.engines import EngineFailed
from inference_server.engines.embed import NoWeights, digest, embedding
from wire import Delta, Final, Job, Said
from wire.embedding import Batch, Rows, encode_batch, read

MODEL = "letters@0a1b:26"


class Letters:
    """A text's vector counts its letters; `asked` has every call's texts."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    async def __call__(self, texts: Sequence[str]) -> Sequence[Rows | str]:
        self.asked.append(texts)
        return [self._row(text) for text in texts]

    def _row(self, text: str) -> Rows | str:
        if "refuse" in text:
            return "it asks for it"
        return np.array([text.count(chr(97 + n)) for n in range(26)], np.float32)


async def said(embed: Letters, batch: Batch | str, before: str = "", step: int = 4) -> tuple[list[str], Final]:
    prompt = batch if isinstance(batch, str) else encode_batch(batch)
    with fail_after(30):
        async with embedding(embed, MODEL, "letters", step)(Job("r", prompt), Said(before)) as replies:
            *deltas, final = [reply async for reply in replies]
    assert isinstance(final, Final)
    return [delta.chunk for delta in deltas if isinstance(delta, Delta)], final


TEXTS = tuple(f"a pear and {'b' * n} grapes" for n in range(10))


async def test_a_batch_is_embedded_step_by_step_and_its_end_names_the_weights() -> None:
    embed = Letters()
    chunks, final = await said(embed, Batch(TEXTS, "0a1b:26"))
    assert [len(texts) for texts in embed.asked] == [4, 4, 2]
    assert (final.engine, final.model, final.error) == ("letters", MODEL, None)
    rows, refused = read("".join(chunks), 10, 26)
    assert refused == {}
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    assert rows[9][1] > rows[8][1] > 0


async def test_who_takes_over_embeds_only_what_is_not_out() -> None:
    whole, _ = await said(Letters(), Batch(TEXTS))
    embed = Letters()
    rest, _ = await said(embed, Batch(TEXTS), before="".join(whole[:2]))
    assert "".join(whole) == "".join(whole[:2]) + "".join(rest)
    assert embed.asked == [TEXTS[8:]]


async def test_half_a_line_is_not_gone_on_with() -> None:
    with pytest.raises(EngineFailed) as failed:
        await said(Letters(), Batch(TEXTS), before="AAA")
    assert failed.value.code == "restarted"


async def test_a_text_that_cannot_be_embedded_leaves_the_others_their_vectors() -> None:
    chunks, final = await said(Letters(), Batch(("apple", "refuse me", "", "plum")))
    rows, refused = read("".join(chunks), 4, 26)
    assert refused[1] == "it asks for it"
    assert "direction" in refused[2]
    assert rows[[0, 3]].any(axis=1).all()
    assert final.error is None


async def test_other_weights_are_refused_before_anything_is_embedded() -> None:
    embed = Letters()
    with pytest.raises(EngineFailed, match=r"ffff:26.*letters@0a1b:26.*EMBEDDING_MODEL") as failed:
        await said(embed, Batch(TEXTS, "ffff:26"))
    assert failed.value.code == "invalid_job"
    assert embed.asked == []


async def test_a_question_is_refused_with_what_this_worker_does() -> None:
    with pytest.raises(EngineFailed, match="takes batches of texts only"):
        await said(Letters(), "How tall is the tower?")


def test_weights_are_told_by_their_files(tmp_path: Path) -> None:
    with pytest.raises(NoWeights, match="safetensors"):
        digest(tmp_path)
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    assert digest(tmp_path) == hashlib.sha256(b"one").hexdigest()[:12]
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    both = digest(tmp_path)
    (tmp_path / "model-2.safetensors").write_bytes(b"three")
    assert len({both, digest(tmp_path), hashlib.sha256(b"one").hexdigest()[:12]}) == 3
