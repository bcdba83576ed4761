"""What crosses the wire, byte by byte: old peers, newer peers, and bytes that are no message."""

import json

import pytest

from wire import Delta, Final, Job, Malformed, Metadata, Passage, Turn, Usage
from wire.messages import decode_job, decode_replies, encode_job, encode_reply


def test_a_job_comes_back_as_it_was_sent() -> None:
    job = Job(
        "r1",
        "why?",
        (Passage("p1", "because", "/a.md", 0.5, "A > B", None, 3, 4), Passage()),
        (0.1, -2.0),
        Metadata(deadline_ms=5, turns=(Turn("user", "a"), Turn("assistant", "b")), model="m", max_tokens=7, spans=True),
    )
    assert decode_job(encode_job(job)) == job


def test_a_job_has_exactly_the_five_fields_that_old_workers_know() -> None:
    job = json.loads(encode_job(Job("r1", "why?")))
    assert list(job) == ["request_id", "prompt", "context", "embedding", "metadata"]
    assert (job["context"], job["embedding"]) == ([], [])


def test_a_delta_always_says_its_chunk_and_that_it_is_not_final() -> None:
    assert json.loads(encode_reply(Delta("a"))) == {"chunk": "a", "is_final": False, "seq": 0, "epoch": 0}


def test_a_final_names_an_error_only_where_there_is_one() -> None:
    assert json.loads(encode_reply(Final())) == {"chunk": "", "is_final": True, "seq": 0, "epoch": 0}
    assert json.loads(encode_reply(Final(error="no", error_code="engine")))["error"] == "no"


@pytest.mark.parametrize(
    "reply",
    [
        Delta("", 1),
        Delta("日本 \u2028\x00", 9, 4),
        Final(seq=3, epoch=2, engine="openai", model="m", finish_reason="stop", usage=Usage(1, 2, 3)),
        Final(error="gone", error_code="restarted"),
    ],
)
def test_a_reply_comes_back_as_it_was_sent(reply: Delta | Final) -> None:
    assert decode_replies(encode_reply(reply)) == (reply,)


@pytest.mark.parametrize(
    ("message", "replies"),
    [
        ('{"chunk": "a", "is_final": false}', (Delta("a"),)),
        ('{"chunk": "", "is_final": true}', (Final(),)),
        ('{"chunk": "last", "is_final": true}', (Delta("last"), Final())),
        ('{"chunk": "", "is_final": true, "error": "oom"}', (Final(error="oom", error_code="engine"),)),
        ('{"error": "oom"}', (Final(error="oom", error_code="engine"),)),
        ('{"chunk": "a", "is_final": false, "error": null}', (Delta("a"),)),
        ('{"chunk": "a", "is_final": false, "logprobs": [1]}', (Delta("a"),)),
        ('{"is_final": true, "error": "x", "error_code": "later"}', (Final(error="x", error_code="engine"),)),
    ],
)
def test_replies_of_older_and_newer_peers_are_understood(message: str, replies: tuple[Delta | Final]) -> None:
    assert decode_replies(message.encode()) == replies


@pytest.mark.parametrize(
    ("fields", "job"),
    [
        ({}, Job("r1", "why?")),
        ({"later": {"a": 1}}, Job("r1", "why?")),
        ({"context": None, "embedding": None, "metadata": None}, Job("r1", "why?")),
        ({"context": "", "embedding": [[0.1]]}, Job("r1", "why?")),
        ({"context": [{"text": "t"}]}, Job("r1", "why?", (Passage(text="t"),))),
        ({"context": [{"id": 7, "text": "t", "score": 1}]}, Job("r1", "why?", (Passage(text="t", score=1.0),))),
        ({"context": ["t", {"payload": {}}, 5]}, Job("r1", "why?", (Passage(text="t"), Passage(), Passage()))),
        ({"metadata": {"model": 5, "client": "c", "ip": "x"}}, Job("r1", "why?", metadata=Metadata(client="c"))),
        ({"metadata": {"spans": "all", "client": "c"}}, Job("r1", "why?", metadata=Metadata(client="c"))),
    ],
)
def test_of_an_older_peers_job_what_fits_is_kept(fields: dict[str, object], job: Job) -> None:
    assert decode_job(json.dumps({"request_id": "r1", "prompt": "why?", **fields}).encode()) == job


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"not json",
        b"[]",
        b"null",
        b'{"prompt": "x"}',
        b'{"request_id": "r"}',
        b'{"request_id": "", "prompt": "x"}',
        b'{"request_id": null, "prompt": "x"}',
        b'{"request_id": "r", "prompt": 5}',
        b'{"request_id": "r", "prompt": "a\x00b"}',
        b'{"request_id": "r", "prompt": "\xff"}',
        b'{"request_id": "r", "prompt": "\\ud83d"}',
        b'{"request_id": "r", "prompt": "x", "embedding": [NaN]}',
        b'{"request_id": "r", "prompt": "x", "context": [{"score": Infinity}]}',
        b"[" * 200_000,
        b'{"request_id": "r", "prompt": "x", "later": ' + b"[" * 200_000,
    ],
)
def test_bytes_that_are_no_job_are_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Malformed, match="expected"):
        decode_job(data)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"chunk": 5}', b'{"chunk": "\\udc00"}', b"{" * 100_000])
def test_bytes_that_are_no_reply_are_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Malformed, match="expected a reply"):
        decode_replies(data)


@pytest.mark.parametrize(
    "job",
    [
        Job("", "x"),
        Job("r", "\ud83d"),
        Job("r", "x", embedding=(1.0, float("nan"))),
        Job("r", "x", context=(Passage(score=float("inf")),)),
    ],
)
def test_a_job_that_json_cannot_carry_is_malformed(job: Job) -> None:
    with pytest.raises(Malformed, match="expected"):
        encode_job(job)


def test_a_job_of_ten_megabytes_is_malformed_on_both_sides() -> None:
    long = "x" * 10_000_000
    with pytest.raises(Malformed, match="at most 8,000,000 bytes"):
        encode_job(Job("long", long))
    with pytest.raises(Malformed, match="at most 8,000,000 bytes"):
        decode_job(b'{"request_id": "long", "prompt": "' + long.encode() + b'"}')


def test_tokens_travel_with_their_text_and_are_left_out_where_there_are_none() -> None:
    assert decode_replies(encode_reply(Delta("a", 1, 2, (3, 4)))) == (Delta("a", 1, 2, (3, 4)),)
    assert b"tokens" not in encode_reply(Delta("a", 1, 2))
