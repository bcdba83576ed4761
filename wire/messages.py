"""What crosses the wire: a job goes one way, replies come back as `Delta* Final`.

    bridge                      worker
      | subscribe result:{id}     |
      | Job --------------------> | take
      | <-- Delta seq=1, 2, ... - | emit
      | <-- Final --------------- | finish, then acknowledge

JSON, frozen. Unknown fields are ignored and every later field has a default, so that an older and a
newer peer understand each other; a delta always carries `chunk` and `is_final`, a final `error` only
where there is one. `seq` counts from 1 and goes on when another worker takes over, under a higher `epoch`; 0 is a
peer that does not number. An error ends an answer.
"""

import json
from math import isfinite
from typing import Literal, TypeVar, cast, get_args

import msgspec

MAX_JOB_BYTES = 8_000_000

ErrorCode = Literal["deadline", "cancelled", "overloaded", "poison", "engine", "invalid_job", "restarted"]
S = TypeVar("S", bound=msgspec.Struct)


class Malformed(ValueError):
    """These bytes are not the message that was expected, or this message cannot become bytes."""


class Passage(msgspec.Struct, frozen=True):
    """A span of a document, as evidence. Lines and pages count from 1; null where a format has none."""

    id: str = ""
    text: str = ""
    path: str = ""
    score: float = 0.0
    heading: str | None = None
    page: int | None = None
    start_line: int | None = None
    end_line: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """One side of an earlier exchange of the same conversation."""

    role: Literal["user", "assistant"]
    content: str


class Metadata(msgspec.Struct, frozen=True):
    """What travels beside the question. `deadline_ms`: how long the answer may take from its admission on, by the
    queue's own clock. `created_ms`: since the epoch. `idem`: jobs of one client with the same key are one job.
    `traceparent` is W3C's. `task`: answer the question, rewrite it so that it stands without the turns, say a
    question that the passage answers, or judge passages and `statements` (`wire.verdict`); a peer that knows no such
    task answers. `spans`: the sender takes what a worker's spans tell of the job (`Wire.spans`)."""

    v: int = 1
    deadline_ms: int | None = None
    created_ms: int | None = None
    client: str | None = None
    idem: str | None = None
    turns: tuple[Turn, ...] = ()
    model: str | None = None
    max_tokens: int | None = None
    traceparent: str | None = None
    corpus: str | None = None
    session: str | None = None
    task: Literal["answer", "rewrite", "question", "judge"] = "answer"
    statements: tuple[str, ...] = ()
    spans: bool = False


class Job(msgspec.Struct, frozen=True):
    """One request for generation: the question as typed, and the passages to answer it from, best first."""

    request_id: str
    prompt: str
    context: tuple[Passage, ...] = ()
    embedding: tuple[float, ...] = ()
    metadata: Metadata = Metadata()


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the engine counted them. `cached_tokens`: those of the prompt that it had read before."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None


class Delta(msgspec.Struct, frozen=True):
    """A piece of the answer. `tokens`: what it was made of, where the engine has ids for them."""

    chunk: str
    seq: int = 0
    epoch: int = 0
    tokens: tuple[int, ...] = ()
    is_final: Literal[False] = False


class Final(msgspec.Struct, frozen=True):
    """The end of an answer. `engine` and `model` say who answered; `error`, in words, why it stops short."""

    error: str | None = None
    error_code: ErrorCode | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    engine: str | None = None
    model: str | None = None
    seq: int = 0
    epoch: int = 0
    chunk: Literal[""] = ""
    is_final: Literal[True] = True


Reply = Delta | Final


class _Frame(msgspec.Struct, frozen=True):
    """Any reply of any peer, before it is sorted into deltas and finals."""

    chunk: str = ""
    is_final: bool = False
    error: str | None = None
    error_code: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    engine: str | None = None
    model: str | None = None
    seq: int = 0
    epoch: int = 0
    tokens: tuple[int, ...] = ()


class _OldJob(msgspec.Struct, frozen=True):
    """A job of an older peer: what it has in place of our passages and metadata is anybody's guess."""

    request_id: str
    prompt: str
    context: object = None
    metadata: object = None


_job = msgspec.json.Decoder(Job)
_old_job = msgspec.json.Decoder(_OldJob)
_frame = msgspec.json.Decoder(_Frame)
_json = msgspec.json.Encoder()


def encode_job(job: Job) -> bytes:
    """Raises `Malformed` for text that is not Unicode (half a surrogate pair), NaN and infinity."""
    numbers = (*job.embedding, *(passage.score for passage in job.context))
    if not all(map(isfinite, numbers)):
        raise Malformed("expected finite numbers in embedding and scores, found NaN or infinity")
    if not job.request_id:
        raise Malformed("expected a request_id, found an empty one")
    data = _encode(job)
    if len(data) > MAX_JOB_BYTES:
        raise Malformed(_too_long(data))
    return data


def decode_job(data: bytes) -> Job:
    """Raises `Malformed`. Of an older peer's passages and metadata, what fits is kept."""
    if len(data) > MAX_JOB_BYTES:
        raise Malformed(_too_long(data))
    try:
        job = _job_or_old_job(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"expected a job as JSON: {error}") from error
    if not job.request_id:
        raise Malformed("expected a job with a request_id, found an empty one")
    return job


def request_id_of(data: bytes) -> str | None:
    """The id of a job that is no good otherwise. json, for it reads the NaN that Python peers write."""
    try:
        match json.loads(data[:MAX_JOB_BYTES]):
            case {"request_id": str(request_id)}:
                request_id.encode()
                return request_id
            case _:
                return None
    except (ValueError, RecursionError):
        return None


def encode_reply(reply: Reply) -> bytes:
    if isinstance(reply, Delta):
        said = {"chunk": reply.chunk, "is_final": False, "seq": reply.seq, "epoch": reply.epoch}
        return _encode(said | {"tokens": reply.tokens} if reply.tokens else said)
    # An old bridge asks whether `error` is there, not whether it is null.
    said = {name: value for name, value in msgspec.structs.asdict(reply).items() if value is not None}
    return _encode(said)


def decode_replies(data: bytes) -> tuple[Reply, ...]:
    """One reply, or two: an older peer's final that carries a last chunk is that delta and the final.

    Raises `Malformed`.
    """
    try:
        frame = _frame.decode(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"expected a reply as JSON: {error}") from error
    if not frame.is_final and frame.error is None:
        return (Delta(frame.chunk, frame.seq, frame.epoch, frame.tokens),)
    final = Final(
        error=frame.error,
        error_code=_error_code(frame),
        finish_reason=frame.finish_reason,
        usage=frame.usage,
        engine=frame.engine,
        model=frame.model,
        seq=frame.seq,
        epoch=frame.epoch,
    )
    return (Delta(frame.chunk), final) if frame.chunk else (final,)


def _too_long(data: bytes) -> str:
    return f"expected a job of at most {MAX_JOB_BYTES:,} bytes, found {len(data):,}"


def _error_code(frame: _Frame) -> ErrorCode | None:
    if frame.error_code in get_args(ErrorCode):
        return cast("ErrorCode", frame.error_code)
    # A newer peer's code, or an older peer's error without one.
    return None if frame.error is None else "engine"


def _encode(message: object) -> bytes:
    try:
        return _json.encode(message)
    except UnicodeEncodeError as error:
        raise Malformed(f"expected Unicode text, found half a surrogate pair: {error}") from error


def _job_or_old_job(data: bytes) -> Job:
    try:
        return _job.decode(data)
    except msgspec.ValidationError:
        old = _old_job.decode(data)
        return Job(
            old.request_id,
            old.prompt,
            context=_old_passages(old.context),
            metadata=_what_fits(Metadata, old.metadata),
        )


def _old_passages(raw: object) -> tuple[Passage, ...]:
    passages = cast("list[object]", raw) if isinstance(raw, list) else []
    return tuple(Passage(text=p) if isinstance(p, str) else _what_fits(Passage, p) for p in passages)


def _what_fits(kind: type[S], raw: object) -> S:
    fields = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    kept: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        try:
            kept[field.name] = msgspec.convert(fields[field.name], field.type)
        except (KeyError, msgspec.ValidationError):
            continue
    return kind(**kept)
