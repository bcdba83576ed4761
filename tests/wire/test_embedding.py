"""What a batch of texts looks like on its way, and its vectors on theirs."""

import numpy as np
import pytest

from wire import Malformed
from wire.embedding import Batch, decode_batch, encode_batch, line, lines_in, queue, read, request_id, weights_of


def test_vectors_arrive_as_they_would_be_kept() -> None:
    rows = np.random.default_rng(1).normal(size=(5, 33)).astype(np.float32) * 7
    read_, refused = read("".join(line(row) for row in rows), 5, 33)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert refused == {}
    assert (read_ == unit.astype(np.float16).astype(np.float32)).all()


def test_a_refused_text_says_why_in_one_line_and_has_no_vector() -> None:
    text = line(np.ones(2, np.float32)) + line("it is\ntoo long") + line(np.ones(2, np.float32))
    rows, refused = read(text, 3, 2)
    assert refused == {1: "it is too long"}
    assert (rows[1] == 0).all()
    assert np.allclose(rows[[0, 2]], 2**-0.5, atol=1e-3)


@pytest.mark.parametrize(
    "text", ["", "ADw=\n", "AAAA\n", "AAAA", "AAAAAA==\nAAAAAA==\n", "§\n", "AAAAAA\n", "AHwAfA==\n"]
)
def test_what_is_not_one_vector_of_two_numbers_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read(text, 1, 2)


def test_a_vector_without_a_direction_is_none() -> None:
    for vector in (np.zeros(3, np.float32), np.array([1, np.nan, 0], np.float32)):
        with pytest.raises(ValueError, match="direction"):
            line(vector)


def test_lines_are_counted_only_where_they_are_whole() -> None:
    assert lines_in("") == 0
    assert lines_in("AA==\n!no\n") == 2
    with pytest.raises(Malformed):
        lines_in("AA==\nAA=")


def test_a_batch_is_named_by_what_is_in_it() -> None:
    one, same = (encode_batch(Batch(("a text", "ein Kürbis"), "d:3")) for _ in range(2))
    assert decode_batch(one) == Batch(("a text", "ein Kürbis"), "d:3")
    assert request_id(one) == request_id(same)
    others = [Batch(("a text", "ein Kürbis"), "d:4"), Batch(("ein Kürbis", "a text"), "d:3"), Batch(("a text",), "d:3")]
    assert len({request_id(encode_batch(batch)) for batch in others} | {request_id(one)}) == 4


@pytest.mark.parametrize("prompt", ["How high is the tower?", '{"texts": "one"}', "[]", "{}", '{"texts": [1]}'])
def test_a_question_is_no_batch(prompt: str) -> None:
    with pytest.raises(Malformed):
        decode_batch(prompt)


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(Malformed):
        encode_batch(Batch(("\ud800",)))


def test_systems_that_share_a_redis_share_no_queue() -> None:
    assert queue("inference_queue") == "embedding_queue"
    assert queue("other") == "other:embedding_queue"


def test_weights_are_what_stands_behind_the_name() -> None:
    assert weights_of("someone/a@model@12ab:384") == "12ab:384"
